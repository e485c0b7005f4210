//! A task's requirements on its manager: the keys of a resource specification that restrict where
//! the task fits.
//!
//! | key | type | no requirement if |
//! | --- | --- | --- |
//! | `cores` | a number | 0 |
//! | `memory` (MB) | a number | 0 |
//! | `running_time_min` (s) | a number | 0 |
//! | `manager_affinity` | a plain value ([`Affinity`]) | |
//! | `task_type` | a str | |
//! | `routing` | `"soft"` or `"hard"` | there is no type |
//! | `node` | a dict of the four keys below | empty |
//! | `hostname`, `block_id` | a pattern or a list of patterns, each a str | an empty list |
//! | `cpu_count`, `total_memory` (MB) | a number | 0 |
//!
//! `cores`, `memory` and `running_time_min` are keys of Parsl's Work Queue and TaskVine executors;
//! `manager_affinity` is the key of Parsl's pull request 4083. The keys stand in one of these
//! dicts, at the place marked `…words…`:
//!
//! ```text
//! {task_id, context: {placement: {…words…}, resource_spec: {priority?}}, buffer}
//! {task_id, placement: {…words…}, resource_spec: {priority?}, buffer}    until 2025.09.22
//! {task_id, context: {resource_spec: {priority?, …words…}}, buffer}      without a placement
//! ```
//!
//! Workers do not read `placement`, and export each entry of `resource_spec` as `PARSL_<KEY>`. If
//! there is a `placement`, the keys beside the priority are ignored.
//!
//! A value of None counts as an absent key, and so does an unreadable value (the file `placement`
//! reads the values). A number is unreadable if it is negative, infinite, NaN or a bool. A text or
//! a value of more than 1,024 bytes is unreadable too, and so is a list of more than 64 patterns.

use std::fmt;

use crate::affinity::Affinity;

/// Maximum number of characters of a text that are shown.
const SHOWN_CHARACTERS: usize = 40;
/// Maximum number of patterns that are shown.
const SHOWN_PATTERNS: usize = 3;

/// A task's requirements, of which at least one is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Needs {
    /// Processor cores on one manager.
    pub cores: Option<Amount>,
    /// Memory on one manager, in MB of 2²⁰ bytes.
    pub memory_mb: Option<Amount>,
    /// Minimum time that the manager must still last, in seconds.
    pub running_time_s: Option<Amount>,
    /// The affinity: tasks of the same value run on one manager.
    pub affinity: Option<Affinity>,
    /// The task's type. A manager that has run the type before is preferred.
    pub task_type: Option<Box<str>>,
    /// How strictly the type is applied, if the task specifies this.
    pub routing: Option<Routing>,
    /// Conditions on the manager's node.
    pub node: Option<Box<NodeNeeds>>,
}

impl Needs {
    /// Returns the requirements in words. Absent ones are left out. The text goes into a log line,
    /// so it has no line breaks, and long values are cut.
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

/// Shows the requirements for log lines and the status: `8 cores, 4000 MB, type "a" (hard), host
/// gpu*`.
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
    /// A manager that has run the type is preferred, and a manager holds tasks of one type at a
    /// time.
    Hard,
}

/// The properties of a node that a manager's registration must report.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeNeeds {
    /// Shell patterns, one of which must match the host name; if empty, any name matches. The
    /// patterns are sorted, without duplicates.
    pub hostname: Vec<Box<str>>,
    /// Shell patterns for the block id, with the same rules as `hostname`.
    pub block_id: Vec<Box<str>>,
    /// Minimum number of cores.
    pub cpu_count: Option<Amount>,
    /// Minimum memory, in MB of 2²⁰ bytes.
    pub total_memory_mb: Option<Amount>,
}

/// A finite number that is not negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Creates an amount. Returns `None` for a number that is negative or not finite.
    pub fn new(number: f64) -> Option<Self> {
        let is_one = number.is_finite() && number >= 0.0;
        // For numbers that are not negative, the bits have the same order as the numbers. −0.0
        // becomes 0.0.
        is_one.then(|| Self((number + 0.0).to_bits()))
    }

    /// Returns the bits, which have the same order as the numbers.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns the number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Very large and very small numbers are shown with an exponent.
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
