//! A piece of the file that holds slots. It counts from the store of its head on, and is all zeroes
//! before. It ends in three steps: its head says that it is *closing*, its pages are given back,
//! and zero is stored where the head was. So whatever is not in a segment is zero, and no bytes of
//! a record are ever taken for a head.

use crate::class::Class;
use crate::slot::proven;

/// Segments begin at multiples of it.
pub(crate) const UNIT_BYTES: usize = 256 << 10;
/// What stands before the slots, of which eight bytes are used: slots begin at a line of the cache.
pub(crate) const HEAD_BYTES: usize = 64;

const UNIT_BITS: u32 = 32;

/// What a segment's first word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Slots of one size.
    Slots(Class),
    /// One record in so many units.
    Alone(u32),
    /// There is nothing in these units.
    Closing(u32),
}

impl Head {
    /// How long the segment is.
    pub(crate) fn units(self) -> u32 {
        match self {
            Self::Slots(class) => class.units(),
            Self::Alone(units) | Self::Closing(units) => units,
        }
    }

    /// How many records there may be.
    pub(crate) fn slots(self) -> u16 {
        match self {
            Self::Slots(class) => class.slots(),
            Self::Alone(_) => 1,
            Self::Closing(_) => 0,
        }
    }

    /// And how long each may be.
    pub(crate) fn slot_bytes(self) -> usize {
        match self {
            Self::Slots(class) => class.slot_bytes(),
            Self::Alone(units) | Self::Closing(units) => units as usize * UNIT_BYTES - HEAD_BYTES,
        }
    }

    /// What of it is in the file at the least.
    pub(crate) fn bytes_min(self) -> usize {
        match self {
            Self::Slots(class) => class.units() as usize * UNIT_BYTES,
            // The file may end behind the record.
            Self::Alone(_) | Self::Closing(_) => HEAD_BYTES,
        }
    }

    /// As it is stored. From low to high: 32 bits of the units, 16 of how many slots, and proof.
    pub(crate) fn word(self, unit: u32) -> u64 {
        let value = u64::from(self.units()) | u64::from(self.slots()) << UNIT_BITS;
        proven(value, unit.into())
    }

    /// None if there is no segment at this unit.
    pub(crate) fn read(word: u64, unit: u32) -> Option<Self> {
        let units = word as u32;
        let head = match (word >> UNIT_BITS) as u16 {
            0 => Self::Closing(units),
            1 => Self::Alone(units),
            slots => Self::Slots(Class::new(slots, units)?),
        };
        (units > 0 && head.word(unit) == word).then_some(head)
    }
}

/// Which of a segment's slots are free; known to its writer alone.
#[derive(Debug)]
pub(crate) struct Slots {
    /// A bit for each that is taken.
    taken: Box<[u64]>,
    count: u16,
    live: u16,
    /// All words before are full.
    first_free: u16,
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let mut taken = vec![0; usize::from(count).div_ceil(64)].into_boxed_slice();
        // There are none beyond the last.
        let beyond = count % 64;
        if let Some(last) = taken.last_mut().filter(|_| beyond > 0) {
            *last = u64::MAX << beyond;
        }
        Self {
            taken,
            count,
            live: 0,
            first_free: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live == self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The first that is free.
    pub(crate) fn take(&mut self) -> Option<u16> {
        let first = usize::from(self.first_free);
        let words = self.taken.iter_mut().enumerate().skip(first);
        let (index, word) = words.into_iter().find(|(_, word)| **word != u64::MAX)?;
        let bit = word.trailing_ones() as u16;
        *word |= 1 << bit;
        self.first_free = index as u16;
        self.live += 1;
        Some(index as u16 * 64 + bit)
    }

    /// It was free.
    pub(crate) fn adopt(&mut self, slot: u16) {
        self.taken[usize::from(slot / 64)] |= 1 << (slot % 64);
        self.live += 1;
    }

    pub(crate) fn free(&mut self, slot: u16) {
        self.taken[usize::from(slot / 64)] &= !(1 << (slot % 64));
        self.live -= 1;
        self.first_free = self.first_free.min(slot / 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written_and_only_there() {
        let class = Class::of(1064).unwrap();
        for head in [Head::Slots(class), Head::Alone(9), Head::Closing(u32::MAX)] {
            assert_eq!(Head::read(head.word(7), 7), Some(head));
            assert_eq!(Head::read(head.word(7), 8), None);
            assert_eq!(Head::read(head.word(7) ^ 1, 7), None);
        }
        assert_eq!(Head::read(0, 0), None);
        assert_eq!(Head::read(Head::Alone(0).word(3), 3), None);
    }

    #[test]
    fn each_slot_is_taken_once() {
        for count in [1, 8, 63, 64, 65, 6400] {
            let mut slots = Slots::new(count);
            assert!((0..count).all(|slot| slots.take() == Some(slot)));
            assert!(slots.is_full() && slots.take().is_none());
            slots.free(count / 2);
            assert_eq!((slots.take(), slots.take()), (Some(count / 2), None));
            (0..count).rev().for_each(|slot| slots.free(slot));
            assert!(slots.is_empty());
            slots.adopt(0);
            assert_eq!(slots.take(), (count > 1).then_some(1));
        }
    }
}
