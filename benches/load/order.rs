//! In which order tasks must reach the managers, and whether they do.
//!
//! Tasks are numbered from 0 as they are submitted; their ids are one higher. A task's *rank* is
//! its place in the order of dispatch: that of submission, or by priority if all are queued before.

use super::arguments::Priorities;
use super::pattern::mix;
use super::trouble::{Outcome, violation};

const PRIORITIES: u64 = 1000;

/// The priority of the task with that id.
pub(crate) fn priority_of(priorities: Priorities, seed: u64, id: u64) -> Option<i64> {
    match priorities {
        Priorities::None => None,
        Priorities::Random => Some((mix(seed ^ mix(!id)) % PRIORITIES) as i64),
    }
}

/// From id to rank.
pub(crate) enum Order {
    Submission,
    /// By id.
    Ranks(Vec<u32>),
    /// The interchange may choose.
    Any,
}

impl Order {
    /// That of `count` tasks with ids from 1 on, of which all are queued before the first leaves.
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

    /// A task has come to a manager whose last one before had the rank `last`, after `received`
    /// others had come to any manager, and all of them together hold `capacity` at most.
    ///
    /// # Errors
    /// The violation, if it came out of turn.
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
                "task {id}, number {rank} in the order of dispatch, came to a manager after \
                 number {last}"
            ));
        }
        // All tasks of lower rank left before it, so each was received or is on its way to a slot.
        if rank >= received + capacity {
            return violation(format!(
                "task {id}, number {rank} in the order of dispatch, came when only {received} had \
                 come and {capacity} can be on their way"
            ));
        }
        *last = Some(rank);
        Ok(())
    }
}
