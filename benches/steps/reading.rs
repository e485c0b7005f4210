//! Steps from bytes to messages, and from tasks to the bytes of a batch.

use std::hint::black_box;

use protocol::{FromManager, Opaque, Stay, Task, UnreadWords, encode_batch};

use super::messages::{self, FIRST_TASK};
use super::{Step, Work};

/// Number of messages in one run.
const MESSAGES: u64 = 64;
/// Number of tasks in one batch; `BATCHES` is the number of batches in one run.
const BATCH_TASKS: u64 = 16;
const BATCHES: u64 = 4;

/// Scans a pickle as for any purpose, without looking for Parsl's keys.
pub(super) const SCAN_TASK: Step = Step {
    name: "scan_task",
    operations: MESSAGES,
    set_up: || {
        each(messages::task, |frame| {
            black_box(pickle::scan(frame).expect("sound"));
        })
    },
};

/// Every other task has a priority.
pub(super) const READ_TASK: Step = Step {
    name: "read_task",
    operations: MESSAGES,
    set_up: || {
        let message = |id: i64| match id % 2 {
            0 => messages::task(id),
            _ => messages::task_with_priority(id, id as u8),
        };
        each(message, read_task)
    },
};

/// The tasks have the largest number of keys that one pass reads.
pub(super) const READ_TASK_WITH_NEEDS: Step = Step {
    name: "read_task_with_needs",
    operations: MESSAGES,
    set_up: || each(messages::task_with_needs, read_task),
};

pub(super) const READ_TASK_THOROUGHLY: Step = Step {
    name: "read_task_thoroughly",
    operations: MESSAGES,
    set_up: || each(messages::task_with_executor, read_task),
};

pub(super) const READ_RESULT: Step = Step {
    name: "read_result",
    operations: MESSAGES,
    set_up: || each(messages::result, read_manager),
};

pub(super) const READ_HEARTBEAT: Step = Step {
    name: "read_heartbeat",
    operations: MESSAGES,
    set_up: || each(|_| messages::heartbeat(), read_manager),
};

pub(super) const READ_REGISTRATION: Step = Step {
    name: "read_registration",
    operations: MESSAGES,
    set_up: || each(|_| messages::registration(), read_manager),
};

/// The operations are tasks, not batches.
pub(super) const SPLICE_BATCH: Step = Step {
    name: "splice_batch",
    operations: BATCH_TASKS * BATCHES,
    set_up: || {
        let bodies = frames(messages::task).into_iter().map(|frame| {
            let task = Task::parse(frame, Stay::Short, &mut UnreadWords::default()).expect("sound");
            task.body
        });
        Box::new(Splice(bodies.collect()))
    },
};

fn read_task(frame: &[u8]) {
    let unread = &mut UnreadWords::default();
    black_box(Task::parse(frame, Stay::Short, unread).expect("sound"));
}

fn read_manager(frame: &[u8]) {
    black_box(FromManager::parse(frame).expect("sound"));
}

fn frames(message: fn(i64) -> Vec<u8>) -> Vec<Vec<u8>> {
    (FIRST_TASK..)
        .take(MESSAGES as usize)
        .map(message)
        .collect()
}

fn each(message: fn(i64) -> Vec<u8>, read: fn(&[u8])) -> Box<dyn Work> {
    let frames = frames(message);
    Box::new(Each { frames, read })
}

/// Applies the same function to each of several frames.
struct Each {
    frames: Vec<Vec<u8>>,
    read: fn(&[u8]),
}

impl Work for Each {
    fn run(&mut self) {
        for frame in &self.frames {
            (self.read)(frame);
        }
    }
}

struct Splice(Vec<Opaque<Vec<u8>>>);

impl Work for Splice {
    fn run(&mut self) {
        for bodies in self.0.chunks_exact(BATCH_TASKS as usize) {
            black_box(encode_batch(bodies.iter()));
        }
    }
}
