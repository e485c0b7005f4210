//! Ownership of a task as a type: from its acceptance to its terminal message, a task has exactly
//! one [`Ticket`], in the queue or with one manager.

use std::mem;
use std::time::Duration;

use journal::Record;

use super::books;
use protocol::{IdRun, TaskId};

/// The obligation to end a task with one terminal message. A ticket is moved, never copied; only
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

    /// Ends the ticket: the task has its terminal message (or the whole run ends).
    pub(super) fn settle(self) -> TaskId {
        let task = self.0;
        mem::forget(self);
        task
    }
}

/// A task that a manager holds.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    /// When the task was dispatched, on the clock of [`super::liveness::Liveness::awake`].
    pub(super) dispatched: Duration,
    /// The number of the link that the task was sent on, or of a later one if the task is assumed
    /// to be running. If the manager has a later link still, the task is in doubt: the broken
    /// connection may have lost its batch or its result.
    pub(super) link: u64,
    /// The journal record, if a journal is kept; deleted with this value.
    pub(super) record: Option<Record>,
}

impl InFlight {
    pub(super) fn task(&self) -> TaskId {
        self.ticket.task()
    }

    /// Notes in the journal that the task is in doubt. After a restart it is still in doubt,
    /// whatever its age.
    pub(super) fn note_doubt(&self, since: Duration) {
        if let Some(record) = &self.record {
            books::note_doubt(record, since);
        }
    }

    /// Returns since when the task has been in doubt, in this process or an earlier one.
    pub(super) fn doubted_since(&self) -> Option<Duration> {
        books::doubted_since(self.record.as_ref()?)
    }
}

/// A ticket that is dropped unsettled is a task that will never be answered: a bug. It stops a test
/// or a debug build. A release build, which runs a user's science, logs the bug and continues.
impl Drop for Ticket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        codes::log!(
            TASK_FORGOTTEN,
            "Task {} was dropped without a result or an error for the executor",
            self.0
        );
        debug_assert!(
            false,
            "task {} was dropped without a terminal message",
            self.0
        );
    }
}

/// Formats ids for a log line: `1-500, 503`, at most a hundred runs.
pub(super) fn ranges(mut ids: Vec<TaskId>) -> String {
    const RUNS_MAX: usize = 100;
    ids.sort_unstable();
    let mut runs = runs(&ids);
    let texts = runs.by_ref().take(RUNS_MAX);
    let texts = texts.map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let mut text = texts.collect::<Vec<_>>().join(", ");
    if runs.next().is_some() {
        text.push_str(", …");
    }
    format!("{} [{text}]", ids.len())
}

/// Returns the first and the last id of each run of consecutive ids. The ids must be sorted.
pub(super) fn runs(ids: &[TaskId]) -> impl Iterator<Item = IdRun> {
    let runs = ids.chunk_by(|TaskId(before), TaskId(next)| before.checked_add(1) == Some(*next));
    runs.filter_map(|run| Some((*run.first()?, *run.last()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "was dropped without")]
    fn a_dropped_ticket_is_noticed() {
        drop(Ticket::issue(TaskId(7)));
    }

    #[test]
    fn ranges_fold_neighbours() {
        let ids = [3, 1, 2, 9].map(TaskId).to_vec();
        assert_eq!(ranges(ids), "4 [1-3, 9]");
        assert_eq!(ranges(vec![]), "0 []");
        let ends = [i64::MAX, i64::MIN].map(TaskId).to_vec();
        let text = format!("2 [{}, {}]", i64::MIN, i64::MAX);
        assert_eq!(ranges(ends), text);
    }

    #[test]
    fn only_the_first_hundred_ranges_are_shown() {
        let ids = |count: i64| (0..count).map(|id| TaskId(id * 2)).collect();
        assert!(ranges(ids(100)).ends_with("196, 198]"));
        assert!(ranges(ids(101)).ends_with("196, 198, …]"));
    }
}
