//! Managers that get no more tasks: held by a command, or draining until their last task is done.

use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::manager::Manager;
use super::now::Now;
use super::settings::Placement;
use super::slot::Slot;
use protocol::{ManagerId, ToManager};

impl<B> Manager<B> {
    /// Returns the time until the manager's drain time; None if it never drains.
    ///
    /// The times in a registration are on the manager's clock, which may be off by any amount. But
    /// their difference is right, and a manager registers right after its start. If the
    /// registration has no start time, the drain time is compared with this interchange's clock.
    pub(super) fn drains_in(&self, now: Now) -> Option<Duration> {
        let (start_s, drain_s) = (
            self.registration.start_time_s,
            self.registration.drain_time_s,
        );
        let tells_start = start_s.is_finite() && start_s > 0.0;
        let in_s = match tells_start {
            true => drain_s - start_s - (now.monotonic - self.started).as_secs_f64(),
            false => drain_s - now.wall_s,
        };
        Duration::try_from_secs_f64(in_s.max(0.0)).ok()
    }

    /// Returns how long the manager's block still lasts, if HTEX reported how long blocks last. A
    /// start time in the future, by the manager's clock, counts as now.
    pub(super) fn walltime_left(&self, told: &Placement, now: Now) -> Option<Duration> {
        let start_s = self.registration.start_time_s;
        let age_s = match start_s > 0.0 {
            true => (now.wall_s - start_s).max(0.0),
            false => 0.0,
        };
        let age = Duration::try_from_secs_f64(age_s).unwrap_or_default();
        Some(told.walltime?.saturating_sub(age))
    }
}

impl<B> Broker<B> {
    pub(super) fn start_draining(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get_mut(slot);
        if !std::mem::replace(&mut manager.draining, true) {
            manager.note_state();
            let id = manager.id.clone();
            self.note_manager(&id, ManagerChange::Draining, now);
            self.release_bound(slot, now);
        }
        self.index(slot);
        self.finish_draining(slot, now);
    }

    /// Tells a draining manager to exit and removes it, once its last task is done.
    pub(super) fn finish_draining(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        if !manager.draining || !manager.in_flight.is_empty() {
            return;
        }
        codes::log!(
            MANAGER_DRAINED,
            "Manager {} is drained - telling manager to shutdown",
            manager.id
        );
        let id = manager.id.clone();
        self.send(&id, ToManager::Shutdown);
        let mut manager = self.remove(slot, now);
        manager.held = true;
        self.note_manager(&id, ManagerChange::Drained, now);
        self.report_of(&manager, now);
    }

    /// Holds a manager: it gets nothing more, and keeps the tasks that it has.
    pub(super) fn hold(&mut self, id: &ManagerId, now: Now) {
        codes::log!(MANAGER_HELD, "Received HOLD_MANAGER for {id}");
        match self.managers.slot_of(id) {
            Some(slot) => {
                self.hold_slot(slot, now);
            }
            None => codes::log!(
                HOLD_UNKNOWN,
                "Worker to hold was not in ready managers list: {id}"
            ),
        }
    }

    pub(super) fn hold_slot(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get_mut(slot);
        if !std::mem::replace(&mut manager.held, true) {
            manager.note_state();
            let id = manager.id.clone();
            self.note_manager(&id, ManagerChange::Held, now);
            self.release_bound(slot, now);
        }
        self.index(slot);
        self.report(slot, now);
    }
}
