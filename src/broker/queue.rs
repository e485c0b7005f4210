//! The order in which tasks wait, and nothing else: lowest priority number first, then lowest id,
//! as Parsl since 2025.10.27.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::ticket::Ticket;
use crate::protocol::{Priority, TaskId};

/// A task that waits.
#[derive(Debug)]
pub(super) struct QueuedTask<B> {
    pub(super) ticket: Ticket,
    pub(super) priority: Priority,
    pub(super) body: B,
}

impl<B> QueuedTask<B> {
    fn key(&self) -> (Priority, TaskId) {
        (self.priority, self.ticket.task())
    }
}

/// Greatest is what a heap gives first, so the order is turned round.
impl<B> Ord for QueuedTask<B> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<B> PartialOrd for QueuedTask<B> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<B> PartialEq for QueuedTask<B> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<B> Eq for QueuedTask<B> {}

/// Two lanes: tasks that come in order (nearly all, in nearly all runs) stand in a plain line; the
/// others in a heap. The next one is the lesser of the two lanes' first.
pub(super) struct TaskQueue<B> {
    line: VecDeque<QueuedTask<B>>,
    heap: BinaryHeap<QueuedTask<B>>,
}

impl<B> TaskQueue<B> {
    pub(super) fn new() -> Self {
        Self {
            line: VecDeque::new(),
            heap: BinaryHeap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.len() + self.heap.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, task: QueuedTask<B>) {
        match self.line.back() {
            Some(last) if last.key() > task.key() => self.heap.push(task),
            _ => self.line.push_back(task),
        }
    }

    pub(super) fn pop(&mut self) -> Option<QueuedTask<B>> {
        let heap_first = match (self.line.front(), self.heap.peek()) {
            (Some(in_line), Some(in_heap)) => in_heap.key() < in_line.key(),
            (None, Some(_)) => true,
            _ => false,
        };
        let task = if heap_first {
            self.heap.pop()
        } else {
            self.line.pop_front()
        };
        if self.is_empty() {
            self.give_back_room();
        }
        task
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.line
            .iter()
            .chain(self.heap.iter())
            .map(|task| task.ticket.task())
    }

    /// Everything that waits, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedTask<B>> {
        self.line.drain(..).chain(self.heap.drain())
    }

    /// The room of a long queue is not kept after it.
    fn give_back_room(&mut self) {
        const KEPT: usize = 1024;
        self.line.shrink_to(KEPT);
        self.heap.shrink_to(KEPT);
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
                body: (),
            });
        }
        queue
    }

    fn drained(queue: &mut TaskQueue<()>) -> Vec<i64> {
        std::iter::from_fn(|| queue.pop())
            .map(|task| task.ticket.settle().0)
            .collect()
    }

    #[test]
    fn lowest_priority_number_then_lowest_id() {
        let mut queue = queue_of(&[(5, 1), (3, 2), (3, 3), (9, 4), (1, 5), (5, 6)]);
        assert_eq!(queue.len(), 6);
        assert_eq!(drained(&mut queue), [5, 2, 3, 1, 6, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_goes_back_is_first_again() {
        let mut queue = queue_of(&[(1, 1), (1, 2), (1, 3)]);
        let first = queue.pop().unwrap();
        queue.push(first);
        assert_eq!(drained(&mut queue), [1, 2, 3]);
    }
}
