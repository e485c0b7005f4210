//! Tests of `src/interchange/` around a real broker: frames in, frames out, without sockets.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use broker::{
    BatchRoom, BlockIdSelector, Broker, ConnectionId, Now, Origin, Patience, Placement, Settings,
    StopReason, Versions,
};
use interchange::{Interchange, Parcel, Said, Transmit};
use protocol::{ManagerId, VersionCheck};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// Captured log lines.
use support::events;

/// CPython, which pickles what peers send and loads what the interchange sends.
use support::python;

use events::Events;

/// An interchange, and the number of its searches for the submit side's versions.
struct Desk {
    interchange: Interchange<Vec<u8>>,
    searches: Rc<Cell<u32>>,
    now: Now,
}

impl Desk {
    fn new(version_check: VersionCheck, monitoring: bool) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_s: 1_790_000_000.0,
        };
        let settings = Settings {
            heartbeat_threshold: Duration::from_secs(10),
            disconnect_grace: None,
            reconnect_patience: Patience::Measured,
            version_check,
            monitoring,
            happenings: false,
            worker_port: 54321,
            placement: Placement::default(),
        };
        let broker = Broker::new(settings, Box::new(BlockIdSelector::default()), now);
        let searches = Rc::new(Cell::new(0));
        let counted = Rc::clone(&searches);
        let find_versions = Box::new(move || {
            counted.set(counted.get() + 1);
            Versions {
                python: Some("3.11".to_owned()),
                parsl: Some("2026.10.26".to_owned()),
            }
        });
        let run_id = Some("run-7".to_owned());
        Self {
            interchange: Interchange::new(broker, find_versions, run_id),
            searches,
            now,
        }
    }

    fn task(&mut self, text: &str) {
        self.interchange
            .handle_task(python::pickle(4, text), self.now);
    }

    fn say(&mut self, manager: &[u8], frames: &[&str]) {
        let frames = frames.iter().map(|text| python::pickle(4, text)).collect();
        self.say_frames(manager, frames);
    }

    fn say_frames(&mut self, manager: &[u8], mut frames: Vec<Vec<u8>>) {
        let origin = Origin {
            connection: Some(ConnectionId(manager.len() as u64)),
            address: Some(IpAddr::from([10, 0, 0, 1])),
        };
        let (manager, first) = (ManagerId::new(manager), frames.remove(0));
        self.interchange
            .handle_manager(&manager, Said::read(first, frames), origin, self.now);
    }

    /// Returns the reply to a command, as the executor reads it.
    fn ask(&mut self, text: &str) -> String {
        self.ask_by(&python::pickle(4, text))
    }

    fn ask_by(&mut self, frame: &[u8]) -> String {
        let reply = self.interchange.handle_command(frame, self.now);
        format!("reply {}", python::load(&reply, "repr(x)"))
    }

    /// Dispatches all tasks that can be dispatched, and returns everything that is sent.
    fn dispatch(&mut self) -> Vec<String> {
        self.dispatch_by(BatchRoom {
            tasks: usize::MAX,
            weight: usize::MAX,
        })
    }

    fn dispatch_by(&mut self, room: BatchRoom) -> Vec<String> {
        let mut sent = self.sent();
        while let Some(to) = self.interchange.broker_mut().next_recipient(self.now) {
            let (tasks, bytes) = self.interchange.hand_out(&to, room, self.now);
            assert!(tasks > 0);
            sent.extend(self.sent());
            sent.push(format!("{} gets {}", to.id, python::load(&bytes, "x")));
        }
        sent
    }

    /// Returns everything that is sent, as the receiving side reads it.
    fn sent(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.interchange.poll_transmit() {
            sent.push(match transmit {
                Transmit::Manager { to, message } => format!("{to} is told {message:?}"),
                Transmit::Result(Parcel::Frame(frame)) => {
                    format!("result {}", python::load(&frame, "x"))
                }
                Transmit::Result(Parcel::Bytes(bytes)) => {
                    let seen = "x['task_id'], str(pickle.loads(x['exception'][3:]))[:50]";
                    format!("failure {}", python::load(&bytes, seen))
                }
                Transmit::Report(bytes) => {
                    format!("report {}", python::load(&bytes, "x[1].get('run_id', x)"))
                }
                Transmit::Event(line) => String::from_utf8(line).expect("a line is text"),
                Transmit::Rank(bytes) => format!("asks {}", python::load(&bytes, "x")),
                Transmit::Forget(manager) => format!("forget {manager}"),
                Transmit::Stop(reason) => format!("stop {reason:?}"),
            });
        }
        sent
    }
}

