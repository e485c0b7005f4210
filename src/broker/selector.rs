//! Which manager gets tasks first: a policy behind one trait.
//!
//! A policy is told of each manager that has room, and of each that has none any more; it is asked
//! one question, which is best. So nothing is done for managers that nothing happened to. Parsl's
//! selectors return a list that is consumed from its end; [`Selector::best`] is that end.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::slot::Slot;
use protocol::BlockId;

/// What a policy may see of a manager with room.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its registration: what the policy answers with.
    pub slot: Slot,
    /// Its block, which [`BlockIdSelector`] goes by.
    pub block: &'a BlockId,
    /// How many tasks its workers can run at a time.
    pub slots: usize,
    /// How many slots of its capacity are taken, prefetched ones included.
    pub busy: usize,
}

/// A policy.
pub trait Selector {
    /// This manager has room. Said again whenever something about it changed.
    fn offer(&mut self, candidate: Candidate<'_>);
    /// This manager must get nothing (any more).
    fn withdraw(&mut self, slot: Slot);
    /// Which of those that were offered should get tasks next; it stays offered.
    fn best(&mut self) -> Option<Slot>;
    /// The best of those for which this holds, and its [`Self::share`] among these.
    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)>;
    /// Whether [`Self::best`] would name nobody.
    fn is_empty(&self) -> bool;
    /// Whether [`Self::share`] has something to say.
    fn shares(&self) -> bool {
        false
    }
    /// How many slots the best one may be given before another may be better.
    fn share(&self) -> usize {
        usize::MAX
    }
    /// Another one of the same kind, to which nobody was offered.
    fn another(&self) -> Box<dyn Selector>;
}

/// Parsl's RandomManagerSelector: any manager with room, each as likely.
pub struct RandomSelector {
    random: SmallRng,
    offered: Vec<Slot>,
    /// By a slot's place in the table of managers: where it stands among the offered.
    standing: Vec<Option<u32>>,
}

impl RandomSelector {
    /// Its choices come from the seed and from nothing else.
    pub fn new(seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self {
            random,
            offered: Vec::new(),
            standing: Vec::new(),
        }
    }
}

impl RandomSelector {
    /// All that were offered, in a random order.
    pub(super) fn shuffled(&mut self) -> Vec<Slot> {
        let mut slots = self.offered.clone();
        slots.shuffle(&mut self.random);
        slots
    }

    /// Another one may stand at this place among the offered.
    fn note_standing(&mut self, place: usize) {
        if let Some(slot) = self.offered.get(place) {
            self.standing[slot.place()] = Some(place as u32);
        }
    }
}

impl Selector for RandomSelector {
    fn offer(&mut self, candidate: Candidate<'_>) {
        let slot = candidate.slot;
        if slot.place() >= self.standing.len() {
            self.standing.resize(slot.place() + 1, None);
        }
        let standing = &mut self.standing[slot.place()];
        if standing.is_none() {
            *standing = Some(self.offered.len() as u32);
            self.offered.push(slot);
        }
    }

    fn withdraw(&mut self, slot: Slot) {
        let standing = self.standing.get_mut(slot.place()).and_then(Option::take);
        let Some(stood) = standing else {
            return;
        };
        self.offered.swap_remove(stood as usize);
        self.note_standing(stood as usize);
    }

    fn best(&mut self) -> Option<Slot> {
        if self.offered.is_empty() {
            return None;
        }
        let place = self.random.random_range(0..self.offered.len());
        self.offered.get(place).copied()
    }

    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        // Shuffled as far as that is needed.
        for place in 0..self.offered.len() {
            let other = place + self.random.random_range(0..self.offered.len() - place);
            self.offered.swap(place, other);
            self.note_standing(place);
            self.note_standing(other);
            let slot = self.offered[place];
            if holds(slot) {
                return Some((slot, usize::MAX));
            }
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.offered.is_empty()
    }

    fn another(&self) -> Box<dyn Selector> {
        // Forked, so that its choices come from the seed as well.
        Box::new(Self {
            random: self.random.clone(),
            offered: Vec::new(),
            standing: Vec::new(),
        })
    }
}

/// Parsl's BlockIdManagerSelector: the greatest block id first, so that the newest blocks are busy
/// and older ones can be scaled in. Ids are compared as texts, as Parsl does: "9" before "10".
#[derive(Default)]
pub struct BlockIdSelector {
    ranking: BTreeSet<(BlockId, Slot)>,
    blocks: HashMap<Slot, BlockId>,
}

impl Selector for BlockIdSelector {
    fn offer(&mut self, candidate: Candidate<'_>) {
        if let Entry::Vacant(entry) = self.blocks.entry(candidate.slot) {
            entry.insert(candidate.block.clone());
            self.ranking
                .insert((candidate.block.clone(), candidate.slot));
        }
    }

    fn withdraw(&mut self, slot: Slot) {
        if let Some(block) = self.blocks.remove(&slot) {
            self.ranking.remove(&(block, slot));
        }
    }

    fn best(&mut self) -> Option<Slot> {
        self.ranking.last().map(|(_, slot)| *slot)
    }

    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        let mut slots = self.ranking.iter().rev().map(|(_, slot)| *slot);
        let best = slots.find(|slot| holds(*slot))?;
        Some((best, usize::MAX))
    }

    fn is_empty(&self) -> bool {
        self.ranking.is_empty()
    }

    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self::default())
    }
}
