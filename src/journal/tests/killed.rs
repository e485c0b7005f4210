//! A writer that is killed before each change of the pages in turn.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::prelude::*;

use crate::segment::{HEAD_BYTES, Head, UNIT_BYTES};
use crate::slot::{self, word_of};
use crate::stores::counted;
use crate::{Journal, Memory};

use super::model::{Model, Step, Writer, both, config};

/// Steps that cover everything: slots of each kind of segment, segments that are made and released,
/// records in their own segments, and words that change.
fn script() -> Vec<Step> {
    let lone = 300_000;
    let mut steps = vec![
        Step::Write(100),
        Step::Write(0),
        Step::Set(0, 7),
        Step::Write(lone),
        Step::Drop(1),
        Step::Overwrite(0, 9),
        Step::Write(99),
        Step::Drop(3),
        Step::Write(lone),
    ];
    // Two segments of eight slots each. The second is released; the first then stays as a spare.
    let first = steps.len();
    steps.extend([Step::Write(131_000); 9]);
    steps.extend((first..first + 9).rev().map(Step::Drop));
    steps.extend([Step::Write(131_000), Step::Set(8, 1)]);
    // More empty segments than are kept as spares.
    let first = steps.len();
    steps.extend((1..=10).map(|index| Step::Write(index * 500)));
    steps.extend((first..first + 10).map(Step::Drop));
    steps.extend([Step::Write(5_000), Step::Drop(0), Step::Write(101)]);
    steps
}

#[test]
fn a_writer_may_be_killed_before_each_change() {
    let changes = kill_before_each_change(|| Memory::create().unwrap());
    assert!(changes > 250, "{changes} changes are found");
}

/// On the heap, a kill can also interrupt the allocation and the release of pages.
#[test]
fn a_writer_may_be_killed_within_each_change() {
    let changes = kill_before_each_change(Memory::on_heap);
    assert!(changes > 500, "{changes} changes are found");
}

fn kill_before_each_change(create: impl Fn() -> Memory) -> u64 {
    let steps = script();
    for changes in 0.. {
        let memory = create();
        let (number, was_killed) = run_until_killed(&memory, &steps, changes);
        if !was_killed {
            return changes;
        }
        open_killed(&memory, changes % 41);
        go_on(&memory, &steps, number);
    }
    unreachable!("it ends some time")
}

/// Bytes within a record that look like a segment are not mistaken for one, wherever the release of
/// the record's own segment is interrupted.
#[test]
fn bytes_of_a_killed_writer_are_never_taken_for_a_segment() {
    let units = 6;
    let mut bytes = vec![0; units * UNIT_BYTES];
    for unit in 1..units {
        let place = unit * UNIT_BYTES;
        let mut put = |place: usize, word: u64| {
            let within = place - HEAD_BYTES - slot::HEAD_BYTES;
            bytes[within..within + 8].copy_from_slice(&word.to_ne_bytes());
        };
        put(place, Head::Alone(1).word(unit as u32));
        let record = place + HEAD_BYTES;
        put(
            record + slot::HEAD_BYTES - 8,
            word_of(record as u64, 9, 100),
        );
    }
    for changes in 0.. {
        let memory = Memory::on_heap();
        let (journal, _) = Journal::open(&memory).unwrap();
        let record = journal.write(1, [0; 4], &[&bytes]).unwrap();
        let was_killed = is_killed_after(changes, || drop(record));
        counted::end();
        drop(journal);
        counted::live();
        open_killed(&memory, changes / 2);
        let (journal, found) = Journal::open(&memory).unwrap();
        assert!(
            found.iter().all(|record| record.kind() == 1),
            "killed after {changes}"
        );
        assert_eq!(memory.taken_bytes(), journal.bytes());
        if !was_killed {
            assert!(
                found.is_empty() && changes > 40,
                "{changes} changes are found"
            );
            return;
        }
    }
}