/// Ends the interchange in order. If a task were dropped before, a debug assertion would fail.
impl Drop for Desk {
    fn drop(&mut self) {
        self.interchange
            .handle_submit_side_gone("the test is over", self.now);
        // The interchange does not wait longer than this for managers that still work.
        self.now.monotonic += Duration::from_secs(1);
        self.interchange.handle_time(self.now);
    }
}

const REGISTRATION: &str = "{'type': 'registration', 'parsl_v': '2026.10.26', \
    'python_v': '3.11.7', 'block_id': '0', 'max_capacity': 2, 'hostname': 'node1'}";

fn desk() -> Desk {
    Desk::new(VersionCheck::Off, false)
}

#[test]
fn a_short_conversation() {
    let events = Events::capture(LevelFilter::WARN);
    let mut desk = Desk::new(VersionCheck::PythonAndParsl, true);
    assert_eq!(desk.ask("'WORKER_BINDS'"), "reply 54321");
    assert_eq!(desk.sent(), [""; 0]);
    desk.say(b"m1", &["{'type': 'connection_probe'}"]);
    assert_eq!(desk.sent(), ["b'm1' is told ProbeAnswer"]);
    assert_eq!(desk.searches.get(), 0, "start-up has no time for a search");
    desk.say(b"m1", &[REGISTRATION]);
    assert_eq!(desk.sent(), ["report run-7"]);
    desk.task("{'task_id': 1, 'context': {'a': (1, None)}, 'buffer': b'one'}");
    desk.task("{'task_id': 2, 'context': {'resource_spec': {'priority': 0}}, 'buffer': b'two'}");
    let batch = "b'm1' gets [{'task_id': 2, 'context': {'resource_spec': {'priority': 0}}, \
                 'buffer': b'two'}, {'task_id': 1, 'context': {'a': (1, None)}, 'buffer': b'one'}]";
    assert_eq!(desk.dispatch(), ["report run-7", batch]);
    desk.say(b"m1", &["{'type': 'heartbeat'}"]);
    assert_eq!(desk.sent(), ["b'm1' is told HeartbeatEcho"]);
    // A result in the current dialect, and in the earlier one.
    desk.say(
        b"m1",
        &["{'type': 'result', 'task_id': 1, 'result': b'r1'}"],
    );
    let result = "result {'type': 'result', 'task_id': 1, 'result': b'r1'}";
    assert_eq!(desk.sent(), [result, "report run-7"]);
    desk.say(
        b"m1",
        &[
            "{'type': 'result'}",
            "{'type': 'result', 'task_id': 2, 'exception': b'r2'}",
        ],
    );
    let result = "result {'type': 'result', 'task_id': 2, 'exception': b'r2'}";
    assert_eq!(desk.sent(), [result, "report run-7"]);
    desk.say(
        b"m1",
        &["{'type': 'monitoring', 'payload': (7, {'run_id': 'theirs'})}"],
    );
    assert_eq!(desk.sent(), ["report theirs"]);
    assert_eq!(desk.ask("['HOLD_MANAGER', 'm1']"), "reply None");
    assert_eq!(desk.sent(), ["report run-7"]);
    desk.say(b"m1", &["{'type': 'drain'}"]);
    assert_eq!(
        desk.sent(),
        ["b'm1' is told Shutdown", "forget b'm1'", "report run-7"]
    );
    desk.interchange
        .handle_submit_side_gone("it is over", desk.now);
    assert_eq!(desk.sent(), ["stop SubmitSideGone"]);
    assert_eq!(desk.searches.get(), 1);
    assert_eq!(events.take(), []);
}

