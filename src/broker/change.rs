//! State changes of tasks and managers, in the form in which observers of a run receive them.

use std::time::Duration;

use super::now::Now;
use protocol::{BlockId, ManagerId, TaskId};

/// One change, and when it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Wall-clock time of the change, in seconds since the epoch.
    pub wall_s: f64,
    /// Time of the change on the monotonic clock, which nobody can set.
    pub monotonic: Duration,
    /// The task or manager that changed, and how.
    pub what: What,
}

/// The subject of a change, and the change.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A task changed its state.
    Task {
        /// The task.
        task: TaskId,
        /// The change of the task.
        change: TaskChange,
    },
    /// A manager registered, left, or may no longer get tasks.
    Manager {
        /// The manager.
        manager: ManagerId,
        /// The change of the manager.
        change: ManagerChange,
    },
}

/// A change of a task's state.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskChange {
    /// The task was accepted from the submit side and waits.
    Queued {
        /// The requirements of the task, in words; None if it has none.
        needs: Option<String>,
    },
    /// The task was put into a batch for a manager.
    Dispatched {
        /// The manager that gets the task.
        manager: ManagerId,
        /// How many of the manager's slots the task takes.
        slots: usize,
    },
    /// The task's own result was forwarded.
    Done {
        /// The manager that sent the result.
        manager: ManagerId,
    },
    /// A failure made by the interchange was sent as the task's result.
    Failed {
        /// The reason of the failure.
        reason: FailedBy,
        /// The manager that held the task; None if it was never dispatched.
        manager: Option<ManagerId>,
    },
}

/// Why the interchange failed a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedBy {
    /// The task's manager was lost, or another process took over its identity.
    ManagerLost,
    /// The task, or its result, could not be forwarded.
    Unreadable,
}

/// A change of a manager's state.
#[derive(Debug, Clone, PartialEq)]
pub enum ManagerChange {
    /// The manager is registered, and may get tasks from now on.
    Registered {
        /// The block that the executor submitted the manager in.
        block: BlockId,
        /// The name of the manager's node, as the manager reports it.
        hostname: String,
        /// Number of workers that the manager reports.
        workers: i64,
        /// Number of tasks that the manager may hold: workers and prefetch.
        capacity: usize,
    },
    /// All of the manager's tasks raise, and faster than other managers' tasks that succeed.
    Failing {
        /// Number of tasks that raised in a row.
        tasks: u64,
    },
    /// The manager is held (by HOLD_MANAGER or because it fails every task): it gets no more tasks,
    /// but stays.
    Held,
    /// The manager drains (by its own request or at its drain time): it gets no more tasks, and
    /// exits after its last one.
    Draining,
    /// The manager was told to exit after its last task.
    Drained,
    /// The manager's connection closed.
    Suspect {
        /// Tasks that the manager held at that moment.
        in_flight: usize,
    },
    /// Others of the manager's block vanished: it gets no more tasks until it speaks.
    Awaited,
    /// The manager speaks again.
    Back {
        /// Tasks that the manager still holds.
        in_flight: usize,
    },
    /// The manager was given up, with the tasks that it held.
    Lost {
        /// Number of lost tasks.
        tasks: usize,
        /// How long nothing was heard of the manager, counting only the time in which this process
        /// ran.
        silent: Duration,
        /// Whether the manager was held before: Parsl holds the managers of a block that it scales
        /// in.
        was_held: bool,
    },
    /// The manager lives, but some of its tasks were given up: a broken connection may have lost
    /// them.
    GaveUp {
        /// Number of tasks given up.
        tasks: usize,
    },
    /// Another process took over the manager's identity. The tasks of the earlier process are lost.
    Replaced {
        /// Number of lost tasks.
        tasks: usize,
    },
}

impl Happening {
    pub(super) fn of_task(task: TaskId, change: TaskChange, now: Now) -> Self {
        Self {
            wall_s: now.wall_s,
            monotonic: now.monotonic,
            what: What::Task { task, change },
        }
    }

    pub(super) fn of_manager(manager: &ManagerId, change: ManagerChange, now: Now) -> Self {
        Self {
            wall_s: now.wall_s,
            monotonic: now.monotonic,
            what: What::Manager {
                manager: manager.clone(),
                change,
            },
        }
    }
}
