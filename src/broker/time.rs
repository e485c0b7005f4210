//! What time brings: deadlines that are due, and sleeps of this process.

use tracing::{info, warn};

use super::Broker;
use super::manager::Manager;
use super::now::Now;

impl<B> Broker<B> {
    /// The worker socket was found empty: whoever seems silent has truly said nothing.
    pub fn handle_workers_empty(&mut self, now: Now) {
        self.begin_turn(now);
        self.liveness.workers_empty(now);
    }

    /// Time has passed: whoever is overdue is lost, whoever reached its drain time drains.
    pub fn handle_time(&mut self, now: Now) {
        self.begin_turn(now);
        while let Some(slot) = self.liveness.pop_drain_due(now) {
            if let Some(manager) = self.managers.find(slot) {
                info!(
                    "Manager {} has reached its drain time - draining",
                    manager.id
                );
                self.start_draining(slot, now);
            }
        }
        let managers = &self.managers;
        let due = self
            .liveness
            .overdue(now, |slot| managers.find(slot).map(Manager::silence));
        for slot in due.lost {
            if self.managers.find(slot).is_some() {
                self.expire(slot, now);
            }
        }
        for (slot, until) in due.doubts {
            if self.managers.find(slot).is_some() {
                self.give_up_doubts(slot, until, now);
            }
        }
        self.leave_if_done(now);
    }

    /// Whatever comes first in a turn, a sleep before it is known before anybody's silence is
    /// measured. Each `handle_*` that needs it does so by itself, and once a turn is enough.
    pub fn begin_turn(&mut self, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if let Some(stalled) = self.liveness.turn(now) {
            warn!(
                "This process did not run for {:.1} s; managers are not blamed for it",
                stalled.as_secs_f64()
            );
        }
    }

    pub(super) fn sweep_deadlines(&mut self) {
        let managers = &self.managers;
        self.liveness
            .sweep(|slot| managers.find(slot).map(Manager::silence));
    }
}
