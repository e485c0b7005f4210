//! How much memory is allocated and released, and what happens if the system has none.

use nix::errno::Errno;

use crate::{Journal, Memory, Record, Refused};

use super::model::{both, sorted};

const MIB: usize = 1 << 20;

#[test]
fn a_million_records_cost_little_more_than_their_bytes() {
    let memory = Memory::create().unwrap();
    let (journal, _) = Journal::open(&memory).unwrap();
    let (count, bytes) = (1_000_000, [7; 1024]);
    let records: Vec<Record> = (0..count)
        .map(|index| journal.write(1, [index, 0, 0, 0], &[&bytes]).unwrap())
        .collect();
    let per_record = journal.bytes() as f64 / count as f64;
    assert!(per_record < 1.06 * 1024.0 + 40.0, "{per_record}");
    assert_eq!(memory.taken_bytes(), journal.bytes());
    drop(records);
    assert!(journal.bytes() < MIB, "{} are kept", journal.bytes());
    assert_eq!(memory.taken_bytes(), journal.bytes());
}

/// The records have many lengths, so that each kind of slot is used.
#[test]
fn memory_of_dropped_records_is_released() {
    for memory in both() {
        let (journal, _) = Journal::open(&memory).unwrap();
        let mut records: Vec<Record> = Vec::new();
        let bytes = vec![1; 3 * MIB];
        let mut length = 1;
        while length < bytes.len() {
            records.extend((0..3).map(|_| journal.write(0, [0; 4], &[&bytes[..length]]).unwrap()));
            length += length / 30 + 1;
        }
        assert_eq!(memory.taken_bytes(), journal.bytes());
        // The order is mixed: some of the first records, some of the last.
        while !records.is_empty() {
            records.swap_remove(records.len() * 2 / 3);
        }
        assert!(journal.bytes() <= 8 * MIB, "{} are kept", journal.bytes());
        assert_eq!(memory.taken_bytes(), journal.bytes());
    }
}

/// Free space between records is reused.
#[test]
fn the_file_does_not_grow_without_need() {
    for memory in both() {
        let (journal, _) = Journal::open(&memory).unwrap();
        let bytes = vec![1; 2 * MIB];
        let write = |length: usize| journal.write(0, [0; 4], &[&bytes[..length]]).unwrap();
        let mut records: Vec<Record> = (0..40).map(|_| write(MIB)).collect();
        let used = memory.len().unwrap();
        for turn in 0..500 {
            let index = turn * 7 % records.len();
            drop(records.swap_remove(index));
            records.push(write(MIB / 2 + turn * 31 % MIB));
        }
        assert!(memory.len().unwrap() < 2 * used);
    }
}

#[test]
fn a_count_that_oscillates_at_a_segments_end_allocates_nothing() {
    let (journal, _) = Journal::open(&Memory::on_heap()).unwrap();
    let write = || journal.write(0, [0; 4], &[&[5; 100]]).unwrap();
    let mut records = vec![write()];
    let first = journal.bytes();
    while journal.bytes() == first {
        records.push(write());
    }
    let second = journal.bytes();
    for _ in 0..3 {
        records.truncate(records.len() - 2);
        assert_eq!(journal.bytes(), second);
        records.extend([write(), write()]);
        assert_eq!(journal.bytes(), second);
    }
    drop(records);
    assert_eq!(journal.bytes(), first);
}

#[test]
fn a_write_without_memory_fails_and_changes_nothing() {
    let memory = Memory::with_room(2 * MIB);
    let (journal, _) = Journal::open(&memory).unwrap();
    let mut records = Vec::new();
    let refused = loop {
        match journal.write(3, [records.len() as u64; 4], &[&[1; 5000]]) {
            Ok(record) => records.push(record),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused(Errno::ENOSPC));
    assert!(records.len() > 350, "{} fit", records.len());
    assert!(journal.write(3, [0; 4], &[&vec![1; MIB]]).is_err());
    let (_, found) = Journal::open(&memory.copied().unwrap()).unwrap();
    assert_eq!(sorted(&found), sorted(&records));
    // Dropped records make room.
    records.truncate(100);
    records.push(journal.write(3, [0; 4], &[&vec![1; MIB]]).unwrap());
    assert_eq!(memory.taken_bytes(), journal.bytes());
}

#[test]
fn lengths_beyond_all_memory_are_refused() {
    let (journal, _) = Journal::open(&Memory::on_heap()).unwrap();
    let part: &[u8] = &[0; 1 << 20];
    assert_eq!(
        journal.write(0, [0; 4], &vec![part; 1 << 20]).err(),
        Some(Refused(Errno::EFBIG))
    );
    assert_eq!(journal.bytes(), 0);
}

/// The record is longer than one window.
#[test]
fn a_record_may_be_longer_than_any_window() {
    let memory = Memory::create().unwrap();
    let (journal, _) = Journal::open(&memory).unwrap();
    let mut bytes = vec![3; 70 * MIB];
    bytes[69 * MIB] = 4;
    let small = journal.write(0, [0; 4], &[b"small"]).unwrap();
    let long = journal.write(1, [0; 4], &[&bytes]).unwrap();
    let next = journal.write(2, [0; 4], &[&bytes[..MIB]]).unwrap();
    assert!(long.bytes() == bytes);
    let records = [small, long, next];
    let left = memory.copied().unwrap();
    let (_, found) = Journal::open(&left).unwrap();
    assert!(sorted(&found) == sorted(&records));
    drop(records);
    assert!(journal.bytes() < MIB);
    assert_eq!(memory.taken_bytes(), journal.bytes());
}
