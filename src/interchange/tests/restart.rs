//! After an interchange was killed, another one reads the content of the journal.

use std::mem;
use std::time::Duration;

use broker::{
    BatchRoom, BlockIdSelector, Broker, ConnectionId, Now, Origin, Patience, Placement, Settings,
    TakenOver, Versions, books,
};
use interchange::{Interchange, Parcel, Said, Transmit};
use journal::{Journal, Memory, Record};
use protocol::{ManagerId, VersionCheck};

/// CPython, which pickles what peers send and loads what the interchange sends.
use support::python;

/// A succession of interchanges, each of which is killed.
struct Desk {
    interchange: Interchange<Vec<u8>>,
    memory: Memory,
    now: Now,
}

impl Desk {
    fn new(memory: Memory) -> Self {
        let now = Now {
            monotonic: Duration::from_secs(1),
            wall_s: 1_790_000_000.0,
        };
        let mut desk = Self {
            interchange: interchange(now),
            memory,
            now,
        };
        assert_eq!(desk.take_over(), TakenOver::default());
        desk
    }

    /// Kills the interchange: its tasks are forgotten, not ended in order. Then a new one takes
    /// over.
    fn kill(&mut self) -> TakenOver {
        self.now.monotonic += Duration::from_secs(1);
        mem::forget(mem::replace(&mut self.interchange, interchange(self.now)));
        let taken = self.take_over();
        let broker = self.interchange.broker_mut();
        broker.tell_restart(1, "killed", 0.5);
        taken
    }

    fn take_over(&mut self) -> TakenOver {
        let (journal, left) = Journal::open(&self.memory).expect("there is memory");
        self.interchange.take_over(journal, left, None, self.now)
    }

    fn task(&mut self, text: &str) {
        let frame = python::pickle(4, text);
        self.interchange.handle_task(frame, self.now);
    }

    fn say(&mut self, manager: &str, frame: Vec<u8>) {
        let origin = Origin {
            connection: Some(ConnectionId(self.now.monotonic.as_secs())),
            address: None,
        };
        let manager = ManagerId::new(manager.as_bytes());
        let said = Said::read(frame, Vec::new());
        self.interchange
            .handle_manager(&manager, said, origin, self.now);
    }

    fn ask(&mut self, text: &str) -> String {
        let command = python::pickle(4, text);
        let reply = self.interchange.handle_command(&command, self.now);
        python::load(&reply, "repr(x)")
    }

    /// Returns the batches that are dispatched, as a manager reads them.
    fn dispatch(&mut self) -> Vec<String> {
        let room = BatchRoom {
            tasks: usize::MAX,
            weight: usize::MAX,
        };
        let mut batches = Vec::new();
        while let Some(to) = self.interchange.broker_mut().next_recipient(self.now) {
            let (_, batch) = self.interchange.hand_out(&to, room, self.now);
            batches.push(python::load(&batch, "x"));
        }
        batches
    }

    /// Returns the messages to the executor, as the executor reads them.
    fn told(&mut self) -> Vec<String> {
        let transmits = std::iter::from_fn(|| self.interchange.poll_transmit());
        let told = transmits.filter_map(|transmit| {
            let Transmit::Result(Parcel::Frame(bytes) | Parcel::Bytes(bytes)) = transmit else {
                return None;
            };
            Some(python::load(
                &bytes,
                "x.get('exception') and x['task_id'] or x",
            ))
        });
        told.collect()
    }

    /// Returns how many records of this kind another process would find.
    fn written(&self, kind: u8) -> usize {
        let copied = self.memory.copied().expect("there is memory");
        let (_, left) = Journal::open(&copied).expect("there is memory");
        left.iter().filter(|record| record.kind() == kind).count()
    }
}

/// Kills the last interchange too, because dropping its open tasks would fail a debug assertion.
impl Drop for Desk {
    fn drop(&mut self) {
        let last = interchange(self.now);
        mem::forget(mem::replace(&mut self.interchange, last));
    }
}

fn interchange(now: Now) -> Interchange<Vec<u8>> {
    let settings = Settings {
        heartbeat_threshold: Duration::from_secs(10),
        disconnect_grace: None,
        reconnect_patience: Patience::Measured,
        version_check: VersionCheck::PythonAndParsl,
        monitoring: false,
        happenings: false,
        worker_port: 54321,
        placement: Placement::default(),
    };
    let broker = Broker::new(settings, Box::new(BlockIdSelector::default()), now);
    let versions = || Versions {
        python: Some("3.11".to_owned()),
        parsl: Some("2026.10.26".to_owned()),
    };
    Interchange::new(broker, Box::new(versions), None)
}

fn registration(protocol: u8) -> Vec<u8> {
    let text = "{'type': 'registration', 'parsl_v': '2026.10.26', 'python_v': '3.11.7', \
                'block_id': '0', 'max_capacity': 2, 'hostname': 'node1', 'packages': {'a': '1'}}";
    python::pickle(protocol, text)
}

fn heartbeat() -> Vec<u8> {
    python::pickle(4, "{'type': 'heartbeat'}")
}

/// Writes a record that a killed interchange left behind.
fn write(memory: &Memory, kind: u8, fields: [u64; 4], bytes: &[u8]) {
    let (journal, left) = Journal::open(memory).expect("there is memory");
    let written: Record = (journal.write(kind, fields, &[bytes])).expect("there is memory");
    mem::forget((journal, left, written));
}

