//! What a task asks of the manager that is to run it: the words of a resource specification that
//! say where it fits.
//!
//! `cores`, `memory` (MB) and `running_time_min` (s) are the words of Parsl's Work Queue and
//! TaskVine executors; `manager_affinity` is that of Parsl's pull request 4083. They stand in
//! `context.placement`, where workers do not look, or beside `priority` in `resource_spec`, each
//! entry of which a worker exports as `PARSL_<KEY>`.

use std::fmt;
use std::rc::Rc;

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
    /// Patterns as a shell has them, one of which the host's name matches; none: any name does.
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

/// As a log line tells them.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

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

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A plain Python value, in a form that is equal for those that Python calls equal: 1, 1.0 and True
/// are one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity(Rc<[u8]>);

impl Affinity {
    /// Of the form that was made of a value.
    pub fn new(form: &[u8]) -> Self {
        Self(form.into())
    }
}
