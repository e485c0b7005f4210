//! Fuzzes a journal that opens memory with any content. It must read no byte beyond a record's
//! slot, have no byte in two records, and then work as in fresh memory.
//!
//! The first frame of the input gives the steps of an earlier writer, so that there are bytes that
//! resemble records. The other frames overwrite parts of the memory.

use journal::{Journal, Memory, Record};

use super::frames;

/// Largest size of the empty segments that are kept.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// Largest number of steps of the first writer, because its memory is copied several times.
const STEPS_MAX: usize = 12;

pub fn run(data: &[u8]) {
    let frames = frames::split(data);
    let Some((steps, patches)) = frames.split_first() else {
        return;
    };
    let mut image = written(steps);
    patches.iter().for_each(|frame| patch(&mut image, frame));
    let memory = Memory::holding(&image);
    let (journal, records) = Journal::open(&memory).expect("the heap can be mapped");
    check_apart(&records);
    let said: Vec<Vec<u8>> = records
        .iter()
        .map(|record| record.bytes().to_vec())
        .collect();
    let more: Vec<Record> = [0, 1, 100, 1064, 9_000, 200_000]
        .map(|length| write(&journal, 250, length))
        .into();
    // No record's bytes have changed, and the next writer finds all records.
    assert!(said.iter().eq(records.iter().map(Record::bytes)));
    check_apart(&records);
    let left = memory.copied().expect("readable");
    let (_journal, found) = Journal::open(&left).expect("the heap can be mapped");
    assert_eq!(found.len(), records.len() + more.len());
    drop((records, more));
    assert!(journal.bytes() <= KEPT_BYTES_MAX);
    let left = memory.copied().expect("readable");
    let (journal, found) = Journal::open(&left).expect("the heap can be mapped");
    assert_eq!((found.len(), journal.bytes()), (0, 0));
}

/// Returns the memory after a writer has executed these steps, one per byte.
fn written(steps: &[u8]) -> Vec<u8> {
    let memory = Memory::on_heap();
    let (journal, _) = Journal::open(&memory).expect("the heap can be mapped");
    let mut records = Vec::new();
    for step in steps.iter().take(STEPS_MAX) {
        let number = usize::from(step >> 3);
        match step & 7 {
            0 => records.push(write(&journal, *step, number)),
            1 => records.push(write(&journal, *step, number * 40)),
            2 => records.push(write(&journal, *step, number * 250)),
            3 if records.len() < 6 => records.push(write(&journal, *step, number * 10_000)),
            4 if number < records.len() => drop(records.swap_remove(number)),
            5 if number < records.len() => records[number].set_field(number & 3, 1 << number),
            _ => records.truncate(records.len() - records.len().min(number)),
        }
    }
    memory.contents().expect("readable")
}

fn write(journal: &Journal, kind: u8, length: usize) -> Record {
    let bytes = vec![kind; length];
    let record = journal.write(kind, [length as u64; 4], &[&bytes]);
    record.expect("the heap has memory")
}

/// Overwrites a part of the memory. The frame's first three bytes give the place, in words of eight
/// bytes from the start of the file; the remaining bytes are written there.
fn patch(image: &mut [u8], frame: &[u8]) {
    let Some((place, bytes)) = frame.split_first_chunk::<3>() else {
        return;
    };
    let [low, middle, high] = place.map(usize::from);
    let place = (low | middle << 8 | high << 16) * 8;
    let until = image.len().min(place + bytes.len());
    if place < until {
        image[place..until].copy_from_slice(&bytes[..until - place]);
    }
}

fn check_apart(records: &[Record]) {
    let mut ranges: Vec<_> = records
        .iter()
        .map(|record| record.bytes().as_ptr_range())
        .collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut pairs = ranges.windows(2);
    assert!(pairs.all(|pair| pair[0].end <= pair[1].start));
}
