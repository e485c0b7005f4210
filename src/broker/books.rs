//! The part of the broker's state that outlives this process: records of a journal.
//!
//! Each record is owned by the object that it describes and is deleted with it. The bytes of a
//! queued task are in one record (with the body, which the broker cannot read). A task in flight is
//! one record, and so is a manager. A record that cannot be written for lack of memory is left out.
//! The journal notes that, and no later process resumes from it.
//!
//! A manager's order is its number among the registrations. Times are in nanoseconds of the
//! monotonic clock.
//!
//! | kind | fields | bytes |
//! | --- | --- | --- |
//! | [`TASK`] | since when it waits (ns) | the message as received |
//! | [`REGISTRATION`] | length of the message, when it arrived (ns) | the message, the identity |
//! | `MANAGER` | order, held, draining and clogged, start, when written | its identity |
//! | [`IN_FLIGHT`] | task, manager's order, when dispatched, doubted since | its requirements |
//! | `DEPARTED` | | the identity |
//! | `BLOCK` | whether it is a number, the number | the text |
//! | `ACCEPTED` | first and last of a run of ids | |
//! | `TALLY` | up to when managers were heard (ns), whether the process is idle | totals |
//! | [`TRAFFIC`] | | totals of bytes and commands |

use std::collections::BTreeMap;
use std::time::Duration;

use journal::{Journal, Record};

use super::live_ids::Run;
use super::now::{Now, nanoseconds};
use super::tally::Tally;
use protocol::{Affinity, BlockId, ManagerId, Needs, TaskId};

/// A queued task. Written by the component that has its bytes.
pub const TASK: u8 = 1;
/// A manager's registration. Written by the component that has its bytes.
pub const REGISTRATION: u8 = 2;
/// Counters kept outside the broker. Written by the component that counts.
pub const TRAFFIC: u8 = 9;
/// A task that a manager holds; the first field is the task's id.
pub const IN_FLIGHT: u8 = 4;
pub(super) const MANAGER: u8 = 3;
pub(super) const DEPARTED: u8 = 5;
pub(super) const BLOCK: u8 = 6;
pub(super) const ACCEPTED: u8 = 7;
pub(super) const TALLY: u8 = 8;

/// Indexes of the fields in the records.
pub(super) const RUN_LAST: usize = 1;
const MANAGER_STATE: usize = 1;
const HEARD_UNTIL: usize = 0;
const RESTS: usize = 1;
const DOUBTED_SINCE: usize = 3;

/// Most blocks that are written to the journal.
const BLOCKS_MAX: usize = 64 * 1024;

const HELD: u64 = 1;
const DRAINING: u64 = 2;
const CLOGGED: u64 = 4;

/// The journal, if one is kept, and the records that no other object owns.
#[derive(Debug, Default)]
pub(super) struct Books {
    journal: Option<Journal>,
    tally: Option<Record>,
    /// The record of each block that ever had a manager.
    blocks: BTreeMap<BlockId, Record>,
}

