//! How it ends.

use std::time::Duration;

use super::Broker;
use super::live_ids::LiveIds;
use super::looks::LookFor;
use super::now::Now;
use super::output::{Output, StopReason};
use super::slot::Slot;
use protocol::ToManager;

/// How long managers that work may do so when nobody takes their results any more.
const BUSY_MANAGERS_GET: Duration = Duration::from_millis(500);

impl<B> Broker<B> {
    /// Nobody is left to take results. Idle managers are told to exit at once, the others after
    /// their last task, and whoever still works a moment later is told then: a process_worker_pool
    /// (of Parsl 2026.10.26, and before) that is told while results of its workers are on their way
    /// may wait for ever for a thread of its own that has ended.
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

    /// Ends everything: managers are told to exit, and what is still here is written down.
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

    /// When nobody works any more, or the time for it is over.
    pub(super) fn leave_if_done(&mut self, now: Now) {
        let Some(until) = self.leaving_until else {
            return;
        };
        if until <= now.monotonic || self.in_flight() == 0 {
            self.handle_stop(StopReason::SubmitSideGone);
        }
    }

    /// The one place where tasks may end without a terminal message: the process is about to end,
    /// and the executor is gone or has been told that everything failed.
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
