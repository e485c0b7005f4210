//! The order in which tasks wait, and nothing else: lowest priority number first, then lowest id,
//! as Parsl since 2025.10.27.

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

impl<B> QueuedTask<B> {
    fn key(&self) -> (Priority, TaskId) {
        (self.priority, self.ticket.task())
    }
}

/// Two lanes: tasks that come in order (nearly all, in nearly all runs) stand in a plain line; the
/// others are ranked. The next one is the lesser of the two lanes' first.
pub(super) struct TaskQueue<B> {
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
    key: (Priority, TaskId),
    place: usize,
}

impl<B> TaskQueue<B> {
    pub(super) fn new() -> Self {
        Self {
            line: VecDeque::new(),
            ranking: BinaryHeap::new(),
            ranked: Slab::new(),
            weight: 0,
        }
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

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.iter().map(|task| task.ticket.task())
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

    fn queue_of(tasks: &[(i64, i64)]) -> TaskQueue<()> {
        let mut queue = TaskQueue::new();
        for (priority, id) in tasks {
            queue.push(QueuedTask {
                ticket: Ticket::issue(TaskId(*id)),
                priority: Priority::from_i64(*priority),
                since_ns: 0,
                weight: 10,
                body: (),
            });
        }
        queue
    }

    fn first_of(queue: &TaskQueue<()>) -> Option<TaskId> {
        queue.first().map(|task| task.ticket.task())
    }

    fn drained(queue: &mut TaskQueue<()>) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop_if(|_| true))
            .map(|task| task.ticket.settle().0)
            .collect()
    }

    #[test]
    fn lowest_priority_number_then_lowest_id() {
        let mut queue = queue_of(&[(5, 1), (3, 2), (3, 3), (9, 4), (1, 5), (5, 6)]);
        assert_eq!((queue.len(), queue.weight()), (6, 60));
        assert_eq!(first_of(&queue), Some(TaskId(5)));
        assert_eq!(drained(&mut queue), [5, 2, 3, 1, 6, 4]);
        assert!(queue.is_empty());
        assert_eq!(queue.weight(), 0);
    }

    #[test]
    fn a_lesser_one_that_comes_late_is_first() {
        let mut queue = queue_of(&[(1, 1), (1, 2), (1, 3)]);
        let first = queue.pop_if(|_| true).unwrap();
        assert_eq!((first_of(&queue), queue.weight()), (Some(TaskId(2)), 20));
        queue.push(first);
        assert_eq!(queue.weight(), 30);
        assert_eq!(drained(&mut queue), [1, 2, 3]);
    }
}
