//! Which manager gets tasks first: policies behind one trait.
//!
//! A policy is notified of each manager that has room and of each that no longer has. It answers
//! one question: which manager is the best. So managers to which nothing happens cost nothing.
//! Parsl's selectors return a list that is consumed from its end; [`Selector::best`] is that end.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::slot::Slot;
use protocol::BlockId;

/// What a policy knows of a manager with room.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The manager's slot, by which the policy names it.
    pub slot: Slot,
    /// The manager's block, which [`BlockIdSelector`] uses.
    pub block: &'a BlockId,
    /// Number of tasks that the manager's workers can run at a time.
    pub slots: usize,
    /// Number of slots of the manager's capacity that are taken, including prefetched tasks.
    pub busy: usize,
}

/// A policy that ranks managers.
pub trait Selector {
    /// Notes that this manager has room. Called again whenever something about the manager changes.
    fn offer(&mut self, candidate: Candidate<'_>);
    /// Notes that this manager must get no tasks, or no more.
    fn withdraw(&mut self, slot: Slot);
    /// Returns which of the offered managers should get tasks next. The manager stays offered.
    fn best(&mut self) -> Option<Slot>;
    /// Returns the best manager for which `holds` is true, and its [`Self::share`] among these.
    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)>;
    /// Whether [`Self::best`] would return None.
    fn is_empty(&self) -> bool;
    /// Whether [`Self::share`] can return a limit.
    fn shares(&self) -> bool {
        false
    }
    /// Returns how many slots the best manager may be given before another one may be better.
    fn share(&self) -> usize {
        usize::MAX
    }
    /// Returns a new policy of the same kind, to which no manager was offered yet.
    fn another(&self) -> Box<dyn Selector>;
}

/// Parsl's RandomManagerSelector: any manager with room, all with the same probability.
pub struct RandomSelector {
    random: SmallRng,
    offered: Vec<Slot>,
    /// Indexes in `offered`, by a slot's place in the table of managers.
    standing: Vec<Option<u32>>,
}

impl RandomSelector {
    /// Returns a selector whose choices depend only on the seed.
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
    /// Returns all offered managers in a random order.
    pub(super) fn shuffled(&mut self) -> Vec<Slot> {
        let mut slots = self.offered.clone();
        slots.shuffle(&mut self.random);
        slots
    }

    /// Updates the index of the manager at this place in `offered`.
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
        // Shuffle only until a manager is found.
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
        // A copy of the generator, so that the new policy's choices also depend only on the seed.
        Box::new(Self {
            random: self.random.clone(),
            offered: Vec::new(),
            standing: Vec::new(),
        })
    }
}

/// Parsl's BlockIdManagerSelector: the greatest block id first, so that the newest blocks are busy
/// and older ones can be scaled in. As in Parsl, ids are compared as texts: "9" is preferred to
/// "10".
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
