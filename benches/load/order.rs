//! The order in which tasks must reach the managers, and the check of it.
//!
//! Tasks are numbered from 0 as they are submitted; their ids are one higher. A task's *rank* is
//! its place in the order of dispatch. This is the order of submission, or that of priorities if
//! all tasks are queued first.

use super::arguments::Priorities;
use super::pattern::mix;
use super::trouble::{Outcome, violation};

const PRIORITIES: u64 = 1000;

/// Random numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Returns a number from 0 up to, but not including, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % end
    }
}

/// Returns the priority of the task with this id.
pub(crate) fn priority_of(priorities: Priorities, seed: u64, id: u64) -> Option<i64> {
    match priorities {
        Priorities::None => None,
        Priorities::Random => Some((mix(seed ^ mix(!id)) % PRIORITIES) as i64),
    }
}

/// The required order, which gives each id a rank.
pub(crate) enum Order {
    Submission,
    /// The ranks by id.
    Ranks(Vec<u32>),
    /// The interchange may choose any order.
    Any,
}

impl Order {
    /// Returns the order by priority of `count` tasks with ids from 1 on, all of which are queued
    /// before the first is dispatched.
    pub(crate) fn by_priority(priorities: Priorities, seed: u64, count: u64) -> Self {
        let mut ids: Vec<u32> = (1..=count as u32).collect();
        ids.sort_by_key(|id| (priority_of(priorities, seed, u64::from(*id)), *id));
        let mut ranks = vec![0; count as usize + 1];
        for (rank, id) in ids.into_iter().enumerate() {
            ranks[id as usize] = rank as u32;
        }
        Self::Ranks(ranks)
    }

    fn rank(&self, id: u64) -> Option<u64> {
        match self {
            Self::Submission => Some(id - 1),
            Self::Ranks(ranks) => ranks.get(id as usize).map(|rank| u64::from(*rank)),
            Self::Any => None,
        }
    }

    /// Checks the order of a task that a manager received. The manager's previous task had the rank
    /// `last`. Before, managers had received `received` tasks; all managers together hold at most
    /// `capacity`.
    ///
    /// # Errors
    /// A violation if the task is out of order.
    pub(crate) fn check(
        &self,
        id: u64,
        last: &mut Option<u64>,
        received: u64,
        capacity: u64,
    ) -> Outcome<()> {
        let Some(rank) = self.rank(id) else {
            return Ok(());
        };
        if let Some(last) = *last
            && rank <= last
        {
            return violation(format!(
                "task {id}, number {rank} in the order of dispatch, reached a manager after number \
                 {last}"
            ));
        }
        // All tasks of lower rank were dispatched before, so each was received or is in transit to
        // a free slot.
        if rank >= received + capacity {
            return violation(format!(
                "task {id}, number {rank} in the order of dispatch, arrived too early: {received} \
                 tasks had arrived before, and {capacity} can be in transit"
            ));
        }
        *last = Some(rank);
        Ok(())
    }
}
