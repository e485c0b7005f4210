//! What a task asks of the manager that is to run it: the words of a resource specification that
//! say where it fits.
//!
//! | word | type | of what is none |
//! | --- | --- | --- |
//! | `cores` | a number | 0 |
//! | `memory` (MB) | a number | 0 |
//! | `running_time_min` (s) | a number | 0 |
//! | `manager_affinity` | a plain value ([`Affinity`]) | |
//! | `task_type` | a str | |
//! | `routing` | `"soft"` or `"hard"` | without a type |
//! | `node` | a dict of the four below | an empty one |
//! | `hostname`, `block_id` | a pattern or a list of them, each a str | an empty list |
//! | `cpu_count`, `total_memory` (MB) | a number | 0 |
//!
//! `cores`, `memory` and `running_time_min` are the words of Parsl's Work Queue and TaskVine
//! executors; `manager_affinity` is that of Parsl's pull request 4083. They stand in a dict:
//!
//! ```text
//! {task_id, context: {placement: {…words…}, resource_spec: {priority?}}, buffer}
//! {task_id, placement: {…words…}, resource_spec: {priority?}, buffer}    until 2025.09.22
//! {task_id, context: {resource_spec: {priority?, …words…}}, buffer}      without a placement
//! ```
//!
//! Workers do not look into `placement`, and export each entry of `resource_spec` as
//! `PARSL_<KEY>`; where there is a `placement`, words beside the priority are not looked for. None
//! is as good as an absent key, and so is a value that cannot be read (`placement` has the
//! reading): a number that is negative, infinite, NaN or a bool, a text or a value of more than
//! 1,024 bytes, a list of more than 64 patterns.

use std::fmt;

use crate::affinity::Affinity;

/// More of a text is not shown.
const SHOWN_CHARACTERS: usize = 40;
/// Nor more patterns.
const SHOWN_PATTERNS: usize = 3;

/// What a task asks for; at least one of these is something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Needs {
    /// Processor cores of one manager.
    pub cores: Option<Amount>,
    /// Memory of one manager, in MB of 2²⁰ bytes.
    pub memory_mb: Option<Amount>,
    /// How long its manager must still be there, in seconds.
    pub running_time_s: Option<Amount>,
    /// Tasks of one value run on one manager.
    pub affinity: Option<Affinity>,
    /// Its type: a manager that has run it before is better than another.
    pub task_type: Option<Box<str>>,
    /// How strict the type is, if the task says so itself.
    pub routing: Option<Routing>,
    /// Which managers are good enough at all.
    pub node: Option<Box<NodeNeeds>>,
}

impl Needs {
    /// What is not said is not shown, and what is said stands in a log line: nothing in it is a
    /// line break, and long texts are cut.
    fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if let Some(cores) = self.cores {
            let noun = if cores.get() == 1.0 { "core" } else { "cores" };
            parts.push(format!("{cores} {noun}"));
        }
        parts.extend(self.memory_mb.map(|memory| format!("{memory} MB")));
        parts.extend(self.running_time_s.map(|time| format!("{time} s left")));
        parts.extend(self.affinity.as_ref().map(|it| format!("affinity {it}")));
        if let Some(task_type) = &self.task_type {
            let routing = match self.routing {
                None => "",
                Some(Routing::Soft) => " (soft)",
                Some(Routing::Hard) => " (hard)",
            };
            parts.push(format!("type \"{}\"{routing}", shorten(task_type)));
        }
        if let Some(node) = &self.node {
            parts.extend(patterns("host", &node.hostname));
            parts.extend(patterns("block", &node.block_id));
            let cores = node.cpu_count;
            parts.extend(cores.map(|cores| format!("node of {cores} cores")));
            let memory = node.total_memory_mb;
            parts.extend(memory.map(|memory| format!("node of {memory} MB")));
        }
        parts
    }
}

/// As log lines and the status show it: `8 cores, 4000 MB, type "a" (hard), host gpu*`.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join(", "))
    }
}

/// How strictly managers are kept to one type of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Routing {
    /// A manager that has run the type is preferred.
    #[default]
    Soft,
    /// And a manager holds tasks of one type at a time.
    Hard,
}

/// What a manager's registration must tell of its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeNeeds {
    /// Patterns as a shell has them, one of which the host's name matches; none: any name does. In
    /// order, each once.
    pub hostname: Vec<Box<str>>,
    /// The same of the block's id.
    pub block_id: Vec<Box<str>>,
    /// Least number of cores.
    pub cpu_count: Option<Amount>,
    /// Least memory, in MB of 2²⁰ bytes.
    pub total_memory_mb: Option<Amount>,
}

/// A finite number that is not negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// None for what is no such number.
    pub fn new(number: f64) -> Option<Self> {
        let is_one = number.is_finite() && number >= 0.0;
        // Of numbers that are not negative, the order of their bits is theirs; −0.0 is 0.0.
        is_one.then(|| Self((number + 0.0).to_bits()))
    }

    /// Ordered as the numbers are.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Very large and very small ones with an exponent.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            number if number == 0.0 || (1e-3..1e15).contains(&number) => number.fmt(f),
            number => write!(f, "{number:e}"),
        }
    }
}

fn patterns(what: &str, patterns: &[Box<str>]) -> Option<String> {
    let shown = patterns.iter().take(SHOWN_PATTERNS);
    let shown: Vec<_> = shown.map(|pattern| shorten(pattern)).collect();
    let more = match patterns.len().checked_sub(SHOWN_PATTERNS) {
        None | Some(0) => String::new(),
        Some(more) => format!(" or {more} more"),
    };
    (!shown.is_empty()).then(|| format!("{what} {}{more}", shown.join(" or ")))
}

fn shorten(text: &str) -> String {
    let shown = text.chars().take(SHOWN_CHARACTERS);
    let mut shown: String = shown.flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}
