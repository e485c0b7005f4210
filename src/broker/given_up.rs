//! Tasks of a live manager that were given up.

use protocol::TaskId;

/// How many tasks of a manager are remembered; the oldest is forgotten first.
const REMEMBERED_MAX: usize = 1024;

/// Tasks that were given up while their manager lived: a result that still arrives is late.
#[derive(Debug, Default)]
pub(super) struct GivenUp(Vec<TaskId>);

impl GivenUp {
    pub(super) fn remember(&mut self, tasks: &[TaskId]) {
        self.0.extend(tasks);
        let surplus = self.0.len().saturating_sub(REMEMBERED_MAX);
        self.0.drain(..surplus);
    }

    /// Whether the task was given up. Forgets the task, so that a repeated result does not count as
    /// late.
    pub(super) fn forget(&mut self, task: TaskId) -> bool {
        let place = self.0.iter().position(|given_up| *given_up == task);
        place.map(|place| self.0.remove(place)).is_some()
    }
}
