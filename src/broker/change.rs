//! State changes of tasks and managers, as whoever watches a run is told them.

use std::time::Duration;

use super::now::Now;
use protocol::{BlockId, ManagerId, TaskId};

/// One change, and when it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Seconds since the epoch.
    pub wall_s: f64,
    /// On the monotonic clock, which nobody sets.
    pub monotonic: Duration,
    /// Whom it befell, and what it was.
    pub what: What,
}

/// Whom a change befell.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A task changed its place in the books.
    Task {
        /// Which task.
        task: TaskId,
        /// What became of it.
        change: TaskChange,
    },
    /// A manager came, went, or was kept from tasks.
    Manager {
        /// Which manager.
        manager: ManagerId,
        /// What became of it.
        change: ManagerChange,
    },
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskChange {
    /// Accepted from the submit side: it waits.
    Queued {
        /// What it asks for, in words; None if that is nothing.
        needs: Option<String>,
    },
    /// It went into a batch for a manager.
    Dispatched {
        /// The one that gets it.
        manager: ManagerId,
        /// How many of its slots it takes.
        slots: usize,
    },
    /// Its own result was passed on.
    Done {
        /// The one that sent the result.
        manager: ManagerId,
    },
    /// A failure of our making was passed on.
    Failed {
        /// Why.
        reason: FailedBy,
        /// The one that held it; None if it never left.
        manager: Option<ManagerId>,
    },
}

/// Why a failure of our making was passed on.
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
    /// It may get tasks from now on.
    Registered {
        /// The block that it belongs to, as it was submitted by the executor.
        block: BlockId,
        /// The node that it runs on, in its own words.
        hostname: String,
        /// How many workers it says it has.
        workers: i64,
        /// How many tasks it may hold: workers and prefetch.
        capacity: usize,
    },
    /// Its tasks raise, all of them and soon, while those of others do not.
    Failing {
        /// How many did so in a row.
        tasks: u64,
    },
    /// By HOLD_MANAGER, or because it fails everything: it gets nothing more, and stays.
    Held,
    /// By its own word or its drain time: it gets nothing more, and goes after its last task.
    Draining,
    /// It was told to exit after its last task.
    Drained,
    /// Its connection closed.
    Suspect {
        /// Tasks that it held at that moment.
        in_flight: usize,
    },
    /// Others of its block vanished: it gets nothing more until it speaks.
    Awaited,
    /// It speaks again.
    Back {
        /// Tasks that it still holds.
        in_flight: usize,
    },
    /// Given up, with the tasks that it held.
    Lost {
        /// How many.
        tasks: usize,
        /// How long nothing was heard of it, while this process ran.
        silent: Duration,
        /// It was held before: Parsl holds the managers of a block that it takes away.
        was_held: bool,
    },
    /// It lives, but some of its tasks were given up: a broken connection may have taken them.
    GaveUp {
        /// How many.
        tasks: usize,
    },
    /// Another process took its identity. The tasks that the one before held are lost.
    Replaced {
        /// How many.
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
