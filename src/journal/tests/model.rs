//! A model of a journal's expected content, and a writer that runs steps in order.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::ProptestConfig;

use crate::{Journal, Memory, Record};

/// The content of a record, without its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    pub(super) kind: u8,
    pub(super) fields: [u64; 4],
    pub(super) bytes: Vec<u8>,
}

impl Said {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            kind: record.kind(),
            fields: [0, 1, 2, 3].map(|index| record.field(index)),
            bytes: record.bytes().to_vec(),
        }
    }

    /// The content that the step of this number writes.
    fn new(step: usize, length: usize) -> Self {
        Self {
            kind: step as u8,
            fields: [step as u64, length as u64, u64::MAX, 0],
            bytes: pattern()[step..step + length].to_vec(),
        }
    }
}

/// Returns bytes of which no two sections are alike.
pub(super) fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        (0..6u32 << 20)
            .map(|at| (at.wrapping_mul(at) >> 7) as u8)
            .collect()
    })
}

pub(super) fn sorted(records: &[Record]) -> Vec<Said> {
    let mut said: Vec<Said> = records.iter().map(Said::of).collect();
    said.sort_unstable();
    said
}

/// Returns both kinds of memory: the file that the product uses, and the heap of tests.
pub(super) fn both() -> [Memory; 2] {
    [Memory::create().unwrap(), Memory::on_heap()]
}

/// Returns a configuration of proptest that writes no files into the source tree.
pub(super) fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(150);
    config.failure_persistence = None;
    config
}

/// A step of a writer. It names a record by the number of the step that wrote it; a record that
/// does not exist is skipped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Write(usize),
    Drop(usize),
    Set(usize, u64),
    Overwrite(usize, u8),
}

/// The existing records by the number of the step that wrote them.
pub(super) type Model = BTreeMap<usize, Said>;

impl Step {
    /// Applies the step to a model.
    pub(super) fn tell(self, number: usize, model: &mut Model) {
        match self {
            Self::Write(length) => {
                model.insert(number, Said::new(number, length));
            }
            Self::Drop(whom) => {
                model.remove(&whom);
            }
            Self::Set(whom, value) => {
                if let Some(said) = model.get_mut(&whom) {
                    said.fields[3] = value;
                }
            }
            Self::Overwrite(whom, with) => {
                if let Some(said) = model.get_mut(&whom) {
                    said.bytes.fill(with);
                }
            }
        }
    }

    /// Applies the step to a journal.
    pub(super) fn run(self, number: usize, writer: &mut Writer) {
        match self {
            Self::Write(length) => {
                let said = Said::new(number, length);
                let (front, back) = said.bytes.split_at(length / 4);
                let written = writer.journal.write(said.kind, said.fields, &[front, back]);
                writer.records.insert(number, written.unwrap());
            }
            Self::Drop(whom) => {
                writer.records.remove(&whom);
            }
            Self::Set(whom, value) => {
                if let Some(record) = writer.records.get(&whom) {
                    record.set_field(3, value);
                }
            }
            Self::Overwrite(whom, with) => {
                if let Some(record) = writer.records.get_mut(&whom) {
                    let bytes = vec![with; record.bytes().len()];
                    record.overwrite(&bytes);
                }
            }
        }
    }
}

/// A journal, and its records by the number of the step that wrote them.
pub(super) struct Writer {
    pub(super) journal: Journal,
    pub(super) records: BTreeMap<usize, Record>,
}

impl Writer {
    pub(super) fn open(memory: &Memory) -> Self {
        let (journal, found) = Journal::open(memory).unwrap();
        let count = found.len();
        let by_number = |record: Record| (record.field(0) as usize, record);
        let records: BTreeMap<usize, Record> = found.into_iter().map(by_number).collect();
        assert_eq!(records.len(), count, "each record is found once");
        Self { journal, records }
    }

    pub(super) fn model(&self) -> Model {
        let said = |(number, record): (&usize, &Record)| (*number, Said::of(record));
        self.records.iter().map(said).collect()
    }
}
