//! How the log of an interchange of ours ends.

pub(crate) const SUBMIT_SIDE_GONE: &str = "The submit side is gone";
pub(crate) const OWN_FAULT: &str = "A fault of htex-interchange itself";
/// How its keeper tells its end, and how it tells its keeper's.
pub(crate) const KILLED: [&str; 3] = [
    "htex-interchange was killed",
    "htex-interchange was ended by",
    "htex-interchange ended with status",
];
/// All of these. A manager of other versions ends it as well, with a line of other words.
pub(crate) const ENDS: [&str; 7] = [
    "Exiting on ",
    SUBMIT_SIDE_GONE,
    "htex-interchange refused to start",
    OWN_FAULT,
    KILLED[0],
    KILLED[1],
    KILLED[2],
];