#[test]
fn a_result_is_forwarded_as_the_received_frame() {
    let mut desk = desk();
    desk.say(b"m1", &[REGISTRATION]);
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    desk.dispatch();
    let frame = python::pickle(2, "{'type': 'result', 'task_id': 1, 'result': b'x' * 9000}");
    let place = frame.as_ptr();
    desk.say_frames(b"m1", vec![frame]);
    let Some(Transmit::Result(Parcel::Frame(frame))) = desk.interchange.poll_transmit() else {
        panic!("a result");
    };
    assert_eq!(frame.as_ptr(), place, "not even a copy");
}

#[test]
fn an_invalid_message_is_dropped_with_one_warning() {
    let events = Events::capture(LevelFilter::WARN);
    let mut desk = desk();
    desk.say(b"m1", &[REGISTRATION]);
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    desk.dispatch();
    for frames in [
        vec![b"FuzzyByte\rSTREAM".to_vec()],
        vec![b"{}".to_vec()],
        vec![b"{\"type\":\"heartbeat\"}".to_vec()],
        vec![vec![]],
        vec![vec![], vec![]],
        vec![python::pickle(4, "{'type': 'result', 'result': b''}")],
        vec![python::pickle(4, "{'type': 'registration'}")],
        vec![python::pickle(4, "[]"); 3],
        vec![python::pickle(4, "{'type': 'heartbeat'}")[..20].to_vec()],
    ] {
        for manager in [&b"m1"[..], b"unknown", b"\xff\x00odd"] {
            desk.say_frames(manager, frames.clone());
            assert_eq!(desk.sent(), [""; 0], "{frames:?}");
            let lines = events.take();
            let [line] = &lines[..] else {
                panic!("one line, not {lines:?}");
            };
            assert_eq!(line.level, Level::WARN);
            let text = &line.text;
            assert!(
                text.contains(&format!("{}", ManagerId::new(manager))),
                "{text}"
            );
            assert!(text.contains("10.0.0.1"), "{text}");
        }
    }
    // The sender of bad messages is served as before.
    desk.say(b"m1", &["{'type': 'result', 'task_id': 1, 'result': b''}"]);
    assert_eq!(desk.sent().len(), 1);
    assert_eq!(events.take(), []);
}

/// A mistake in a program repeats in each of its tasks, so each key is logged only once.
#[test]
fn unreadable_needs_are_logged_once_per_key() {
    let events = Events::capture(LevelFilter::WARN);
    let mut desk = desk();
    for (id, words) in [
        (1, "{'cores': -1}"),
        (2, "{'cores': 'x', 'memory': []}"),
        (3, "{'memory': -5}"),
    ] {
        desk.task(&format!(
            "{{'task_id': {id}, 'context': {{'placement': {words}}}, 'buffer': b''}}"
        ));
    }
    let lines: Vec<_> = events.take().into_iter().map(|line| line.text).collect();
    let [cores, memory] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(cores.contains("'cores' of task 1"), "{cores}");
    assert!(memory.contains("'memory' of task 2"), "{memory}");
    assert_eq!(desk.interchange.broker().queued(), 3);
}

#[test]
fn an_unreadable_task_is_answered_if_its_id_is_readable() {
    let events = Events::capture(LevelFilter::WARN);
    let mut desk = desk();
    let whole = python::pickle(4, "{'task_id': 5, 'context': {}, 'buffer': b'b' * 100}");
    desk.interchange.handle_task(whole[..60].to_vec(), desk.now);
    let lines = events.take();
    let sent = desk.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("failure (5, "), "{sent:?}");
    assert!(lines.len() == 1 && lines[0].level == Level::WARN && lines[0].text.contains('5'));
    for frame in [
        &whole[..20],
        b"garbage",
        b"",
        &python::pickle(4, "{'task_id': -1}"),
    ] {
        desk.interchange.handle_task(frame.to_vec(), desk.now);
        assert_eq!(desk.sent(), [""; 0]);
        let lines = events.take();
        assert!(
            lines.len() == 1 && lines[0].level == Level::WARN,
            "{lines:?}"
        );
    }
    assert_eq!(
        desk.interchange.broker().unfinished(),
        "Tasks without a result: queued 0 [], in flight 0 []"
    );
}