#[test]
fn tasks_are_restored_unchanged() {
    let mut desk = Desk::new(Memory::on_heap());
    let first = "{'task_id': 1, 'context': {'a': (1, None)}, 'buffer': b'one'}";
    let second = "{'task_id': 2, 'context': {'resource_spec': {'priority': 0}}, 'buffer': b'two'}";
    desk.task(first);
    desk.task(second);
    let weight = desk.interchange.queued_bytes();
    let taken = desk.kill();
    assert_eq!((taken.queued, desk.written(books::TASK)), (2, 2));
    assert_eq!(desk.interchange.queued_bytes(), weight);
    desk.say("m1", registration(4));
    assert_eq!(desk.dispatch(), [format!("[{second}, {first}]")]);
    let written = [books::TASK, books::IN_FLIGHT].map(|kind| desk.written(kind));
    assert_eq!(written, [0, 2], "their bytes are the manager's");
    let taken = desk.kill();
    assert_eq!((taken.queued, taken.in_flight, taken.managers), (0, 2, 1));
}

#[test]
fn registrations_are_restored_in_any_protocol() {
    for protocol in 2..=5 {
        let mut desk = Desk::new(Memory::on_heap());
        desk.say("m1", registration(protocol));
        let packages = desk.ask("'MANAGERS_PACKAGES'");
        assert!(packages.contains("{'a': '1'}"), "{packages}");
        for times in 1..=2 {
            let taken = desk.kill();
            assert_eq!(taken.managers, 1, "protocol {protocol}, {times}");
            assert_eq!(desk.ask("'MANAGERS_PACKAGES'"), packages);
        }
        desk.say("m1", heartbeat());
        for id in 1..=3 {
            desk.task(&format!(
                "{{'task_id': {id}, 'context': {{}}, 'buffer': b''}}"
            ));
        }
        let batches = desk.dispatch();
        assert_eq!(batches.len(), 1, "{batches:?}");
        assert!(!batches[0].contains("'task_id': 3"), "it has room for two");
        assert_eq!(desk.written(books::REGISTRATION), 1);
    }
}

#[test]
fn the_executor_is_notified_first_and_results_pass_as_before() {
    let mut desk = Desk::new(Memory::on_heap());
    desk.say("m1", registration(4));
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    desk.task("{'task_id': 3, 'context': {}, 'buffer': b''}");
    assert_eq!(desk.dispatch().len(), 1);
    desk.say(
        "m1",
        python::pickle(4, "{'type': 'result', 'task_id': 1, 'result': b'r'}"),
    );
    assert_eq!(desk.told().len(), 1);
    desk.kill();
    let result = "{'type': 'result', 'task_id': 3, 'result': b'r'}";
    desk.say("m1", python::pickle(4, result));
    let notice = "{'type': 'htex-interchange-restart', 'restart': 1, 'why': 'killed', \
                  'down_s': 0.5, 'accepted': [[1, 1], [3, 3]], 'live': [[3, 3]]}";
    assert_eq!(desk.told(), [notice, result]);
    desk.task("{'task_id': 2, 'context': {}, 'buffer': b''}");
    desk.now.monotonic += Duration::from_secs(1);
    desk.interchange.handle_time(desk.now);
    let notice = "{'type': 'htex-interchange-accepted', 'runs': [[1, 3]]}";
    assert_eq!(desk.told(), [notice]);
}

#[test]
fn unreadable_tasks_are_answered_once() {
    let mut desk = Desk::new(Memory::on_heap());
    let unreadable = "{'task_id': 1}";
    desk.task(unreadable);
    assert_eq!(desk.told(), ["1"]);
    assert_eq!(desk.written(books::TASK), 0);
    // The interchange was killed before it could answer these.
    let second = python::pickle(4, "{'task_id': 2}");
    write(&desk.memory, books::TASK, [0; 4], &second);
    write(
        &desk.memory,
        books::REGISTRATION,
        [9, 0, 0, 0],
        b"not a pickle",
    );
    write(&desk.memory, books::REGISTRATION, [99, 0, 0, 0], b"short");
    write(&desk.memory, 200, [0; 4], b"of no kind");
    assert_eq!(desk.kill(), TakenOver::default());
    desk.task(unreadable);
    desk.task("{'task_id': 2}");
    let told = desk.told();
    assert!(
        told[0].contains("'accepted': [[1, 1]], 'live': []"),
        "{told:?}"
    );
    assert_eq!(told[1..], ["2"]);
    let left = [books::TASK, books::REGISTRATION, 200].map(|kind| desk.written(kind));
    assert_eq!(left, [0; 3]);
}

#[test]
fn without_journal_memory_the_run_continues() {
    let mut desk = Desk::new(Memory::with_room(0));
    desk.say("m1", registration(4));
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    assert_eq!(desk.dispatch().len(), 1);
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    let result = "{'type': 'result', 'task_id': 1, 'result': b'r'}";
    desk.say("m1", python::pickle(4, result));
    assert_eq!(desk.told(), [result]);
    // The journal has no record of all this, and the executor sends unanswered tasks again.
    assert_eq!(desk.kill(), TakenOver::default());
}
