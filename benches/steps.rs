//! The steps that a task's way consists of, each by itself: what `criterion` times, and what
//! `counted` has its instructions counted of.
//!
//! A step is prepared outside of the measurement, and one run of it is many operations, so that
//! what surrounds a run weighs nothing.

mod brokers;
pub(crate) mod messages;
mod reading;

use std::hint::black_box;

/// A step that was set up.
pub(crate) trait Work {
    /// Puts in place what one run uses up. Not measured.
    fn prepare(&mut self) {}

    /// What is measured.
    fn run(&mut self);
}

/// A step by its name.
pub(crate) struct Step {
    pub name: &'static str,
    /// Messages, tasks or turns of one run.
    pub operations: u64,
    pub set_up: fn() -> Box<dyn Work>,
}

/// Every step, in the order in which a task takes them.
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

/// One run. Callgrind counts what happens between the entry to this function and its exit; it must
/// be neither inlined nor left by a jump.
#[inline(never)]
pub(crate) fn measured(work: &mut dyn Work) {
    black_box(&mut *work).run();
    black_box(work);
}
