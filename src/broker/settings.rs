//! What the broker is told by who starts it.

use std::time::Duration;

use protocol::{Routing, VersionCheck};

/// What the broker is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A manager that says nothing for longer is lost.
    pub heartbeat_threshold: Duration,
    /// A manager whose connection closed is lost when it has not come back for so long, if that is
    /// sooner. None: its silence alone counts.
    pub disconnect_grace: Option<Duration>,
    /// For tasks that a connection which broke and healed may have taken with it.
    pub reconnect_patience: Patience,
    /// Whether managers must run the submit side's versions.
    pub version_check: VersionCheck,
    /// Whether a hub listens: reports are made only then.
    pub monitoring: bool,
    /// Whether state changes of tasks and managers are told, by [`super::Output::Happening`].
    pub happenings: bool,
    /// The port that WORKER_BINDS tells.
    pub worker_port: u16,
    /// What is known beforehand of where tasks fit.
    pub placement: Placement,
}

/// What HTEX knows of its managers and they do not tell, and what is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Placement {
    /// A worker's share of its node: HTEX's `cores_per_worker`. None: the manager's cores by its
    /// workers.
    pub cores_per_worker: Option<f64>,
    /// In MB of 2²⁰ bytes: HTEX's `mem_per_worker`. None: the manager's memory by its workers.
    pub memory_per_worker_mb: Option<f64>,
    /// How long a block lasts, for managers that do not drain by themselves.
    pub walltime: Option<Duration>,
    /// How strict the types of tasks are that do not say so themselves.
    pub routing: Routing,
    /// A manager that fails everything while others do not is held.
    pub hold_failing_managers: bool,
    /// No manager is sent more than its capacity, in place of tasks in doubt neither.
    pub exact_capacity: bool,
}

/// How long the result of a task in doubt is waited for, from when its manager is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The heartbeat threshold, 30 s, or three times the longest flight: whichever is most.
    Measured,
    /// So long (`--reconnect-patience`).
    Fixed(Duration),
    /// No task is ever in doubt.
    Endless,
}

/// The versions of the submit side, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// `3.11`
    pub python: Option<String>,
    /// `VERSION` of `parsl/version.py`, zero-padded: `2026.08.10`.
    pub parsl: Option<String>,
}
