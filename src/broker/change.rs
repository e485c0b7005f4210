//! State changes of tasks and managers, as whoever watches a run is told them.

use std::time::Duration;

use super::now::Now;
use protocol::{BlockId, ManagerId, TaskId};

/// One change, and when it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Seconds since the epoch.
    pub wall_s: f64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Task {
        task: TaskId,
        change: TaskChange,
    },
    Manager {
        manager: ManagerId,
        change: ManagerChange,
    },
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskChange {
    /// Accepted from the submit side: it waits.
    Queued,
    Dispatched {
        manager: ManagerId,
    },
    /// Its batch could not leave: it waits again.
    Requeued {
        manager: ManagerId,
    },
    /// Its own result was passed on.
    Done {
        manager: ManagerId,
    },
    /// A failure of our making was passed on.
    Failed {
        reason: FailedBy,
        manager: Option<ManagerId>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedBy {
    /// Its manager was lost, or another one took its place.
    ManagerLost,
    /// The task, or its result, could not be passed on.
    Unreadable,
}

/// What became of a manager.
#[derive(Debug, Clone, PartialEq)]
pub enum ManagerChange {
    Registered {
        block: BlockId,
        hostname: String,
        workers: i64,
        capacity: usize,
    },
    Held,
    Draining,
    Drained,
    /// Its connection closed.
    Suspect {
        in_flight: usize,
    },
    /// It speaks again.
    Back {
        in_flight: usize,
    },
    /// Given up, with the tasks that it held.
    Lost {
        tasks: usize,
        silent: Duration,
    },
    /// It lives, but some of its tasks were given up: a broken connection may have taken them.
    GaveUp {
        tasks: usize,
    },
    /// Another process took its identity. The tasks that the one before held are lost.
    Replaced {
        tasks: usize,
    },
}

impl Happening {
    pub(super) fn of_task(task: TaskId, change: TaskChange, now: Now) -> Self {
        Self {
            wall_s: now.wall_s,
            what: What::Task { task, change },
        }
    }

    pub(super) fn of_manager(manager: &ManagerId, change: ManagerChange, now: Now) -> Self {
        Self {
            wall_s: now.wall_s,
            what: What::Manager {
                manager: manager.clone(),
                change,
            },
        }
    }
}
