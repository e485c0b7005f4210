//! Results of managers: a finished task leaves its manager.

use super::Broker;
use super::anomaly::Anomaly;
use super::now::Now;
use super::output::Output;
use super::slot::Slot;
use protocol::{Failure, TaskId};

impl<B> Broker<B> {
    // Inlined into the path of results that are not exceptions, to keep that path fast.
    #[inline(always)]
    pub(super) fn take_result(&mut self, slot: Slot, task: TaskId, frame: B, now: Now) {
        if self.settle(slot, task, now) {
            if self.leaving_until.is_none() {
                self.outputs.push_back(Output::Result(frame));
            }
            self.note_done(slot, task, now);
            self.after_result(slot, now);
        }
    }

    /// Fails a task whose result cannot be forwarded to the executor.
    pub(super) fn take_spoilt_result(
        &mut self,
        slot: Slot,
        task: TaskId,
        reason: String,
        now: Now,
    ) {
        if self.settle(slot, task, now) {
            let manager = &self.managers.get(slot).id;
            codes::log!(
                RESULT_UNREADABLE,
                "Failing task {task}: cannot forward its result from {manager}: {reason}"
            );
            let manager = manager.clone();
            let reason = format!("the result of task {task} could not be forwarded: {reason}");
            let failure = Failure::Unreadable { task, reason };
            self.outputs.push_back(Output::Failure(failure));
            self.note_unreadable(task, Some(manager), now);
            self.after_result(slot, now);
        }
    }

    /// Removes a finished task from its manager. Returns false if the manager does not hold the
    /// task.
    fn settle(&mut self, slot: Slot, task: TaskId, now: Now) -> bool {
        let manager = self.managers.get_mut(slot);
        let Some(held) = manager.take(task) else {
            let is_late = manager.given_up.forget(task);
            self.tally.late_results += u64::from(is_late);
            let anomaly = Anomaly::ResultNotHeld {
                manager: &manager.id,
                task,
                late: is_late.then_some(self.tally.late_results),
            };
            self.anomalies.note(&anomaly, now);
            return false;
        };
        let flight = self.liveness.awake(now).saturating_sub(held.dispatched);
        self.tally.in_flight_for.add(flight);
        self.live.remove(held.ticket.settle());
        if manager.in_flight.is_empty() {
            manager.idle_since = Some(now);
        }
        // The manager has more room now. If it had room before, the selector knows that already.
        let is_known = manager.is_offered && !self.has_asked && !self.policy.follows_load();
        if held.link != manager.link.number {
            self.watch_doubts(slot);
        }
        if self.has_asked {
            self.note_taken_back(slot, task, now);
        }
        if !is_known {
            self.index(slot);
        }
        true
    }

    pub(super) fn after_result(&mut self, slot: Slot, now: Now) {
        self.report(slot, now);
        self.finish_draining(slot, now);
    }
}