#[test]
fn a_command_has_exactly_one_answer_whatever_it_is() {
    let mut desk = desk();
    for (text, expected) in [
        ("'CONNECTED_BLOCKS'", "reply []"),
        ("'MANAGERS'", "reply []"),
        ("'MANAGERS_PACKAGES'", "reply {}"),
        ("'MANGERS_PACKAGES'", "reply None"),
        ("['HOLD_MANAGER', 'nobody']", "reply None"),
        ("['HOLD_MANAGER', 5]", "reply None"),
        ("None", "reply None"),
        ("users.Odd()", "reply None"),
    ] {
        assert_eq!(desk.ask(text), expected, "{text}");
        assert_eq!(desk.sent(), [""; 0], "{text}");
    }
    let request = python::pickle(4, "'MANAGERS'");
    let cut = (0..request.len()).map(|len| &request[..len]);
    for frame in cut.chain([
        &b"garbage"[..],
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
    ]) {
        assert_eq!(desk.ask_by(frame), "reply None", "{}", frame.escape_ascii());
    }
}

#[test]
fn versions_are_looked_for_once_when_the_first_manager_registers() {
    let mut desk = Desk::new(VersionCheck::PythonAndParsl, false);
    desk.say(b"m1", &[REGISTRATION]);
    desk.say(b"m22", &[REGISTRATION]);
    assert_eq!(desk.sent(), [""; 0]);
    assert_eq!(desk.searches.get(), 1);
    let other = REGISTRATION.replace("3.11.7", "3.12.7");
    desk.say(b"m333", &[&other]);
    let sent = desk.sent();
    assert!(sent[0].starts_with("failure (-1, "), "{sent:?}");
    let words = [
        "b'm333' is told Shutdown",
        "b'm1' is told Shutdown",
        "b'm22' is told Shutdown",
    ];
    assert_eq!(sent[1..4], words);
    assert_eq!(sent[4..], ["stop VersionMismatch"]);
    assert_eq!(desk.searches.get(), 1);
}

#[test]
fn tasks_wait_unchanged_while_a_manager_is_unreachable() {
    let mut desk = desk();
    desk.say(b"m1", &[REGISTRATION]);
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b'x' * 10}");
    desk.task("{'task_id': 2, 'context': {}, 'buffer': b'y' * 9000}");
    let broker = desk.interchange.broker_mut();
    let to = broker.next_recipient(desk.now).expect("it has room");
    broker.handle_unreachable(&to.id, desk.now);
    assert_eq!(desk.dispatch(), [""; 0]);
    desk.say(b"m1", &["{'type': 'heartbeat'}"]);
    let batch = format!(
        "b'm1' gets [{{'task_id': 1, 'context': {{}}, 'buffer': b'{}'}}, \
         {{'task_id': 2, 'context': {{}}, 'buffer': b'{}'}}]",
        "x".repeat(10),
        "y".repeat(9000),
    );
    assert_eq!(desk.dispatch(), ["b'm1' is told HeartbeatEcho", &batch]);
}

