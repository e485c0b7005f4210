//! Tests of the journal's guarantees.

mod any_memory;
mod killed;
mod model;
mod space;

use crate::{Journal, Memory, Record};

use model::{Said, both, pattern, sorted};

#[test]
fn records_are_found_again_and_nothing_else_is() {
    for memory in both() {
        let (journal, found) = Journal::open(&memory).unwrap();
        assert!(found.is_empty());
        let lengths = [
            0,
            1,
            7,
            8,
            9,
            1024,
            4096,
            70_000,
            131_024,
            131_025,
            1 << 20,
            5 << 20,
        ];
        let bytes = pattern();
        let mut records = Vec::new();
        for (index, length) in lengths.into_iter().enumerate() {
            let (front, back) = bytes[..length].split_at(length / 3);
            let fields = [index as u64, u64::MAX, 0, 7];
            records.push(
                journal
                    .write(index as u8, fields, &[front, &[], back])
                    .unwrap(),
            );
        }
        records.swap_remove(2);
        records[1].set_field(3, 8);
        let said = sorted(&records);
        assert_eq!(said.len(), lengths.len() - 1);
        assert!(
            records
                .iter()
                .all(|record| bytes.starts_with(record.as_ref()))
        );
        let again = memory.copied().unwrap();
        let (_journal, found) = Journal::open(&again).unwrap();
        assert_eq!(sorted(&found), said);
    }
}

#[test]
fn a_failed_write_is_remembered() {
    let (journal, _) = Journal::open(&Memory::with_room(1 << 20)).unwrap();
    let small = journal.write(1, [0; 4], &[b"small"]).unwrap();
    assert_eq!(journal.refused(), None);
    let refused = journal.write(1, [0; 4], &[&[0; 2 << 20]]).unwrap_err();
    assert_eq!(journal.clone().refused(), Some(refused));
    assert_eq!(small.bytes(), b"small");
}

#[test]
fn found_records_can_be_dropped_and_overwritten() {
    for memory in both() {
        let left = {
            let (journal, _) = Journal::open(&memory).unwrap();
            let write = |kind| journal.write(kind, [0; 4], &[&[kind; 21]]).unwrap();
            let _records: Vec<Record> = (0..200).map(write).collect();
            memory.copied().unwrap()
        };
        let (journal, mut found) = Journal::open(&left).unwrap();
        found.retain(|record| record.kind() % 2 == 0);
        for record in &mut found {
            let kind = record.kind();
            record.overwrite(&[kind + 1; 21]);
            record.set_field(1, u64::from(kind) << 40);
        }
        let bytes = journal.bytes();
        let more: Vec<Record> = (0..100)
            .map(|_| journal.write(255, [9; 4], &[b"more"]).unwrap())
            .collect();
        assert_eq!((journal.bytes(), more.len()), (bytes + (256 << 10), 100));
        let (_journal, again) = Journal::open(&left.copied().unwrap()).unwrap();
        let (mut old, new): (Vec<Said>, Vec<Said>) =
            sorted(&again).into_iter().partition(|said| said.kind < 255);
        old.sort_unstable();
        let expected: Vec<Said> = (0..200)
            .step_by(2)
            .map(|kind: u8| Said {
                kind,
                fields: [0, u64::from(kind) << 40, 0, 0],
                bytes: vec![kind + 1; 21],
            })
            .collect();
        assert_eq!(old, expected);
        assert_eq!(new, sorted(&more));
    }
}

#[test]
fn a_record_is_small() {
    assert_eq!(size_of::<Record>(), 16);
    assert_eq!(size_of::<Option<Record>>(), 16);
}

#[test]
#[should_panic(expected = "a record's length is fixed")]
fn overwriting_with_another_length_panics() {
    let (journal, _) = Journal::open(&Memory::on_heap()).unwrap();
    let mut record = journal.write(0, [0; 4], &[b"four"]).unwrap();
    record.overwrite(b"three");
}
