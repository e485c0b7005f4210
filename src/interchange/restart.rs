//! Keeps frames in a journal that outlives this process, and reads them again after a restart.

use std::time::Duration;

use journal::{Journal, Record, Refused};

use super::carried::Carried;
use super::{Body, Interchange, held_bytes};
use broker::{Death, Left, LeftManager, LeftTask, Now, TakenOver, books};
use protocol::{ManagerId, Registration, Stay, Task};
use status::document::Traffic;

/// Number of totals: the commands, and the bytes of four channels.
const TOTALS: usize = 5;

impl<F: AsRef<[u8]>> Interchange<F> {
    /// Begins to write into `journal` whatever must outlive this process. `left` holds the records
    /// that an earlier broker left there. Must be called before any frame is handled.
    pub fn take_over(
        &mut self,
        journal: Journal,
        left: Vec<Record>,
        death: Option<Death>,
        now: Now,
    ) -> TakenOver {
        self.journal = Some(journal.clone());
        let (mut managers, mut tasks, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for record in left {
            match record.kind() {
                books::TASK => tasks.extend(self.read_task(record)),
                books::REGISTRATION => managers.extend(read_registration(record)),
                books::TRAFFIC => self.adopt_totals(record),
                _ => records.push(record),
            }
        }
        if !managers.is_empty() {
            self.learn_versions();
        }
        let left = Left {
            managers,
            tasks,
            records,
        };
        self.broker.take_over(journal, left, death, now)
    }

    /// Returns why the journal refused a record, if it ever did. A journal that is incomplete
    /// cannot be used for a restart.
    pub fn unwritten(&self) -> Option<Refused> {
        self.journal.as_ref()?.refused()
    }

    /// Returns the traffic before a restart.
    pub fn kept_traffic(&self) -> Traffic {
        let totals = self.kept_totals.as_ref().map_or([0; TOTALS], totals_of);
        let [
            _,
            tasks_bytes,
            batches_bytes,
            from_managers_bytes,
            results_bytes,
        ] = totals;
        Traffic {
            tasks_bytes,
            batches_bytes,
            from_managers_bytes,
            results_bytes,
        }
    }

    /// Stores the traffic so far and the number of commands. Called once a turn.
    pub fn keep_traffic(&mut self, traffic: Traffic) {
        let Some(journal) = &self.journal else {
            return;
        };
        let totals = [
            self.commands,
            traffic.tasks_bytes,
            traffic.batches_bytes,
            traffic.from_managers_bytes,
            traffic.results_bytes,
        ];
        let mut bytes = [0; 8 * TOTALS];
        let (words, _) = bytes.as_chunks_mut();
        for (word, total) in words.iter_mut().zip(totals) {
            *word = total.to_ne_bytes();
        }
        match &mut self.kept_totals {
            Some(record) => record.overwrite(&bytes),
            None => self.kept_totals = journal.write(books::TRAFFIC, [0; 4], &[&bytes]).ok(),
        }
    }

    fn adopt_totals(&mut self, record: Record) {
        if record.bytes().len() == 8 * TOTALS {
            let [commands, ..] = totals_of(&record);
            self.commands = commands;
            self.kept_totals = Some(record);
        }
    }

    /// Copies the task's bytes into the journal, which from then on has the only copy.
    pub(super) fn write_task_down(&self, frame: F, stay: Stay, now: Now) -> (Carried<F>, Stay) {
        let Some(journal) = &self.journal else {
            return (Carried::Frame(frame), stay);
        };
        let bytes = frame.as_ref();
        let since = [now.monotonic_ns(), 0, 0, 0];
        match journal.write(books::TASK, since, &[bytes]) {
            // The record is not part of a shared receive buffer, so a copy would save nothing.
            Ok(record) => (Carried::WrittenDown(record, bytes.len()), Stay::Short),
            Err(_) => (Carried::Frame(frame), stay),
        }
    }

    /// Copies the manager's registration into the journal. The record is kept as long as the
    /// manager is registered.
    pub(super) fn write_registration_down(
        &self,
        id: &ManagerId,
        registration: &mut Registration<Body<F>>,
        now: Now,
    ) {
        let Some(journal) = &self.journal else {
            return;
        };
        let message = registration.message.to_pickle();
        let fields = [message.len() as u64, now.monotonic_ns(), 0, 0];
        let parts = [&message[..], id.as_bytes()];
        let written = journal.write(books::REGISTRATION, fields, &parts);
        if let Some(left) = written.ok().and_then(read_registration) {
            *registration = left.registration;
        }
    }

    fn read_task(&mut self, record: Record) -> Option<LeftTask<Body<F>>> {
        let since = Duration::from_nanos(record.field(0));
        let len = record.bytes().len();
        let frame = Carried::WrittenDown(record, len);
        match Task::parse(frame, Stay::Short, &mut self.unread) {
            Ok(task) => Some(LeftTask {
                weight: held_bytes(&task.body),
                task,
                since,
            }),
            // The earlier process ended before it could answer this task, so the executor sends the
            // task again.
            Err(_) => None,
        }
    }
}

fn totals_of(record: &Record) -> [u64; TOTALS] {
    let (words, _) = record.bytes().as_chunks();
    let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
    std::array::from_fn(|_| words.next().unwrap_or(0))
}

fn read_registration<F: AsRef<[u8]>>(record: Record) -> Option<LeftManager<Body<F>>> {
    let len = usize::try_from(record.field(0)).ok()?;
    let came = Duration::from_nanos(record.field(1));
    let id = ManagerId::new(record.bytes().get(len..)?);
    match Registration::of_kept(Carried::WrittenDown(record, len)) {
        Ok(registration) => Some(LeftManager {
            id,
            registration,
            came,
        }),
        Err(reason) => {
            codes::log!(
                JOURNAL_UNREADABLE,
                "Cannot restore manager {id}: its record is unreadable: {reason}"
            );
            None
        }
    }
}
