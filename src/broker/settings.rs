//! The broker's settings.

use std::time::Duration;

use protocol::{Routing, VersionCheck};

/// Settings that are fixed when the broker starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A manager that is silent for longer than this is lost.
    pub heartbeat_threshold: Duration,
    /// A manager whose connection closed is lost if it does not reconnect within this time, even
    /// before the heartbeat threshold. None: only its silence counts.
    pub disconnect_grace: Option<Duration>,
    /// How long to wait for the results of tasks that a broken and restored connection may have
    /// lost.
    pub reconnect_patience: Patience,
    /// Whether managers must run the submit side's versions.
    pub version_check: VersionCheck,
    /// Whether a monitoring hub listens: records are made only then.
    pub monitoring: bool,
    /// Whether state changes of tasks and managers are reported, by [`super::Output::Happening`].
    pub happenings: bool,
    /// The port that WORKER_BINDS reports.
    pub worker_port: u16,
    /// What is known in advance about where tasks fit.
    pub placement: Placement,
}

/// What HTEX knows of its managers that they do not report, and the rules for placement.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Placement {
    /// Cores of one worker: HTEX's `cores_per_worker`. None: the manager's cores divided by its
    /// workers.
    pub cores_per_worker: Option<f64>,
    /// Memory of one worker in MB of 2²⁰ bytes: HTEX's `mem_per_worker`. None: the manager's memory
    /// divided by its workers.
    pub memory_per_worker_mb: Option<f64>,
    /// How long a block lasts, for managers that have no drain time.
    pub walltime: Option<Duration>,
    /// The routing of typed tasks that do not set their own.
    pub routing: Routing,
    /// Whether a manager that fails every task, while others do not, is held.
    pub hold_failing_managers: bool,
    /// Whether no manager ever gets more tasks than its capacity, even in place of tasks in doubt.
    pub exact_capacity: bool,
}

/// How long to wait for the result of a task in doubt, from when its manager is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The heartbeat threshold, 30 s, or three times the longest flight, whichever is longest.
    Measured,
    /// A fixed time (`--reconnect-patience`).
    Fixed(Duration),
    /// No limit: no task is ever in doubt.
    Endless,
}

/// The versions of the submit side, as far as known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// The Python version: `3.11`.
    pub python: Option<String>,
    /// The Parsl version, `VERSION` of `parsl/version.py`, zero-padded: `2026.08.10`.
    pub parsl: Option<String>,
}