impl Books {
    pub(super) fn open(journal: Journal) -> Self {
        Self {
            journal: Some(journal),
            ..Self::default()
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_some()
    }

    pub(super) fn manager(
        &self,
        id: &ManagerId,
        order: u64,
        started: Duration,
        now: Now,
    ) -> Option<Record> {
        let fields = [order, 0, nanoseconds(started), now.monotonic_ns()];
        self.write(MANAGER, fields, &[id.as_bytes()])
    }

    /// Writes the record of a task in flight. `needs`: its requirements and its affinity.
    pub(super) fn in_flight(
        &self,
        task: TaskId,
        manager: u64,
        needs: Option<(&Needs, Option<&Affinity>)>,
        now: Now,
    ) -> Option<Record> {
        let journal = self.journal.as_ref()?;
        let fields = [task.0.cast_unsigned(), manager, now.monotonic_ns(), 0];
        let needs = needs.map_or_else(Vec::new, |(needs, affinity)| needs.to_bytes(affinity));
        journal.write(IN_FLIGHT, fields, &[&needs]).ok()
    }

    pub(super) fn departed(&self, id: &ManagerId) -> Option<Record> {
        self.write(DEPARTED, [0; 4], &[id.as_bytes()])
    }

    /// Writes the record of a block that has a manager, unless it exists already.
    pub(super) fn note_block(&mut self, block: &BlockId) {
        let is_full = self.blocks.len() >= BLOCKS_MAX;
        if self.journal.is_none() || is_full || self.blocks.contains_key(block) {
            return;
        }
        let record = match block {
            BlockId::Number(number) => self.write(BLOCK, [1, number.cast_unsigned(), 0, 0], &[]),
            BlockId::Text(text) => self.write(BLOCK, [0; 4], &[text.as_bytes()]),
        };
        self.blocks
            .extend(record.map(|record| (block.clone(), record)));
    }

    pub(super) fn adopt_block(&mut self, block: BlockId, record: Record) {
        self.blocks.insert(block, record);
    }

    pub(super) fn adopt_tally(&mut self, record: Record) {
        self.tally = Some(record);
    }

    /// Once a turn, writes the totals and the time up to which all messages of managers were read.
    pub(super) fn note_tally(&mut self, tally: &Tally, heard_until: Duration) {
        if self.journal.is_none() {
            return;
        }
        let bytes = tally.to_bytes();
        let heard_until = nanoseconds(heard_until);
        match &mut self.tally {
            Some(record) => {
                record.overwrite(&bytes);
                record.set_field(HEARD_UNTIL, heard_until);
            }
            None => self.tally = self.write(TALLY, [heard_until, 0, 0, 0], &[&bytes]),
        }
    }

    pub(super) fn note_rest(&self, rests: bool) {
        if let Some(record) = &self.tally {
            record.set_field(RESTS, rests.into());
        }
    }

    fn write(&self, kind: u8, fields: [u64; 4], parts: &[&[u8]]) -> Option<Record> {
        self.journal.as_ref()?.write(kind, fields, parts).ok()
    }
}

/// Writes the three independent states of a manager to its record.
pub(super) fn note_state(record: Option<&Record>, held: bool, draining: bool, clogged: bool) {
    if let Some(record) = record {
        let bits = [(held, HELD), (draining, DRAINING), (clogged, CLOGGED)];
        let state = bits
            .map(|(is_set, bit)| u64::from(is_set) * bit)
            .iter()
            .sum();
        record.set_field(MANAGER_STATE, state);
    }
}

/// Marks a task in flight as in doubt: its batch or its result may have been lost. The first doubt
/// counts.
pub(super) fn note_doubt(record: &Record, since: Duration) {
    if record.field(DOUBTED_SINCE) == 0 {
        record.set_field(DOUBTED_SINCE, nanoseconds(since).max(1));
    }
}

pub(super) fn doubted_since(record: &Record) -> Option<Duration> {
    let since = record.field(DOUBTED_SINCE);
    (since > 0).then(|| Duration::from_nanos(since))
}

/// A manager, decoded from its record.
pub(super) struct ManagerEntry {
    pub(super) id: ManagerId,
    pub(super) order: u64,
    pub(super) held: bool,
    pub(super) draining: bool,
    pub(super) clogged: bool,
    pub(super) started: Duration,
    /// When the record was written, in nanoseconds of the monotonic clock.
    pub(super) written: u64,
    pub(super) record: Record,
}

impl ManagerEntry {
    pub(super) fn of(record: Record) -> Self {
        let state = record.field(MANAGER_STATE);
        Self {
            id: ManagerId::new(record.bytes()),
            order: record.field(0),
            held: state & HELD != 0,
            draining: state & DRAINING != 0,
            clogged: state & CLOGGED != 0,
            started: Duration::from_nanos(record.field(2)),
            written: record.field(3),
            record,
        }
    }
}

/// A task in flight, decoded from its record.
pub(super) struct InFlightEntry {
    pub(super) task: TaskId,
    /// The order of its manager among the registrations.
    pub(super) manager: u64,
    pub(super) dispatched: Duration,
    pub(super) needs: Option<(Needs, Option<Affinity>)>,
    pub(super) record: Record,
}

impl InFlightEntry {
    pub(super) fn of(record: Record) -> Self {
        Self {
            task: TaskId(record.field(0).cast_signed()),
            manager: record.field(1),
            dispatched: Duration::from_nanos(record.field(2)),
            needs: Needs::of_bytes(record.bytes()),
            record,
        }
    }
}

pub(super) fn block(record: &Record) -> BlockId {
    match record.field(0) {
        0 => BlockId::Text(String::from_utf8_lossy(record.bytes()).into()),
        _ => BlockId::Number(record.field(1).cast_signed()),
    }
}

/// From the tally's record: whether the process was idle.
pub(super) fn rested(record: &Record) -> bool {
    record.field(RESTS) != 0
}

pub(super) fn heard_until(record: &Record) -> Duration {
    Duration::from_nanos(record.field(HEARD_UNTIL))
}

/// Decodes a run of accepted ids: the first id, and the rest of the run.
pub(super) fn run(record: Record) -> (i64, Run) {
    let first = record.field(0).cast_signed();
    let last = record.field(RUN_LAST).cast_signed();
    let record = Some(record);
    (first, Run { last, record })
}

pub(super) fn write_run(journal: &Journal, first: i64, last: i64) -> Option<Record> {
    let fields = [first.cast_unsigned(), last.cast_unsigned(), 0, 0];
    journal.write(ACCEPTED, fields, &[]).ok()
}
