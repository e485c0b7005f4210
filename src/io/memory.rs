//! Memory of a long queue goes back to the system when the queue is gone.
//!
//! The allocator keeps what is freed for later. After a backlog of a million tasks that is a
//! gigabyte, on a login node that others use as well. So a while after tasks have come, when few of
//! them wait, the process looks at its size, and trims it if it has grown. Without tasks nothing is
//! looked at, and nobody is woken for it.

use std::fs;
use std::time::Duration;

use tracing::debug;

use super::raw;
use crate::broker::Now;

/// How long after tasks have come. Long enough to cost nothing, and short of what a user waits for.
const LOOK_AFTER: Duration = Duration::from_millis(1500);
/// As long as more tasks wait, memory is in use.
const FEW_TASKS: usize = 2048;
/// Less is not worth a walk through the heap.
const WORTH_BYTES: usize = 8 << 20;

pub(super) struct Memory {
    look_at: Option<Duration>,
    /// Resident after it was last trimmed, or at the start.
    usual_bytes: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            look_at: None,
            usual_bytes: resident_bytes(),
        }
    }

    /// Tasks have come.
    pub(super) fn handle_tasks(&mut self, now: Now) {
        if self.look_at.is_none() {
            self.look_at = Some(now.monotonic + LOOK_AFTER);
        }
    }

    pub(super) fn handle_time(&mut self, queued: usize, now: Now) {
        if self.look_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        if queued > FEW_TASKS {
            self.look_at = Some(now.monotonic + LOOK_AFTER);
            return;
        }
        self.look_at = None;
        let before = resident_bytes();
        if before <= self.usual_bytes + WORTH_BYTES {
            return;
        }
        raw::trim_heap();
        self.usual_bytes = resident_bytes();
        debug!(
            "Gave memory back to the system: {} MB resident before, {} MB now",
            before >> 20,
            self.usual_bytes >> 20
        );
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.look_at
    }
}

/// 0 where the system does not tell.
fn resident_bytes() -> usize {
    let pages = || -> Option<usize> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        statm.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    pages().unwrap_or(0) * raw::page_bytes()
}
