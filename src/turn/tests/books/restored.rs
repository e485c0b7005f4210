//! The state of the books after a process was killed and another one continues.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::restart::Written;
use super::{Book, Books, Link, Verdict};
use broker::ManagerView;

impl Books {
    /// Updates the books for another process that continues with the journaled tasks. `addressed`
    /// is the manager whose batch was begun when the previous process was killed. Returns the tasks
    /// that had ended and were not answered.
    pub(crate) fn follow(
        &mut self,
        written: &Written,
        addressed: Option<&str>,
        now: Duration,
    ) -> Result<BTreeSet<i64>, String> {
        let waited = self.tasks.all_waiting();
        if let Some(task) = written.waiting.difference(&waited).next() {
            return Err(format!("task {task} waits again"));
        }
        for task in waited.difference(&written.waiting) {
            let begun = addressed.and_then(|name| self.managers.get_mut(name));
            let Some(book) = begun.filter(|_| written.held.contains(task)) else {
                return Err(format!("task {task} waits no more"));
            };
            book.hands.add(*task, self.tasks.needs_of(*task));
            self.tasks.take(*task);
            self.sent.insert(*task, now);
        }
        let mut ended = std::mem::take(&mut self.failed);
        ended.extend(self.results.drain(..));
        let mut held = BTreeSet::new();
        for book in self.managers.values_mut() {
            for task in book.hands.tasks.difference(&written.held).copied() {
                ended.insert(task);
            }
            for task in &ended {
                book.hands.remove(*task);
            }
            held.extend(&book.hands.tasks);
            book.begin_again(now, self.gaps);
        }
        self.words_owed.clear();
        self.foreseen.clear();
        self.unanswered = None;
        self.find_homes();
        match written.held.difference(&held).next() {
            Some(task) => Err(format!("task {task} is written down, and nobody has it")),
            None => Ok(ended),
        }
    }

    /// Restores the homes of affinities: only those with a task in a manager's hands are
    /// remembered.
    fn find_homes(&mut self) {
        self.homes.clear();
        let mut placed = BTreeMap::new();
        for (name, book) in &self.managers {
            for task in &book.hands.tasks {
                if let Some(affinity) = self.tasks.needs_of(*task).affinity {
                    let since = self.sent.get(task).copied();
                    placed.insert((since, *task), (affinity, name.clone()));
                }
            }
        }
        self.homes.extend(placed.into_values());
    }

    /// Compares the books with the managers that the new process knows. The new process may not
    /// know yet that some managers left or are draining.
    pub(crate) fn agree(&mut self, known: &[ManagerView]) -> Verdict {
        for view in known {
            let name = view.id.to_text();
            let Some(book) = self.managers.get_mut(&name) else {
                return Err(format!("{name} is known again"));
            };
            let is_draining = std::mem::replace(&mut book.is_draining, view.draining);
            if book.is_held != view.held || is_draining && !view.draining {
                return Err(format!("{name} is not known as before: {view:?}, {book:?}"));
            }
        }
        let is_known = |name: &String| known.iter().any(|view| view.id.to_text() == *name);
        let gone = self.managers.keys().filter(|name| !is_known(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            let book = &self.managers[&name];
            if !book.hands.tasks.is_empty() {
                return Err(format!("{name} is forgotten: {book:?}"));
            }
            self.leave(&name);
        }
        Ok(())
    }
}

impl Book {
    /// Resets the connection, since the manager has no connection to the new process yet.
    fn begin_again(&mut self, now: Duration, gaps: Duration) {
        self.spoke_by = None;
        self.registered_by = None;
        self.link = Link::Closed;
        (self.closed_at, self.unreachable_since) = (now, (now, gaps));
        (self.last_read, self.gaps_before) = (now, gaps);
        self.hands.restored = self.hands.tasks.clone();
    }
}