/// Runs the steps. Returns the number of the last step, and whether the writer was killed in it.
fn run_until_killed(memory: &Memory, steps: &[Step], changes: u64) -> (usize, bool) {
    let mut writer = Writer::open(memory);
    let mut number = 0;
    let was_killed = is_killed_after(changes, || {
        for step in steps {
            step.run(number, &mut writer);
            number += 1;
        }
    });
    if was_killed {
        // The writer is dropped while all changes are suppressed.
        drop(writer);
    }
    counted::live();
    (number, was_killed)
}

/// Opens the memory with a journal that is killed, too, after this many changes.
fn open_killed(memory: &Memory, changes: u64) {
    is_killed_after(changes, || {
        let _opened = Journal::open(memory).unwrap();
        counted::end();
    });
    counted::live();
}

/// Opens the memory and checks that it has the state before or after the interrupted step. Then
/// runs the remaining steps.
fn go_on(memory: &Memory, steps: &[Step], killed_at: usize) {
    let mut before = Model::new();
    for (number, step) in steps.iter().enumerate().take(killed_at) {
        step.tell(number, &mut before);
    }
    let mut behind = before.clone();
    steps[killed_at].tell(killed_at, &mut behind);
    let mut writer = Writer::open(memory);
    let mut model = writer.model();
    assert!(
        is_between(&model, &before, &behind),
        "killed in {killed_at}"
    );
    assert_eq!(memory.taken_bytes(), writer.journal.bytes());
    let next = if model == behind {
        killed_at + 1
    } else {
        killed_at
    };
    for (number, step) in steps.iter().enumerate().skip(next) {
        step.run(number, &mut writer);
        step.tell(number, &mut model);
    }
    assert_eq!(writer.model(), model);
    assert_eq!(memory.taken_bytes(), writer.journal.bytes());
    counted::end();
    drop(writer);
    counted::live();
    // The next writer finds the same state.
    assert_eq!(Writer::open(memory).model(), model);
}

/// Whether the found state is that before or after the step. Words of a record that was being
/// overwritten may be new or old.
fn is_between(found: &Model, before: &Model, behind: &Model) -> bool {
    if found == before || found == behind {
        return true;
    }
    let is_mixture = |number: &usize| {
        let [found, before, behind] = [found, before, behind].map(|model| &model[number]);
        let mut bytes = found.bytes.iter().zip(&before.bytes).zip(&behind.bytes);
        let is_either = bytes.all(|((is, was), will)| is == was || is == will);
        (found.kind, found.fields) == (before.kind, before.fields) && is_either
    };
    found.keys().eq(before.keys()) && found.keys().eq(behind.keys()) && found.keys().all(is_mixture)
}

fn is_killed_after(changes: u64, run: impl FnOnce()) -> bool {
    counted::kill_after(changes);
    let Err(reason) = catch_unwind(AssertUnwindSafe(run)) else {
        return false;
    };
    if !reason.is::<counted::Killed>() {
        resume_unwind(reason);
    }
    true
}

fn any_step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![
        0..200usize,
        0..9_000usize,
        100_000..140_000usize,
        200_000..2_000_000usize,
    ];
    prop_oneof![
        5 => length.prop_map(Step::Write),
        5 => (0..60usize).prop_map(Step::Drop),
        1 => (0..60usize, any::<u64>()).prop_map(|(whom, value)| Step::Set(whom, value)),
        1 => (0..60usize, any::<u8>()).prop_map(|(whom, with)| Step::Overwrite(whom, with)),
    ]
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn any_writer_may_be_killed_whenever(
        steps in prop::collection::vec(any_step(), 1..60),
        changes in 0..3_000u64,
        is_heap: bool,
    ) {
        let memory = both()[usize::from(is_heap)].clone();
        let (number, was_killed) = run_until_killed(&memory, &steps, changes);
        if was_killed {
            open_killed(&memory, changes % 97);
            go_on(&memory, &steps, number);
        }
    }
}
