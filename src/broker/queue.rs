//! The queued tasks: those without requirements in one lane, the others by their requirements.

use super::demand::Room;
use super::kinds::{Choice, ClassName, Kinds, Walk};
use super::lane::{Key, Lane, QueuedTask};
use super::slot::Slot;
use protocol::TaskId;
use std::time::Duration;

pub(super) struct TaskQueue<B> {
    /// Tasks without requirements, which fit every manager.
    pub(super) plain: Lane<B>,
    pub(super) asking: Kinds<B>,
}

impl<B> TaskQueue<B> {
    pub(super) fn new() -> Self {
        Self {
            plain: Lane::new(),
            asking: Kinds::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.asking.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a task waits that some manager could hold.
    pub(super) fn has_work(&self) -> bool {
        !self.plain.is_empty() || self.asking.holdable() > 0
    }

    /// Returns the total weight of all queued tasks.
    pub(super) fn weight(&self) -> usize {
        self.plain.weight() + self.asking.weight()
    }

    /// Returns what a manager gets next: see [`Kinds::walk`].
    pub(super) fn walk(
        &self,
        manager: (Slot, &Room<'_, B>),
        until: Option<ClassName>,
        now: Duration,
    ) -> Walk {
        let plain: Option<Key> = self.plain.first_key();
        self.asking.walk(manager, plain, until, now)
    }

    /// Returns the first task without requirements; if there is none, the first one with
    /// requirements.
    pub(super) fn first(&self) -> Option<&QueuedTask<B>> {
        self.plain.first().or_else(|| self.asking.first())
    }

    pub(super) fn peek(&self, choice: &Choice) -> Option<&QueuedTask<B>> {
        match choice {
            Choice::Plain => self.plain.first(),
            Choice::Asking(found) => self.asking.peek(found.kind),
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.iter().map(|task| task.ticket.task())
    }

    /// Returns all queued tasks, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedTask<B>> {
        self.plain.iter().chain(self.asking.iter())
    }

    /// Removes and returns all queued tasks, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedTask<B>> {
        let asking = self.asking.drain();
        self.plain.drain().chain(asking)
    }
}
