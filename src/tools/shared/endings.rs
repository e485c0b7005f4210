//! How the log of an interchange of ours ends.

pub(crate) const SUBMIT_SIDE_GONE: &str = "The submit side is gone";
pub(crate) const OWN_FAULT: &str = "A fault of htex-interchange itself";
/// How its keeper tells its end, and how it tells its keeper's; and how a broker tells that it
/// cannot go on where another one has ended.
pub(crate) const KILLED: [&str; 4] = [
    "htex-interchange was killed",
    "htex-interchange was ended by",
    "htex-interchange ended with status",
    "htex-interchange could not go on",
];
/// What was told of an end before this line was none: another process went on (`--survive`).
pub(crate) const RESTARTED: &str = "Restarted after the interchange ";
/// All of these. A manager of other versions ends it as well, with a line of other words.
pub(crate) const ENDS: [&str; 8] = [
    "Exiting on ",
    SUBMIT_SIDE_GONE,
    "htex-interchange refused to start",
    OWN_FAULT,
    KILLED[0],
    KILLED[1],
    KILLED[2],
    KILLED[3],
];
