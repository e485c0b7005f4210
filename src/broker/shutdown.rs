//! The end of a run.

use std::time::Duration;

use super::Broker;
use super::live_ids::LiveIds;
use super::looks::LookFor;
use super::now::Now;
use super::output::{Output, StopReason};
use super::slot::Slot;
use protocol::ToManager;

/// How long busy managers may go on when nobody takes their results any more.
const BUSY_MANAGERS_GET: Duration = Duration::from_millis(500);

impl<B> Broker<B> {
    /// Ends the run, because nobody takes results any more. Idle managers are told to exit at once,
    /// the others after their last task or, at the latest, a moment later. A process_worker_pool
    /// (up to Parsl 2026.10.26) that is told to exit while results of its workers are on their way
    /// may wait for ever for one of its own threads that has already ended.
    pub fn handle_submit_side_gone(&mut self, now: Now) {
        if self.leaving_until.is_some() || self.stopping {
            return;
        }
        let until = now.monotonic.saturating_add(BUSY_MANAGERS_GET);
        self.leaving_until = Some(until);
        self.looks.set(LookFor::Leaving, Some(until));
        let slots: Vec<Slot> = self.managers.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.start_draining(slot, now);
        }
        self.leave_if_done(now);
    }

    /// Ends everything: managers are told to exit, and unanswered tasks are logged.
    pub fn handle_stop(&mut self, reason: StopReason) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.leaving_until = None;
        self.looks.set(LookFor::Leaving, None);
        for (_, manager) in self.managers.iter() {
            let to = manager.id.clone();
            self.outputs.push_back(Output::ToManager {
                to,
                message: ToManager::Shutdown,
            });
        }
        self.disband();
        self.outputs.push_back(Output::Stop(reason));
    }

    /// Stops the run when no manager works any more, or when their time is over.
    pub(super) fn leave_if_done(&mut self, now: Now) {
        let Some(until) = self.leaving_until else {
            return;
        };
        if until <= now.monotonic || self.in_flight() == 0 {
            self.handle_stop(StopReason::SubmitSideGone);
        }
    }

    /// Settles all tasks. Only here may tasks end without a terminal message: the process is about
    /// to end, and the executor is gone or was told that everything failed.
    fn disband(&mut self) {
        if self.queue.is_empty() && self.in_flight() == 0 && self.tally.late_results == 0 {
            return;
        }
        codes::log!(
            TASKS_UNANSWERED,
            queued = self.queued(),
            in_flight = self.in_flight(),
            "{}",
            self.unfinished()
        );
        for task in self.queue.drain() {
            task.ticket.settle();
        }
        for manager in self.managers.iter_mut() {
            for held in manager.in_flight.drain(..) {
                held.ticket.settle();
            }
        }
        self.live = LiveIds::new();
    }
}
