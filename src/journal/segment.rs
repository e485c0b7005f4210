//! A segment: a part of the file that holds slots. It is valid once its head is stored, and is all
//! zeroes before. It ends in three steps: the head is marked as *closing*, the pages are released,
//! and zero is stored in place of the head. So all bytes outside of segments are zero, and no bytes
//! of a record are ever mistaken for a head.

use crate::class::Class;
use crate::slot::proven;

/// Segments begin at multiples of this length.
pub(crate) const UNIT_BYTES: usize = 256 << 10;
/// Length of the part before the slots. Only eight of its bytes are used; slots begin at a cache
/// line.
pub(crate) const HEAD_BYTES: usize = 64;

const UNIT_BITS: u32 = 32;

/// The meaning of a segment's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// A segment with slots of one size.
    Slots(Class),
    /// A segment of this many units with a single record.
    Alone(u32),
    /// A segment of this many units without valid content, which is being released.
    Closing(u32),
}

impl Head {
    /// Returns the length of the segment in units.
    pub(crate) fn units(self) -> u32 {
        match self {
            Self::Slots(class) => class.units(),
            Self::Alone(units) | Self::Closing(units) => units,
        }
    }

    /// Returns the largest number of records in the segment.
    pub(crate) fn slots(self) -> u16 {
        match self {
            Self::Slots(class) => class.slots(),
            Self::Alone(_) => 1,
            Self::Closing(_) => 0,
        }
    }

    /// Returns the largest length of each record's slot.
    pub(crate) fn slot_bytes(self) -> usize {
        match self {
            Self::Slots(class) => class.slot_bytes(),
            Self::Alone(units) | Self::Closing(units) => units as usize * UNIT_BYTES - HEAD_BYTES,
        }
    }

    /// Returns the number of bytes of the segment that the file must at least contain.
    pub(crate) fn bytes_min(self) -> usize {
        match self {
            Self::Slots(class) => class.units() as usize * UNIT_BYTES,
            // The file may end directly behind the single record.
            Self::Alone(_) | Self::Closing(_) => HEAD_BYTES,
        }
    }

    /// Returns the stored form. From low to high: 32 bits of the length in units, 16 bits of the
    /// number of slots, and a check value.
    pub(crate) fn word(self, unit: u32) -> u64 {
        let value = u64::from(self.units()) | u64::from(self.slots()) << UNIT_BITS;
        proven(value, unit.into())
    }

    /// Reads a head; None if the word is not a valid head at this unit.
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

/// The free slots of a segment. Only the writer's memory holds them, not the file.
#[derive(Debug)]
pub(crate) struct Slots {
    /// One bit per slot, set if the slot is taken.
    taken: Box<[u64]>,
    count: u16,
    live: u16,
    /// All words before this index are full.
    first_free: u16,
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let mut taken = vec![0; usize::from(count).div_ceil(64)].into_boxed_slice();
        // Bits beyond the last slot are marked as taken.
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

    /// Takes the first free slot.
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

    /// Marks a free slot as taken.
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
