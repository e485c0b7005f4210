//! State changes of tasks and managers: they are counted, reported to observers of the run, and
//! (for managers) remembered for a while.

use std::collections::VecDeque;

use super::Broker;
use super::change::{FailedBy, Happening, ManagerChange, TaskChange};
use super::now::Now;
use super::output::{Output, Shipment};
use super::outputs::Lost;
use super::slot::Slot;
use protocol::{ManagerId, TaskId};

/// How many changes of managers are kept for later viewers.
const RECENT_MAX: usize = 256;

impl<B> Broker<B> {
    /// Reports a task's change. The report is built only if state changes are wanted.
    pub(super) fn tell_of_task(&mut self, now: Now, make: impl FnOnce() -> (TaskId, TaskChange)) {
        if self.settings.happenings {
            let (task, change) = make();
            let happening = Happening::of_task(task, change, now);
            self.outputs.push_back(Output::Happening(happening));
        }
    }

    pub(super) fn tell_of_batch(&mut self, to: Slot, shipment: &Shipment<B>, now: Now) {
        if !self.settings.happenings {
            return;
        }
        for task in shipment.ids().into_iter().map(TaskId) {
            let manager = self.managers.get(to);
            let placed = manager.placed.as_deref();
            let slots = placed.map_or(1, |placed| placed.slots_of(task));
            let manager = manager.id.clone();
            self.tell_of_task(now, || (task, TaskChange::Dispatched { manager, slots }));
        }
    }

    #[inline(always)]
    pub(super) fn note_done(&mut self, slot: Slot, task: TaskId, now: Now) {
        self.tally.tasks_done += 1;
        let manager = self.managers.get_mut(slot);
        manager.tasks_done += 1;
        if self.settings.happenings {
            let manager = manager.id.clone();
            self.tell_of_task(now, || (task, TaskChange::Done { manager }));
        }
    }

    pub(super) fn note_unreadable(&mut self, task: TaskId, manager: Option<ManagerId>, now: Now) {
        self.tally.tasks_unreadable += 1;
        let reason = FailedBy::Unreadable;
        self.tell_of_task(now, || (task, TaskChange::Failed { reason, manager }));
    }

    pub(super) fn note_lost(&mut self, lost: Lost) {
        self.tally.tasks_lost += lost.tasks.len() as u64;
        let told = self.settings.happenings.then(|| lost.clone());
        self.outputs.push_lost(lost, told);
    }

    /// Counts and reports a manager's change. Such changes are rare, and always kept for a while.
    pub(super) fn note_manager(&mut self, id: &ManagerId, change: ManagerChange, now: Now) {
        match &change {
            ManagerChange::Registered { .. } => self.tally.managers_registered += 1,
            ManagerChange::Lost {
                tasks, was_held, ..
            } => {
                self.tally.managers_lost += 1;
                self.tally.managers_lost_held += u64::from(*was_held && *tasks == 0);
            }
            ManagerChange::Drained => self.tally.managers_drained += 1,
            ManagerChange::Failing { .. } => self.tally.managers_failing += 1,
            ManagerChange::Suspect { .. } => self.tally.disconnects += 1,
            ManagerChange::Held
            | ManagerChange::Draining
            | ManagerChange::Awaited
            | ManagerChange::Back { .. }
            | ManagerChange::GaveUp { .. }
            | ManagerChange::Replaced { .. } => {}
        }
        if self.observations.is_some() {
            self.observe_change(id, &change, now);
        }
        let happening = Happening::of_manager(id, change, now);
        if self.settings.happenings {
            let copy = happening.clone();
            self.outputs.push_back(Output::Happening(copy));
        }
        self.recent.add(happening);
    }
}

/// The latest changes of managers, each with its number.
#[derive(Debug, Default)]
pub(super) struct Recent {
    latest: VecDeque<(u64, Happening)>,
    count: u64,
}

impl Recent {
    pub(super) fn add(&mut self, happening: Happening) {
        self.count += 1;
        if self.latest.len() == RECENT_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((self.count, happening));
    }

    /// Returns the changes, oldest first. Their numbers count up from the start of the process.
    pub(super) fn latest(&self) -> impl Iterator<Item = &(u64, Happening)> {
        self.latest.iter()
    }
}
