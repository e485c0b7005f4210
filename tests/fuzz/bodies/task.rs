//! Fuzzes tasks: the result must not depend on the expected time in the queue, and a batch with
//! neighbours must be valid.

use std::cmp::Ordering;

use pickle::{Tree, op, scan};
use protocol::{AnyTaskId, Failure, Opaque, Stay, Task, UnreadWords, UnreadableTask, encode_batch};

const NEIGHBOUR: &[u8] = b"\x80\x04}(\x8c\x07task_idK\x05\x8c\x06bufferC\x00u.";

/// Largest input that is also read by a tree; longer ones may have more objects than trees allow.
const READ_BY_TREES_UP_TO_BYTES: usize = 1 << 16;
/// Longest text of a task's requests, so that it fits into a log line.
const SHOWN_BYTES_MAX: usize = 4096;

pub fn run(data: &[u8]) {
    match (parse(data, Stay::Short), parse(data, Stay::Long)) {
        (Ok(short), Ok(long)) => {
            check_same_routing(&short, &long);
            let batch = batch(&short.body);
            assert_eq!(batch, self::batch(&long.body));
            check_members(&batch);
            check_thorough_reading(data, &short);
            if let Some(needs) = short.needs {
                let shown = needs.to_string();
                assert!(!shown.is_empty() && shown.len() < SHOWN_BYTES_MAX);
                assert!(!shown.contains(char::is_control), "{shown:?}");
            }
        }
        (Err(short), Err(long)) => {
            assert_eq!(short.id, long.id);
            let reason = short.reason.to_string();
            assert_eq!(reason, long.reason.to_string());
            let failure = short.id.map(|id| match id {
                AnyTaskId::Ordinary(task) => Failure::Unreadable { task, reason },
                AnyTaskId::Wide(task) => Failure::WideId { task, reason },
            });
            if let Some(failure) = failure {
                assert!(scan(&failure.encode()).is_ok());
            }
        }
        _ => panic!("the stay decides whether it is a task"),
    }
}

pub(crate) fn parse(data: &[u8], stay: Stay) -> Result<Task<Opaque<&[u8]>>, UnreadableTask> {
    Task::parse(data, stay, &mut UnreadWords::default())
}

fn check_same_routing<A, B>(one: &Task<A>, other: &Task<B>) {
    assert_eq!(one.id, other.id);
    assert_eq!(one.foreign_name, other.foreign_name);
    assert_eq!(one.needs, other.needs);
    assert_eq!(one.priority.cmp(&other.priority), Ordering::Equal);
}

/// Checks the reader of trees. The reader of flat dicts declines a pickle that pops an object, so
/// the same task with such an instruction is read by a tree. Both must find the same.
fn check_thorough_reading<B>(data: &[u8], task: &Task<B>) {
    if data.len() > READ_BY_TREES_UP_TO_BYTES {
        return;
    }
    let proto_len = if data[0] == op::PROTO { 2 } else { 0 };
    let (proto, rest) = data.split_at(proto_len);
    let popping = [proto, &[op::NONE, op::POP], rest].concat();
    let thorough = parse(&popping, Stay::Short).expect("the same task");
    check_same_routing(task, &thorough);
}

/// Makes a batch with the body between two other tasks.
pub(crate) fn batch(body: &Opaque<&[u8]>) -> Vec<u8> {
    let neighbour = || {
        Task::parse(NEIGHBOUR, Stay::Short, &mut UnreadWords::default())
            .expect("a task")
            .body
    };
    let beside = [neighbour(), neighbour()];
    encode_batch([&beside[0], body, &beside[1]].into_iter())
}

fn check_members(batch: &[u8]) {
    if let Ok(tree) = Tree::read(batch) {
        let items: Vec<_> = tree.root().items().expect("a list").collect();
        assert_eq!(items.len(), 3);
        for end in [items[0], items[2]] {
            assert_eq!(end.get("task_id").and_then(|id| id.as_i64()), Some(5));
        }
    }
}
