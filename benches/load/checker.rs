//! Checks every task that a manager receives.

use std::sync::Arc;

use super::arguments::Priorities;
use super::batch_reader::Task;
use super::order::{Order, priority_of};
use super::pattern::{Kind, Pattern};
use super::trouble::{Outcome, violation};

/// A set of ids.
pub(crate) struct Ids {
    bits: Vec<u64>,
}

impl Ids {
    /// Makes a set for ids from 0 up to `last`.
    pub(crate) fn up_to(last: u64) -> Self {
        Self {
            bits: vec![0; last as usize / 64 + 1],
        }
    }

    /// Adds an id. True if it was not in the set; None if it is out of range.
    pub(crate) fn insert(&mut self, id: u64) -> Option<bool> {
        let word = self.bits.get_mut(usize::try_from(id / 64).ok()?)?;
        let bit = 1 << (id % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        Some(is_new)
    }
}

pub(crate) struct Checker {
    pub pattern: Arc<Pattern>,
    pub order: Order,
    pub priorities: Priorities,
    pub seed: u64,
    /// The highest id that is ever submitted; the lowest is 1.
    pub last_id: u64,
    seen: Ids,
    received: u64,
}

impl Checker {
    pub(crate) fn new(
        pattern: Arc<Pattern>,
        order: Order,
        (priorities, seed): (Priorities, u64),
        last_id: u64,
    ) -> Self {
        Self {
            pattern,
            order,
            priorities,
            seed,
            last_id,
            seen: Ids::up_to(last_id),
            received: 0,
        }
    }

    /// Returns the number of correct tasks so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Checks a task in a message. The manager's previous task had the rank `last`; all managers
    /// together hold at most `capacity` tasks.
    ///
    /// # Errors
    /// A description of what is wrong with the task.
    pub(crate) fn check(
        &mut self,
        task: &Task,
        message: &[u8],
        last: &mut Option<u64>,
        capacity: u64,
    ) -> Outcome<()> {
        let id = task.id;
        if id == 0 || id > self.last_id {
            return violation(format!(
                "a manager received task {id}, which was never submitted"
            ));
        }
        if self.seen.insert(id) != Some(true) {
            return violation(format!("task {id} arrived twice"));
        }
        if !self.pattern.is(Kind::Task, id, task.buffer.of(message)) {
            return violation(format!(
                "the buffer of task {id} differs from the submitted one"
            ));
        }
        if task.priority != priority_of(self.priorities, self.seed, id) {
            return violation(format!(
                "the priority of task {id} differs from the submitted one"
            ));
        }
        self.order.check(id, last, self.received, capacity)?;
        self.received += 1;
        Ok(())
    }
}
