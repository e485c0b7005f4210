//! Ownership of a task as a type: from its acceptance to its terminal message there is exactly one
//! [`Ticket`] for it, in the queue or in one manager's hands.

use std::mem;
use std::time::Duration;

use journal::Record;

use super::books;
use protocol::{IdRun, TaskId};

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
    /// Of the journal, where one is kept: it goes with this.
    pub(super) record: Option<Record>,
}

impl InFlight {
    pub(super) fn task(&self) -> TaskId {
        self.ticket.task()
    }

    /// It may be gone, and so it may after a restart, however old it is then.
    pub(super) fn note_doubt(&self, since: Duration) {
        if let Some(record) = &self.record {
            books::note_doubt(record, since);
        }
    }

    /// Since when it has been in doubt, by this process or by one before.
    pub(super) fn doubted_since(&self) -> Option<Duration> {
        books::doubted_since(self.record.as_ref()?)
    }
}

/// A ticket that goes out of scope is a task that nobody will ever answer: our bug. It stops a test
/// and a debug build; a release build, with a user's science in it, says so and goes on.
impl Drop for Ticket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        codes::log!(
            TASK_FORGOTTEN,
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

/// The first and the last of each run of neighbours, of ids in order.
pub(super) fn runs(ids: &[TaskId]) -> impl Iterator<Item = IdRun> {
    let runs = ids.chunk_by(|TaskId(before), TaskId(next)| before.checked_add(1) == Some(*next));
    runs.filter_map(|run| Some((*run.first()?, *run.last()?)))
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
        let ends = [i64::MAX, i64::MIN].map(TaskId).to_vec();
        let text = format!("2 [{}, {}]", i64::MIN, i64::MAX);
        assert_eq!(ranges(ends), text);
    }

    #[test]
    fn of_many_ranges_the_first_are_shown() {
        let ids = |count: i64| (0..count).map(|id| TaskId(id * 2)).collect();
        assert!(ranges(ids(100)).ends_with("196, 198]"));
        assert!(ranges(ids(101)).ends_with("196, 198, …]"));
    }
}
