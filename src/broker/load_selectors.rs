//! Selectors that choose by how busy managers are.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;

use super::selector::{Candidate, Selector};
use super::slot::Slot;
use protocol::BlockId;

/// Prefers the manager with the fewest busy slots, so that all nodes are equally busy. Prefetch
/// room is used only when no worker is free anywhere.
pub type SpreadSelector = ByLoad<Spread>;

/// Prefers the busiest manager that has a free worker and, among equals, the one of the lowest
/// block. So other managers, and whole blocks, become idle and can be scaled in. Prefetch room is
/// used only when no worker is free anywhere.
pub type PackSelector = ByLoad<Pack>;

/// A selector by load. Managers with a free worker rank first, those with only prefetch room last;
/// within both groups, the order of the load decides.
#[derive(Default)]
pub struct ByLoad<O> {
    ranking: BTreeSet<Rank>,
    ranks: HashMap<Slot, Rank>,
    order: PhantomData<O>,
}

/// How managers are ordered by load, and for how long one stays the best.
pub trait Order: Default + 'static {
    /// Returns the rank of a load. The manager of the lowest rank is preferred.
    fn load(busy: usize) -> i64;
    /// Returns how many slots the best manager may get before the next one is better.
    fn to_next(best_busy: usize, next_busy: usize) -> usize;
}

/// The least busy manager first.
#[derive(Default)]
pub struct Spread;

impl Order for Spread {
    fn load(busy: usize) -> i64 {
        busy as i64
    }

    /// Until the manager is busier than the next one.
    fn to_next(best_busy: usize, next_busy: usize) -> usize {
        next_busy - best_busy + 1
    }
}

/// The busiest manager first.
#[derive(Default)]
pub struct Pack;

impl Order for Pack {
    fn load(busy: usize) -> i64 {
        -(busy as i64)
    }

    /// Unlimited: each task makes the busiest manager rank higher still.
    fn to_next(_: usize, _: usize) -> usize {
        usize::MAX
    }
}

/// A manager's rank, ordered by its fields from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_prefetch: bool,
    load: i64,
    block: BlockId,
    slot: Slot,
    slots: usize,
    busy: usize,
}

impl<O: Order> Selector for ByLoad<O> {
    fn offer(&mut self, candidate: Candidate<'_>) {
        self.withdraw(candidate.slot);
        let rank = Rank {
            is_prefetch: candidate.busy >= candidate.slots,
            load: O::load(candidate.busy),
            block: candidate.block.clone(),
            slot: candidate.slot,
            slots: candidate.slots,
            busy: candidate.busy,
        };
        self.ranks.insert(candidate.slot, rank.clone());
        self.ranking.insert(rank);
    }

    fn withdraw(&mut self, slot: Slot) {
        if let Some(rank) = self.ranks.remove(&slot) {
            self.ranking.remove(&rank);
        }
    }

    fn best(&mut self) -> Option<Slot> {
        Some(self.ranking.first()?.slot)
    }

    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        let mut ranks = self.ranking.iter().filter(|rank| holds(rank.slot));
        let best = ranks.next()?;
        Some((best.slot, share_of::<O>(best, ranks.next())))
    }

    fn is_empty(&self) -> bool {
        self.ranking.is_empty()
    }

    fn shares(&self) -> bool {
        true
    }

    fn share(&self) -> usize {
        let mut ranks = self.ranking.iter();
        let best = ranks.next();
        best.map_or(usize::MAX, |best| share_of::<O>(best, ranks.next()))
    }

    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self::default())
    }
}

/// Returns how many slots the best manager may be given before the next one is better.
fn share_of<O: Order>(best: &Rank, next: Option<&Rank>) -> usize {
    let to_next = match next {
        Some(next) if next.is_prefetch == best.is_prefetch => O::to_next(best.busy, next.busy),
        _ => usize::MAX,
    };
    to_next.min(left_of_workers(best))
}

/// Returns the number of free workers. A manager without any is limited only by its room.
fn left_of_workers(rank: &Rank) -> usize {
    match rank.is_prefetch {
        true => usize::MAX,
        false => rank.slots - rank.busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(selector: &mut dyn Selector, place: u32, block: &str, slots: usize, busy: usize) {
        selector.offer(Candidate {
            slot: Slot {
                place,
                generation: 0,
            },
            block: &BlockId::Text(block.into()),
            slots,
            busy,
        });
    }

    /// Returns the best manager and its share.
    fn best(selector: &mut dyn Selector) -> Option<(u32, usize)> {
        let best = selector.best()?;
        Some((best.place, selector.share()))
    }

    #[test]
    fn spread_levels_out_and_prefetches_last() {
        let mut spread = SpreadSelector::default();
        offer(&mut spread, 0, "0", 4, 3);
        offer(&mut spread, 1, "1", 4, 0);
        assert_eq!(best(&mut spread), Some((1, 4)));
        offer(&mut spread, 1, "1", 4, 4);
        assert_eq!(best(&mut spread), Some((0, 1)));
        offer(&mut spread, 0, "0", 4, 5);
        assert_eq!(best(&mut spread), Some((1, 2)));
        spread.withdraw(Slot {
            place: 1,
            generation: 0,
        });
        assert_eq!(best(&mut spread), Some((0, usize::MAX)));
    }

    #[test]
    fn pack_fills_the_busiest_and_keeps_whole_blocks_idle() {
        let mut pack = PackSelector::default();
        offer(&mut pack, 0, "1", 4, 0);
        offer(&mut pack, 1, "0", 4, 0);
        assert_eq!(best(&mut pack), Some((1, 4)));
        offer(&mut pack, 0, "1", 4, 3);
        assert_eq!(best(&mut pack), Some((0, 1)));
        offer(&mut pack, 0, "1", 4, 4);
        assert_eq!(best(&mut pack), Some((1, 4)));
        assert!(pack.another().is_empty() && !pack.is_empty());
    }

    #[test]
    fn best_of_compares_only_the_given_managers() {
        let mut spread = SpreadSelector::default();
        for (place, busy) in [0, 1, 1, 3].into_iter().enumerate() {
            offer(&mut spread, place as u32, "0", 4, busy);
        }
        let mut best_of = |places: &[usize]| {
            let best = spread.best_of(&mut |slot| places.contains(&slot.place()));
            best.map(|(slot, share)| (slot.place(), share))
        };
        assert_eq!(best_of(&[1, 2, 3]), Some((1, 1)));
        assert_eq!(best_of(&[2, 3]), Some((2, 3)));
        assert_eq!(best_of(&[3]), Some((3, 1)));
        assert_eq!(best_of(&[]), None);
    }
}