#[test]
fn queued_bytes_are_those_of_queued_tasks() {
    let mut desk = desk();
    desk.say(b"m1", &[REGISTRATION]);
    let bytes_of_none = desk.interchange.queued_bytes();
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b'x' * 100}");
    let bytes_of_one = desk.interchange.queued_bytes();
    desk.task("{'task_id': 2, 'context': {}, 'buffer': b'y' * 9000}");
    let bytes_of_both = desk.interchange.queued_bytes();
    assert_eq!(bytes_of_none, 0);
    assert!((300..500).contains(&bytes_of_one), "{bytes_of_one}");
    assert!(bytes_of_both > bytes_of_one + 9000, "{bytes_of_both}");
    // A second task with the same id is not queued.
    desk.task("{'task_id': 2, 'context': {}, 'buffer': b'z' * 9000}");
    assert_eq!(desk.interchange.queued_bytes(), bytes_of_both);
    let bytes_of_second = bytes_of_both - bytes_of_one;
    // The room of a batch is measured in the same bytes.
    let too_little_for_both = BatchRoom {
        tasks: usize::MAX,
        weight: bytes_of_both - 1,
    };
    let to = desk.interchange.broker_mut().next_recipient(desk.now);
    let to = to.expect("it has room");
    let _ = desk
        .interchange
        .hand_out(&to, too_little_for_both, desk.now);
    assert_eq!(desk.interchange.queued_bytes(), bytes_of_second);
    assert_eq!(desk.dispatch_by(too_little_for_both).len(), 1);
    assert_eq!(desk.interchange.queued_bytes(), 0);
}

#[test]
fn a_flood_of_bad_messages_costs_few_lines_and_is_counted() {
    let events = Events::capture(LevelFilter::WARN);
    let count = |events: &Events, text: &str| -> (usize, Vec<String>) {
        let lines = events.take();
        let (full, more): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .map(|line| line.text)
            .partition(|line| line.contains(text));
        (full.len(), more)
    };
    let mut desk = desk();
    let garbage = |desk: &mut Desk, peer: &[u8]| desk.say_frames(peer, vec![b"garbage".to_vec()]);
    for _ in 0..20 {
        garbage(&mut desk, b"bad");
    }
    assert_eq!(count(&events, "b'bad'"), (20, vec![]));
    assert_eq!(
        desk.interchange.next_deadline(),
        None,
        "nothing is left to say"
    );
    for _ in 0..980 {
        garbage(&mut desk, b"bad");
    }
    garbage(&mut desk, b"other");
    assert_eq!(count(&events, "b'other'"), (1, vec![]));
    // One second after the first line, the suppressed lines are counted, although no message
    // follows.
    let due = Duration::from_secs(1);
    assert_eq!(desk.interchange.next_deadline(), Some(due));
    desk.now.monotonic = due - Duration::from_nanos(1);
    desk.interchange.handle_time(desk.now);
    assert_eq!(count(&events, ""), (0, vec![]));
    desk.now.monotonic = due;
    desk.interchange.handle_time(desk.now);
    let told = "980 more manager messages that cannot be read within a second; only the first ones \
                are logged";
    assert_eq!(count(&events, "b'"), (0, vec![told.to_owned()]));
    assert_eq!(desk.interchange.next_deadline(), None);
    // A peer that uses a new identity every time is limited too.
    for number in 0..1000 {
        garbage(&mut desk, format!("bad-{number}").as_bytes());
    }
    assert_eq!(count(&events, "b'bad-"), (100, vec![]));
    desk.interchange.complaints().tell();
    assert!(count(&events, "b'").1[0].starts_with("900 more"));
}

