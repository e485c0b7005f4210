//! The order of the tasks of one kind: lowest priority number first, then lowest id, as in Parsl
//! since 2025.10.27.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use slab::Slab;

use super::ticket::Ticket;
use protocol::{Priority, TaskId};

/// A queued task.
#[derive(Debug)]
pub(super) struct QueuedTask<B> {
    pub(super) ticket: Ticket,
    pub(super) priority: Priority,
    /// Since when the task has waited, on the monotonic clock. (A `Duration` would take twice the
    /// memory, and queues are long.)
    pub(super) since_ns: u64,
    /// The memory that the task takes, in the unit of the caller that queued it.
    pub(super) weight: usize,
    pub(super) body: B,
}

/// The order of tasks.
pub(super) type Key = (Priority, TaskId);

impl<B> QueuedTask<B> {
    pub(super) fn key(&self) -> Key {
        (self.priority, self.ticket.task())
    }
}

/// The queue of one kind, in two parts. Tasks that arrive in order (nearly all, in nearly all runs)
/// are in a plain line; the others are in a heap. The next task is the lesser of the two first
/// ones.
pub(super) struct Lane<B> {
    line: VecDeque<QueuedTask<B>>,
    /// The heap moves only keys: with a million entries it touches twenty places for each one that
    /// it returns.
    ranking: BinaryHeap<Reverse<Rank>>,
    ranked: Slab<QueuedTask<B>>,
    /// The weight of all tasks.
    weight: usize,
}

/// The next task's place, as found by [`Lane::look`].
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    is_ranked: bool,
    weight: usize,
}

/// A heap entry, ordered by its fields from the first to the last.
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

    /// Returns a lane with one task. Such lanes have few tasks, usually one, so no more memory is
    /// reserved.
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

    /// Returns the total weight of the tasks.
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

    /// Returns the next task and its place.
    #[inline(always)]
    pub(super) fn look(&self) -> Option<(First, &QueuedTask<B>)> {
        let is_ranked = self.is_ranked_first();
        let task = match is_ranked {
            true => self.ranked.get(self.ranking.peek()?.0.place)?,
            false => self.line.front()?,
        };
        let weight = task.weight;
        Some((First { is_ranked, weight }, task))
    }

    /// Removes the task that [`Self::look`] has just returned. The caller calls
    /// [`Self::give_back_room`] when it has taken all that it wants.
    #[inline(always)]
    pub(super) fn take(&mut self, first: First) -> Option<QueuedTask<B>> {
        self.weight -= first.weight;
        if first.is_ranked {
            let Reverse(first) = self.ranking.pop()?;
            Some(self.ranked.remove(first.place))
        } else {
            self.line.pop_front()
        }
    }

    /// Removes and returns the next task.
    pub(super) fn pop(&mut self) -> Option<QueuedTask<B>> {
        let (first, _) = self.look()?;
        let task = self.take(first);
        self.give_back_room();
        task
    }

    pub(super) fn first_key(&self) -> Option<Key> {
        self.first().map(QueuedTask::key)
    }

    /// Returns the next task.
    pub(super) fn first(&self) -> Option<&QueuedTask<B>> {
        Some(self.look()?.1)
    }

    #[inline(always)]
    fn is_ranked_first(&self) -> bool {
        match (self.line.front(), self.ranking.peek()) {
            (Some(in_line), Some(Reverse(first))) => first.key < in_line.key(),
            (None, Some(_)) => true,
            _ => false,
        }
    }

    /// Returns all tasks, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedTask<B>> {
        let ranked = self.ranked.iter().map(|(_, task)| task);
        self.line.iter().chain(ranked)
    }

    /// Removes and returns all tasks, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedTask<B>> {
        self.ranking.clear();
        self.weight = 0;
        self.line.drain(..).chain(self.ranked.drain())
    }

    /// Releases the memory of a long lane once most of its tasks are gone: a queue may stay short
    /// for days after a burst without ever being empty.
    #[inline]
    pub(super) fn give_back_room(&mut self) {
        if is_sparse(self.line.len(), self.line.capacity()) {
            self.line.shrink_to(room_for(self.line.len()));
        }
        if is_sparse(self.ranking.len(), self.ranking.capacity()) {
            self.rank_again();
        }
    }

    /// Moves the ranked tasks into less memory.
    fn rank_again(&mut self) {
        let room = room_for(self.ranking.len());
        let mut ranked = Slab::with_capacity(room);
        let mut ranking = std::mem::take(&mut self.ranking).into_vec();
        for Reverse(rank) in &mut ranking {
            rank.place = ranked.insert(self.ranked.remove(rank.place));
        }
        ranking.shrink_to(room);
        self.ranking = BinaryHeap::from(ranking);
        self.ranked = ranked;
    }
}

/// Tasks for which an empty lane keeps room.
const KEPT: usize = 1024;
/// Room of which less than this part is used is released.
const SPARSE_PART: usize = 8;

/// Returns the room that is kept for so many tasks. It lets them grow, so that they move seldom.
fn room_for(used: usize) -> usize {
    2 * used + KEPT
}

#[inline]
fn is_sparse(used: usize, capacity: usize) -> bool {
    capacity > SPARSE_PART * KEPT && used < capacity / SPARSE_PART
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
        std::iter::from_fn(|| lane.pop())
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
    fn a_late_task_with_a_lower_id_comes_first() {
        let mut lane = lane_of(&[(1, 1), (1, 2), (1, 3)]);
        let first = lane.pop().unwrap();
        assert_eq!((first_of(&lane), lane.weight()), (Some(TaskId(2)), 20));
        lane.push(first);
        assert_eq!(lane.weight(), 30);
        assert_eq!(drained(&mut lane), [1, 2, 3]);
    }

    #[test]
    fn a_lane_gives_back_the_room_of_a_burst_without_being_empty() {
        const BURST: i64 = 100_000;
        // Those after the first of the second half come out of order.
        let mut tasks: Vec<_> = (0..BURST).map(|id| (5, id)).collect();
        tasks.extend((BURST..2 * BURST).rev().map(|id| (1, id)));
        let mut lane = lane_of(&tasks);
        let before = (lane.line.capacity(), lane.ranked.capacity());
        let mut taken = Vec::new();
        while lane.len() > 10 {
            taken.extend(lane.pop().map(|task| task.ticket.settle().0));
            if lane.ranking.len() == 10 {
                assert!(lane.ranked.capacity() * 8 < before.1);
                assert!(lane.ranking.capacity() * 8 < before.1);
            }
        }
        assert!(lane.line.capacity() * 8 < before.0);
        taken.extend(drained(&mut lane));
        assert!(taken.iter().copied().eq((BURST..2 * BURST).chain(0..BURST)));
        assert_eq!(lane.weight(), 0);
    }
}
