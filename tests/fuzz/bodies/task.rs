//! Tasks: one reading, however long it will stay, and a batch with neighbours around it.

use std::cmp::Ordering;

use pickle::{Tree, scan};
use protocol::{AnyTaskId, Failure, Opaque, Stay, Task, encode_batch};

const NEIGHBOUR: &[u8] = b"\x80\x04}(\x8c\x07task_idK\x05\x8c\x06bufferC\x00u.";

pub fn run(data: &[u8]) {
    match (
        Task::parse(data, Stay::Short),
        Task::parse(data, Stay::Long),
    ) {
        (Ok(short), Ok(long)) => {
            assert_eq!(short.id, long.id);
            assert_eq!(short.foreign_name, long.foreign_name);
            assert_eq!(short.priority.cmp(&long.priority), Ordering::Equal);
            let batch = batch(&short.body);
            assert_eq!(batch, self::batch(&long.body));
            check_members(&batch);
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

/// It stands between two others.
pub(crate) fn batch(body: &Opaque<&[u8]>) -> Vec<u8> {
    let neighbour = || Task::parse(NEIGHBOUR, Stay::Short).expect("a task").body;
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