/// A suspension of the process is logged before the lines that were suppressed during it.
#[test]
fn anomalies_of_the_broker_are_limited_too() {
    let events = Events::capture(LevelFilter::INFO);
    let mut desk = desk();
    for _ in 0..25 {
        desk.say(b"stranger", &["{'type': 'heartbeat'}"]);
        desk.say(b"m1", &[REGISTRATION]);
    }
    let count = |lines: &[events::Line], text: &str| {
        lines.iter().filter(|line| line.text.contains(text)).count()
    };
    let lines = events.take();
    let unknown = "Ignoring message from unknown manager: b'stranger': a message (heartbeat)";
    assert_eq!(count(&lines, unknown), 20);
    // The first registration is not counted, because the manager was not registered before.
    assert_eq!(count(&lines, "Registration of manager b'm1'"), 21);
    assert_eq!(count(&lines, "b'm1' re-registered by the same"), 20);
    assert_eq!(lines.len(), 61);
    assert_eq!(
        desk.interchange.next_deadline(),
        Some(Duration::from_secs(1))
    );
    desk.now.monotonic = Duration::from_secs(30);
    desk.interchange.handle_time(desk.now);
    let texts: Vec<String> = events.take().into_iter().map(|line| line.text).collect();
    let told = [
        "This process was suspended for 30.0 s; this time does not count as silence of managers",
        "5 more messages of managers that are not registered within a second; only the first ones \
                are logged",
        "4 more registrations of known managers within a second; only the first ones are logged",
    ];
    assert_eq!(texts, told);
}

#[test]
fn other_inputs_reach_the_broker() {
    let mut desk = desk();
    assert_eq!(desk.interchange.next_deadline(), None);
    desk.say(b"m1", &[REGISTRATION]);
    assert_eq!(
        desk.interchange.next_deadline(),
        Some(Duration::from_secs(10))
    );
    desk.task("{'task_id': 1, 'context': {}, 'buffer': b''}");
    desk.interchange.broker_mut().handle_dispatching(false);
    assert_eq!(desk.dispatch(), [""; 0]);
    desk.interchange.broker_mut().handle_dispatching(true);
    desk.interchange
        .broker_mut()
        .handle_disconnected(ConnectionId(2), desk.now);
    assert_eq!(desk.dispatch(), [""; 0]);
    assert_eq!(
        desk.interchange.broker().unfinished(),
        "Tasks without a result: queued 1 [1], in flight 0 []"
    );
    desk.now.monotonic = Duration::from_secs(10);
    let heard_until = desk.now.monotonic;
    desk.interchange
        .broker_mut()
        .handle_workers_empty(heard_until, desk.now);
    desk.interchange.handle_time(desk.now);
    assert_eq!(desk.sent(), ["forget b'm1'"]);
    assert_eq!(desk.interchange.next_deadline(), None);
    desk.interchange
        .handle_submit_side_gone("it is over", desk.now);
    assert_eq!(
        desk.sent(),
        [format!("stop {:?}", StopReason::SubmitSideGone)]
    );
}

/// Parsl's own test searches the log for this line.
#[test]
fn a_task_is_mentioned_at_debug_level_when_it_is_queued() {
    let events = Events::capture(LevelFilter::DEBUG);
    let mut desk = desk();
    desk.task("{'task_id': 17, 'context': {}, 'buffer': b''}");
    let lines = events.take();
    let expected = "Put task 17 onto pending_task_queue";
    let found = lines.iter().find(|line| line.text == expected);
    assert_eq!(
        found.map(|line| line.level),
        Some(Level::DEBUG),
        "{lines:?}"
    );
}

/// The executor gets an answer for this task as for any other, and the next task is served.
#[test]
fn a_task_whose_id_is_beyond_64_bits_is_answered() {
    let events = Events::capture(LevelFilter::WARN);
    let mut desk = desk();
    desk.say(b"m1", &[REGISTRATION]);
    for id in ["2**64", "2**64", "-2**63 - 1", "True"] {
        desk.task(&format!(
            "{{'task_id': {id}, 'context': {{}}, 'buffer': b''}}"
        ));
    }
    let reason = "htex-interchange could not read the message of tas";
    assert_eq!(
        desk.dispatch(),
        [
            format!("failure (18446744073709551616, '{reason}')"),
            format!("failure (18446744073709551616, '{reason}')"),
            format!("failure (-9223372036854775809, '{reason}')"),
            "b'm1' gets [{'task_id': True, 'context': {}, 'buffer': b''}]".to_owned(),
        ]
    );
    assert_eq!(events.take().len(), 3);
    let broker = desk.interchange.broker();
    assert_eq!((broker.queued(), broker.in_flight()), (0, 1));
}
