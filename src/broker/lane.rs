//! The order in which tasks of one kind wait, and nothing else: lowest priority number first, then
//! lowest id, as Parsl since 2025.10.27.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use slab::Slab;

use super::ticket::Ticket;
use protocol::{Priority, TaskId};

/// A task that waits.
#[derive(Debug)]
pub(super) struct QueuedTask<B> {
    pub(super) ticket: Ticket,
    pub(super) priority: Priority,
    /// Since when it waits, on the monotonic clock. (A `Duration` would take twice the room, and
    /// queues are long.)
    pub(super) since_ns: u64,
    /// What it takes to keep it, in the unit of whoever handed it in.
    pub(super) weight: usize,
    pub(super) body: B,
}

/// What tasks are ordered by.
pub(super) type Key = (Priority, TaskId);

impl<B> QueuedTask<B> {
    pub(super) fn key(&self) -> Key {
        (self.priority, self.ticket.task())
    }
}

/// Two lines: tasks that come in order (nearly all, in nearly all runs) stand in a plain line; the
/// others are ranked. The next one is the lesser of their first.
pub(super) struct Lane<B> {
    line: VecDeque<QueuedTask<B>>,
    /// Of those that are ranked, only the keys move about: a heap of a million touches twenty
    /// places for each that it gives.
    ranking: BinaryHeap<Reverse<Rank>>,
    ranked: Slab<QueuedTask<B>>,
    /// Of all that waits.
    weight: usize,
}

/// Ordered by its fields from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    key: Key,
    place: usize,
}

impl<B> Lane<B> {
    pub(super) fn new() -> Self {
        Self {
            line: VecDeque::new(),
            ranking: BinaryHeap::new(),
            ranked: Slab::new(),
            weight: 0,
        }
    }

    /// One of few tasks, as a rule of one.
    pub(super) fn of(task: QueuedTask<B>) -> Self {
        let mut lane = Self::new();
        lane.line.reserve_exact(1);
        lane.push(task);
        lane
    }

    pub(super) fn len(&self) -> usize {
        self.line.len() + self.ranking.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum over everything that waits.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    #[inline(always)]
    pub(super) fn push(&mut self, task: QueuedTask<B>) {
        self.weight += task.weight;
        match self.line.back() {
            Some(last) if last.key() > task.key() => {
                let key = task.key();
                let place = self.ranked.insert(task);
                self.ranking.push(Reverse(Rank { key, place }));
            }
            _ => self.line.push_back(task),
        }
    }

    /// The next one, if it is wanted.
    #[inline]
    pub(super) fn pop_if(
        &mut self,
        is_wanted: impl FnOnce(&QueuedTask<B>) -> bool,
    ) -> Option<QueuedTask<B>> {
        let task = if self.is_ranked_first() {
            let Reverse(first) = *self.ranking.peek()?;
            if !is_wanted(self.ranked.get(first.place)?) {
                return None;
            }
            self.ranking.pop();
            self.ranked.remove(first.place)
        } else {
            if !is_wanted(self.line.front()?) {
                return None;
            }
            self.line.pop_front()?
        };
        self.weight -= task.weight;
        if self.is_empty() {
            self.give_back_room();
        }
        Some(task)
    }

    pub(super) fn first_key(&self) -> Option<Key> {
        self.first().map(QueuedTask::key)
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<&QueuedTask<B>> {
        if self.is_ranked_first() {
            let Reverse(first) = self.ranking.peek()?;
            return self.ranked.get(first.place);
        }
        self.line.front()
    }

    #[inline]
    fn is_ranked_first(&self) -> bool {
        match (self.line.front(), self.ranking.peek()) {
            (Some(in_line), Some(Reverse(first))) => first.key < in_line.key(),
            (None, Some(_)) => true,
            _ => false,
        }
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedTask<B>> {
        let ranked = self.ranked.iter().map(|(_, task)| task);
        self.line.iter().chain(ranked)
    }

    /// Everything that waits, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedTask<B>> {
        self.ranking.clear();
        self.weight = 0;
        self.line.drain(..).chain(self.ranked.drain())
    }

    /// The room of a long queue is not kept after it.
    fn give_back_room(&mut self) {
        const KEPT: usize = 1024;
        self.line.shrink_to(KEPT);
        self.ranking.shrink_to(KEPT);
        if self.ranked.capacity() > KEPT {
            self.ranked.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane_of(tasks: &[(i64, i64)]) -> Lane<()> {
        let mut lane = Lane::new();
        for (priority, id) in tasks {
            lane.push(QueuedTask {
                ticket: Ticket::issue(TaskId(*id)),
                priority: Priority::from_i64(*priority),
                since_ns: 0,
                weight: 10,
                body: (),
            });
        }
        lane
    }

    fn first_of(lane: &Lane<()>) -> Option<TaskId> {
        lane.first().map(|task| task.ticket.task())
    }

    fn drained(lane: &mut Lane<()>) -> Vec<i64> {
        std::iter::from_fn(|| lane.pop_if(|_| true))
            .map(|task| task.ticket.settle().0)
            .collect()
    }

    #[test]
    fn lowest_priority_number_then_lowest_id() {
        let mut lane = lane_of(&[(5, 1), (3, 2), (3, 3), (9, 4), (1, 5), (5, 6)]);
        assert_eq!((lane.len(), lane.weight()), (6, 60));
        assert_eq!(first_of(&lane), Some(TaskId(5)));
        assert_eq!(drained(&mut lane), [5, 2, 3, 1, 6, 4]);
        assert!(lane.is_empty());
        assert_eq!(lane.weight(), 0);
    }

    #[test]
    fn a_lesser_one_that_comes_late_is_first() {
        let mut lane = lane_of(&[(1, 1), (1, 2), (1, 3)]);
        let first = lane.pop_if(|_| true).unwrap();
        assert_eq!((first_of(&lane), lane.weight()), (Some(TaskId(2)), 20));
        lane.push(first);
        assert_eq!(lane.weight(), 30);
        assert_eq!(drained(&mut lane), [1, 2, 3]);
    }
}
