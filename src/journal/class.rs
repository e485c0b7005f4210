//! The sizes of slots. All slots of a segment are of one size: that of the segment, divided by how
//! many there are. Sizes stand a sixteenth apart, or less, so that little is lost by rounding up.

use crate::segment::{HEAD_BYTES, UNIT_BYTES};
use crate::slot;

/// Records above are alone: the least that a segment of the larger kind holds is eight slots.
const SLOTS_MIN: usize = 8;
/// Slots above this are in segments of the larger kind, where fewer bytes are left over.
const SMALL_BYTES_MAX: usize = 8 << 10;
/// So many sizes between one and its double.
const STEPS_LOG2: u32 = 4;

/// A kind of segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    slots: u16,
    is_small: bool,
}

impl Class {
    /// How many there are: small ones have less than 2^13 slots, the others less than 2^7.
    pub(crate) const COUNT: usize = Self::SMALL + ((7 - STEPS_LOG2 as usize + 1) << STEPS_LOG2);
    const SMALL: usize = (13 - STEPS_LOG2 as usize + 1) << STEPS_LOG2;

    /// The smallest slots that hold so much. None: such a record is alone.
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

    /// That of a segment which says so.
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

    /// How long each segment is.
    pub(crate) fn units(self) -> u32 {
        Self::units_of(self.is_small)
    }

    /// How many there are in a segment.
    pub(crate) fn slots(self) -> u16 {
        self.slots
    }

    /// How long each slot is, a multiple of eight.
    pub(crate) fn slot_bytes(self) -> usize {
        let room = self.units() as usize * UNIT_BYTES - HEAD_BYTES;
        room.checked_div(self.slots.into()).unwrap_or(0) & !7
    }

    /// Its place in a table of all.
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

/// Down to a number of few leading digits: slots grow by that.
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
    fn what_is_asked_for_fits_and_little_is_lost() {
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
    fn others_are_none() {
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
