//! The effects that wait to be carried out, in order. A manager may be lost with a million tasks.
//! The messages about each are created only when they are taken out, so that nothing else waits for
//! them.

use std::collections::VecDeque;
use std::rc::Rc;

use super::change::{FailedBy, Happening, TaskChange};
use super::now::Now;
use super::output::Output;
use protocol::{Failure, ManagerId, TaskId};

pub(super) struct Outputs<B> {
    waiting: VecDeque<Waiting<B>>,
}

enum Waiting<B> {
    One(Output<B>),
    /// A ManagerLost failure for each of these tasks.
    Failures(Lost),
    /// A state change for each of these tasks, for observers of the run.
    Happenings(Lost),
}

/// Tasks that were lost with a manager.
#[derive(Clone)]
pub(super) struct Lost {
    pub(super) tasks: Rc<[TaskId]>,
    pub(super) manager: ManagerId,
    pub(super) hostname: String,
    pub(super) at: Now,
    /// Number of tasks whose messages have already been taken out.
    said: usize,
}

impl<B> Outputs<B> {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push_back(&mut self, output: Output<B>) {
        self.waiting.push_back(Waiting::One(output));
    }

    /// Appends the failures of lost tasks. `told` holds the same tasks again, if state changes are
    /// reported.
    pub(super) fn push_lost(&mut self, lost: Lost, told: Option<Lost>) {
        if !lost.tasks.is_empty() {
            self.waiting.push_back(Waiting::Failures(lost));
            self.waiting.extend(told.map(Waiting::Happenings));
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Output<B>> {
        let (output, is_last) = match self.waiting.front_mut()? {
            Waiting::One(_) => match self.waiting.pop_front()? {
                Waiting::One(output) => return Some(output),
                Waiting::Failures(_) | Waiting::Happenings(_) => return None,
            },
            Waiting::Failures(lost) => lost.next(Lost::failure),
            Waiting::Happenings(lost) => lost.next(Lost::happening),
        };
        if is_last {
            self.waiting.pop_front();
        }
        Some(output)
    }
}

impl Lost {
    pub(super) fn new(tasks: &[TaskId], manager: &ManagerId, hostname: &str, at: Now) -> Self {
        Self {
            tasks: tasks.into(),
            manager: manager.clone(),
            hostname: hostname.to_owned(),
            at,
            said: 0,
        }
    }

    /// Returns the message about the next task, and whether that was the last task.
    fn next<B>(&mut self, say: impl FnOnce(&Self, TaskId) -> Output<B>) -> (Output<B>, bool) {
        let output = say(self, self.tasks[self.said]);
        self.said += 1;
        (output, self.said == self.tasks.len())
    }

    fn failure<B>(&self, task: TaskId) -> Output<B> {
        Output::Failure(Failure::ManagerLost {
            task,
            manager: self.manager.clone(),
            hostname: self.hostname.clone(),
            lost_at_s: self.at.wall_s,
        })
    }

    fn happening<B>(&self, task: TaskId) -> Output<B> {
        let change = TaskChange::Failed {
            reason: FailedBy::ManagerLost,
            manager: Some(self.manager.clone()),
        };
        Output::Happening(Happening::of_task(task, change, self.at))
    }
}
