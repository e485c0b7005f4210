//! The separate steps of a task's way through the interchange. `criterion` times them, and
//! `counted` is for counting their instructions.
//!
//! A step is prepared outside of the measurement. One run of it is many operations, so that the
//! overhead of a run does not matter.

mod brokers;
pub(crate) mod messages;
mod reading;

use std::hint::black_box;

/// A step that is ready to run.
pub(crate) trait Work {
    /// Prepares what one run uses up. This is not measured.
    fn prepare(&mut self) {}

    /// Runs the measured part.
    fn run(&mut self);
}

/// A step and its name.
pub(crate) struct Step {
    pub name: &'static str,
    /// Number of messages, tasks or turns in one run.
    pub operations: u64,
    pub set_up: fn() -> Box<dyn Work>,
}

/// Every step, in the order in which a task passes them.
pub(crate) const STEPS: [Step; 15] = [
    reading::SCAN_TASK,
    reading::READ_TASK,
    reading::READ_TASK_WITH_NEEDS,
    reading::READ_TASK_THOROUGHLY,
    reading::READ_RESULT,
    reading::READ_HEARTBEAT,
    reading::READ_REGISTRATION,
    reading::SPLICE_BATCH,
    brokers::QUEUE_IN_ORDER,
    brokers::QUEUE_RANDOM_PRIORITIES,
    brokers::DISPATCH_4_MANAGERS,
    brokers::DISPATCH_1000_MANAGERS,
    brokers::DISPATCH_ASKING,
    brokers::DISPATCH_1000_KINDS,
    brokers::EXPIRE_NOTHING_8192,
];

/// Runs a step once. Callgrind counts between the entry to this function and its exit; the function
/// must be neither inlined nor left by a jump.
#[inline(never)]
pub(crate) fn measured(work: &mut dyn Work) {
    black_box(&mut *work).run();
    black_box(work);
}
