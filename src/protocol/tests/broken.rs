//! Messages cut at every byte, messages with one byte changed, and random bytes. Each is handled
//! without a panic.

use protocol::{
    AnyTaskId, Command, FromManager, Opaque, Stay, Task, TaskId, UnreadWords, UnreadableTask,
    encode_batch,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::python;

const TASK: &str = "{'task_id': 70000, 'context': {'resource_spec': {'priority': 3.5}, \
    'task_executor': {'f': 'g', 'a': ((1, [2]), None), 'k': {'u': uuid.UUID(int=7)}}}, \
    'buffer': b'b' * 300}";

const FROM_MANAGERS: [&str; 5] = [
    "{'type': 'heartbeat'}",
    "{'type': 'result', 'task_id': 5, 'result': b'ok' * 200}",
    "{'type': 'result', 'task_id': 5, 'exception': b'bad'}",
    "{'type': 'monitoring', 'payload': (1, {'a': datetime.datetime(2026, 1, 2)})}",
    "{'type': 'registration', 'parsl_v': '2026.10.26', 'python_v': '3.11.7', 'packages': \
      {'parsl': '2026.10.26'}, 'worker_count': 4, 'uid': 'abc', 'block_id': '0', \
      'drain_time': float('inf'), 'max_capacity': 6, 'hostname': 'node1', 'cpu_count': None}",
];

const COMMANDS: [&str; 3] = ["'MANAGERS'", "['HOLD_MANAGER', 'abc']", "'HOLD_WORKER;abc'"];

fn parse_task(bytes: &[u8]) -> Result<Task<Opaque<Vec<u8>>>, UnreadableTask> {
    Task::parse(bytes.to_vec(), Stay::Long, &mut UnreadWords::default())
}

/// Returns where a task's id is complete. HTEX writes the id first.
fn end_of_id(bytes: &[u8]) -> usize {
    let id = match bytes[1] {
        // The binary protocols write the id as BININT.
        1.. => [&b"J"[..], &70_000i32.to_le_bytes()].concat(),
        0 => unreachable!("protocol 0 has no PROTO"),
    };
    let place = bytes.windows(id.len()).position(|window| window == id);
    place.expect("the id is in there") + id.len()
}

#[test]
fn a_task_cut_after_its_id_is_answered() {
    for protocol in [2, 3, 4, 5] {
        let bytes = python::pickle(protocol, TASK);
        let complete = end_of_id(&bytes);
        for len in 0..bytes.len() {
            let refused = parse_task(&bytes[..len]).expect_err("cut short");
            let expected = AnyTaskId::Ordinary(TaskId(70_000));
            let expected = (len >= complete).then_some(expected);
            assert_eq!(refused.id, expected, "protocol {protocol}, {len} bytes");
            assert!(refused.reason.to_string().contains("truncated"));
        }
        assert!(parse_task(&bytes).is_ok());
    }
}

#[test]
fn an_id_is_not_looked_for_in_the_wrong_place() {
    for bytes in [
        // The text "task_id" is a value, not a key.
        &b"\x80\x04}(\x8c\x01a\x8c\x07task_id\x8c\x01bK\x05"[..],
        // Another object is between the key and the number.
        b"\x80\x04}(\x8c\x07task_id]K\x05",
        // The id −1 would stand for every task.
        b"\x80\x04}(\x8c\x07task_idJ\xff\xff\xff\xff\x8c\x01b",
        b"task_id",
    ] {
        let refused = parse_task(bytes).expect_err("broken");
        assert_eq!(refused.id, None, "{}", bytes.escape_ascii());
    }
}

#[test]
fn messages_of_managers_cut_short() {
    for text in FROM_MANAGERS {
        for protocol in [0, 2, 4, 5] {
            let bytes = python::pickle(protocol, text);
            for len in 0..bytes.len() {
                let cut = bytes[..len].to_vec();
                let marker = python::pickle(protocol, "{'type': 'result'}");
                assert!(!is_message(cut.clone()));
                assert!(!is_item(vec![marker, cut]));
            }
            assert!(is_message(bytes));
        }
    }
}

#[test]
fn commands_cut_short() {
    for text in COMMANDS {
        for protocol in 0..=5 {
            let bytes = python::pickle(protocol, text);
            for len in 0..bytes.len() {
                assert!(Command::parse(&bytes[..len]).is_err());
            }
        }
    }
}

/// A message that is still accepted must be encodable: the encoder checks every pickle that it
/// finishes.
#[test]
fn every_byte_changed() {
    let mut random = SmallRng::seed_from_u64(5);
    let texts = FROM_MANAGERS.iter().chain(&COMMANDS).chain([&TASK]);
    let mut taken = 0;
    for text in texts {
        for protocol in [0, 2, 4, 5] {
            let bytes = python::pickle(protocol, text);
            for place in 0..bytes.len() {
                for _ in 0..4 {
                    let mut changed = bytes.clone();
                    changed[place] = random.random();
                    taken += usize::from(try_everything(changed));
                }
            }
        }
    }
    assert!(taken > 100, "only {taken} were still messages");
}

#[test]
fn random_bytes_do_not_panic() {
    let mut random = SmallRng::seed_from_u64(6);
    for _ in 0..20_000 {
        let len = random.random_range(0..60);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
        if random.random() {
            bytes.splice(0..0, *b"\x80\x04}(\x8c\x07task_id");
        }
        try_everything(bytes);
    }
}

/// Parses the bytes as each kind of message. Returns whether any parser accepted them.
fn try_everything(bytes: Vec<u8>) -> bool {
    let task = parse_task(&bytes);
    if let Ok(task) = &task {
        drop(encode_batch([&task.body, &task.body].into_iter()));
    }
    let command = Command::parse(&bytes);
    let marker = b"\x80\x04}\x8c\x04type\x8c\x06results.".to_vec();
    let item = is_item(vec![marker, bytes.clone()]);
    let message = is_message(bytes);
    task.is_ok() || command.is_ok() || item || message
}

fn is_message(frame: Vec<u8>) -> bool {
    FromManager::<Opaque<Vec<u8>>>::parse(frame).is_ok()
}

fn is_item(frames: Vec<Vec<u8>>) -> bool {
    let messages = FromManager::<Opaque<Vec<u8>>>::parse_marked(frames);
    messages.iter().all(Result::is_ok)
}
