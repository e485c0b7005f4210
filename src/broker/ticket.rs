//! Ownership of a task as a type: from its acceptance to its terminal message there is exactly one
//! [`Ticket`] for it, in the queue or in one manager's hands.

use std::mem;
use std::time::Duration;

use tracing::error;

use protocol::TaskId;

/// The duty to see that a task ends in one terminal message. It is moved, never copied; only
/// [`Ticket::settle`] ends it.
#[derive(Debug)]
pub(super) struct Ticket(TaskId);

impl Ticket {
    pub(super) fn issue(task: TaskId) -> Self {
        Self(task)
    }

    pub(super) fn task(&self) -> TaskId {
        self.0
    }

    /// The task has its terminal message (or the whole run ends).
    pub(super) fn settle(self) -> TaskId {
        let task = self.0;
        mem::forget(self);
        task
    }
}

/// A task in a manager's hands.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    /// When it was dispatched, on the clock of [`super::liveness::Liveness::awake`].
    pub(super) dispatched: Duration,
    /// The number of the link that it left by, or is held to be running behind. If there is a later
    /// one, it is in doubt: the connection that broke may have taken its batch or its result.
    pub(super) link: u64,
}

impl InFlight {
    pub(super) fn task(&self) -> TaskId {
        self.ticket.task()
    }
}

/// A ticket that goes out of scope is a task that nobody will ever answer: our bug. It stops a test
/// and a debug build; a release build, with a user's science in it, says so and goes on.
impl Drop for Ticket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        error!(
            "Task {} went out of scope without a terminal message",
            self.0
        );
        debug_assert!(false, "task {} went out of scope", self.0);
    }
}

/// Ids for a log line: `1-500, 503`, at most a hundred runs.
pub(super) fn ranges(mut ids: Vec<TaskId>) -> String {
    const RUNS_MAX: usize = 100;
    ids.sort_unstable();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for TaskId(id) in &ids {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *id => *end = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let texts = runs
        .iter()
        .take(RUNS_MAX)
        .map(|(start, end)| match start == end {
            true => start.to_string(),
            false => format!("{start}-{end}"),
        });
    let mut text = texts.collect::<Vec<_>>().join(", ");
    if runs.len() > RUNS_MAX {
        text.push_str(", …");
    }
    format!("{} [{text}]", ids.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "went out of scope")]
    fn a_dropped_ticket_is_noticed() {
        drop(Ticket::issue(TaskId(7)));
    }

    #[test]
    fn ranges_fold_neighbours() {
        let ids = [3, 1, 2, 9].map(TaskId).to_vec();
        assert_eq!(ranges(ids), "4 [1-3, 9]");
        assert_eq!(ranges(vec![]), "0 []");
    }
}
