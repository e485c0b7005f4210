//! The sizes of slots. All slots of a segment have the same size, which follows from the segment's
//! length and the number of its slots. Neighbouring sizes differ by a sixteenth or less, so that
//! rounding up wastes little.

use crate::segment::{HEAD_BYTES, UNIT_BYTES};
use crate::slot;

/// Smallest number of slots in a segment. A record too large for such a slot gets its own segment.
const SLOTS_MIN: usize = 8;
/// Largest slot in a segment of the small kind. Larger slots are in segments of the large kind,
/// where fewer bytes are left over.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// Binary logarithm of the number of sizes between a size and its double.
const STEPS_LOG2: u32 = 4;

/// A kind of segment: its length and the number of its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    slots: u16,
    is_small: bool,
}

impl Class {
    /// Number of classes: small segments have fewer than 2^13 slots, large ones fewer than 2^7.
    pub(crate) const COUNT: usize = Self::SMALL + ((7 - STEPS_LOG2 as usize + 1) << STEPS_LOG2);
    const SMALL: usize = (13 - STEPS_LOG2 as usize + 1) << STEPS_LOG2;

    /// Returns the class with the smallest slots that hold this many bytes. None if the record
    /// needs its own segment.
    pub(crate) fn of(bytes: usize) -> Option<Self> {
        let is_small = bytes <= SMALL_BYTES_MAX;
        let room = (Self::units_of(is_small) as usize * UNIT_BYTES - HEAD_BYTES) as u32;
        let bytes = u32::try_from(bytes).ok()?.checked_next_multiple_of(8)?;
        let fit = room.checked_div(bytes)?;
        if (fit as usize) < SLOTS_MIN {
            return None;
        }
        Some(Self {
            slots: rounded(fit) as u16,
            is_small,
        })
    }

    /// Returns the class of a segment whose head has these numbers; None if there is no such class.
    pub(crate) fn new(slots: u16, units: u32) -> Option<Self> {
        let is_small = units == Self::units_of(true);
        let class = Self { slots, is_small };
        let is_one = class.units() == units
            && usize::from(slots) >= SLOTS_MIN
            && rounded(slots.into()) == slots.into()
            && class.slot_bytes() >= slot::HEAD_BYTES
            && class.index() < Self::COUNT;
        is_one.then_some(class)
    }

    /// Returns the length of each segment in units.
    pub(crate) fn units(self) -> u32 {
        Self::units_of(self.is_small)
    }

    /// Returns the number of slots in a segment.
    pub(crate) fn slots(self) -> u16 {
        self.slots
    }

    /// Returns the length of each slot in bytes, a multiple of eight.
    pub(crate) fn slot_bytes(self) -> usize {
        let room = self.units() as usize * UNIT_BYTES - HEAD_BYTES;
        room.checked_div(self.slots.into()).unwrap_or(0) & !7
    }

    /// Returns the index of this class in a table of all classes.
    pub(crate) fn index(self) -> usize {
        let slots = u32::from(self.slots);
        let shift = shift_of(slots);
        let index = ((shift << STEPS_LOG2) + (slots >> shift)) as usize;
        if self.is_small {
            index
        } else {
            Self::SMALL + index
        }
    }

    fn units_of(is_small: bool) -> u32 {
        if is_small { 1 } else { 4 }
    }
}

/// Rounds the number of slots down to a number with few leading binary digits; this limits the
/// number of sizes.
fn rounded(slots: u32) -> u32 {
    let shift = shift_of(slots);
    slots >> shift << shift
}

fn shift_of(slots: u32) -> u32 {
    slots
        .checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(STEPS_LOG2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_fit_their_slots_with_little_waste() {
        let mut seen = std::collections::BTreeMap::new();
        for bytes in 40..(1 << 20) / 8 {
            let Some(class) = Class::of(bytes) else {
                assert!(bytes > (1 << 20) / 8 - 16, "{bytes} are alone");
                continue;
            };
            assert!(class.slot_bytes() >= bytes, "{bytes}: {class:?}");
            assert!(class.slots() >= 8);
            let room = class.units() as usize * UNIT_BYTES;
            assert!(class.slot_bytes() * usize::from(class.slots()) + HEAD_BYTES <= room);
            let share = room / usize::from(class.slots());
            assert!(
                share <= bytes.next_multiple_of(8) * 9 / 8 + 8,
                "{bytes}: {class:?}"
            );
            assert!(class.index() < Class::COUNT, "{class:?}");
            assert_eq!(*seen.entry(class.index()).or_insert(class), class);
            assert_eq!(Class::new(class.slots(), class.units()), Some(class));
        }
    }

    #[test]
    fn classes_of_any_numbers_are_valid() {
        for units in 0..6 {
            for slots in 0..u16::MAX {
                if let Some(class) = Class::new(slots, units) {
                    assert_eq!((class.slots(), class.units()), (slots, units));
                    assert!(class.index() < Class::COUNT && class.slot_bytes() >= 40);
                }
            }
        }
    }
}
