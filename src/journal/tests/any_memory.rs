//! Memory with content that no writer has left.

use proptest::prelude::*;

use crate::class::Class;
use crate::memory::WINDOW_UNITS;
use crate::segment::{HEAD_BYTES, UNIT_BYTES};
use crate::slot::{proven, word_of};
use crate::{Journal, Memory, Record};

use super::model::{config, pattern, sorted};

/// A piece of content in the file.
#[derive(Debug, Clone)]
enum Thing {
    /// The head of a segment with a correct check value. Whether the segment is valid is a separate
    /// question.
    Head {
        unit: u32,
        units: u32,
        slots: u16,
    },
    /// The word of a record with a correct check value, in a slot of such a segment.
    Record {
        unit: u32,
        slots: u16,
        index: u16,
        length: usize,
    },
    Bytes {
        place: usize,
        bytes: Vec<u8>,
    },
}

fn any_thing() -> impl Strategy<Value = Thing> {
    let units = || prop_oneof![4 => 0..6u32, 1 => any::<u32>(), 1 => Just(WINDOW_UNITS)];
    let slots = || prop_oneof![Just(1), Just(8), Just(240), 0..300u16, any::<u16>()];
    let length = prop_oneof![0..200usize, 0..300_000usize, 0..1usize << 40];
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        (0..12u32, units(), slots()).prop_map(|(unit, units, slots)| Thing::Head {
            unit,
            units,
            slots
        }),
        (0..12u32, slots(), 0..9u16, length).prop_map(|(unit, slots, index, length)| {
            Thing::Record {
                unit,
                slots,
                index,
                length,
            }
        }),
        (0..12 * UNIT_BYTES / 8, bytes).prop_map(|(word, bytes)| Thing::Bytes {
            place: word * 8,
            bytes
        }),
    ]
}

impl Thing {
    fn put(&self, image: &mut [u8]) {
        match self {
            Self::Head { unit, units, slots } => {
                let value = u64::from(*units) | u64::from(*slots) << 32;
                let place = *unit as usize * UNIT_BYTES;
                put(image, place, &proven(value, (*unit).into()).to_ne_bytes());
            }
            Self::Record {
                unit,
                slots,
                index,
                length,
            } => {
                let class = [1, 4].map(|units| Class::new(*slots, units));
                let slot_bytes = class
                    .into_iter()
                    .flatten()
                    .next()
                    .map_or(0, Class::slot_bytes);
                let within = HEAD_BYTES + usize::from(*index) * slot_bytes;
                let place = *unit as usize * UNIT_BYTES + within;
                let word = word_of(place as u64, 9, *length);
                put(image, place + 32, &word.to_ne_bytes());
            }
            Self::Bytes { place, bytes } => put(image, *place, bytes),
        }
    }
}

fn put(image: &mut [u8], place: usize, bytes: &[u8]) {
    let until = image.len().min(place + bytes.len());
    if place < until {
        image[place..until].copy_from_slice(&bytes[..until - place]);
    }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn any_memory_is_read_within_its_bounds_and_works_afterwards(
        things in prop::collection::vec(any_thing(), 0..40),
        fill in prop::option::of(any::<u8>()),
        units in 1..12usize,
        cut in 0..UNIT_BYTES,
    ) {
        let mut image = vec![fill.unwrap_or(0); units * UNIT_BYTES - cut];
        things.iter().for_each(|thing| thing.put(&mut image));
        let memory = Memory::holding(&image);
        let (journal, records) = Journal::open(&memory).unwrap();
        let start = memory.contents().unwrap().len();
        let mut taken: usize = records.iter().map(|record| record.bytes().len()).sum();
        prop_assert!(taken <= start);
        let said = sorted(&records);
        let write = |length: usize| journal.write(1, [4; 4], &[&pattern()[..length]]).unwrap();
        let more: Vec<Record> = [0, 9, 1000, 1000, 20_000, 300_000].map(write).into();
        // New records do not overwrite the records that were found.
        prop_assert!(sorted(&records) == said);
        let mut all: Vec<Record> = records;
        all.extend(more);
        let (_, found) = Journal::open(&memory.copied().unwrap()).unwrap();
        prop_assert!(sorted(&found) == sorted(&all));
        taken = all.len();
        prop_assert_eq!(found.len(), taken);
        drop(all);
        prop_assert!(journal.bytes() <= 8 << 20);
        let (journal, found) = Journal::open(&memory.copied().unwrap()).unwrap();
        prop_assert_eq!((found.len(), journal.bytes()), (0, 0));
    }
}

/// Both records that fit into their slots are found, so the check values of these tests are
/// correct.
#[test]
fn records_with_valid_check_values_are_found() {
    let mut image = vec![0; 4 * UNIT_BYTES];
    let head = Thing::Head {
        unit: 1,
        units: 1,
        slots: 240,
    };
    let record = |index, length| Thing::Record {
        unit: 1,
        slots: 240,
        index,
        length,
    };
    let things = [head, record(0, 1000), record(1, 1048), record(2, 1049)];
    things.iter().for_each(|thing| thing.put(&mut image));
    let (_, found) = Journal::open(&Memory::holding(&image)).unwrap();
    let mut lengths: Vec<usize> = found.iter().map(|record| record.bytes().len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1000, 1048]);
}
