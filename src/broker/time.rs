//! What time brings: deadlines that are due, and sleeps of this process.

use std::time::Duration;

use super::Broker;
use super::deadlines::{Entry, What};
use super::now::Now;

impl<B> Broker<B> {
    /// Nothing is left to read from managers, and everything was read that had come by
    /// `heard_until` (monotonic clock): whoever was silent until then has truly said nothing.
    pub fn handle_workers_empty(&mut self, heard_until: Duration, now: Now) {
        self.begin_turn(now);
        self.liveness.workers_empty(heard_until, now);
    }

    /// Whether somebody is overdue, and only what may stand unread speaks for it.
    pub fn is_listening(&self) -> bool {
        self.liveness.is_listening()
    }

    /// Time has passed: whoever is overdue is lost, whoever reached its drain time drains.
    pub fn handle_time(&mut self, now: Now) {
        self.begin_turn(now);
        for entry in self.liveness.due(now) {
            self.look_at(entry, now);
        }
        let is_due = |at: Duration| at <= now.monotonic;
        if self.looks.first().is_some_and(is_due) {
            self.look_for_failing_when_due(now);
            self.move_kinds_when_due(now);
            self.tell_unmet_when_due(now);
            self.observe_when_due(now);
            self.tell_accepted_when_due(now);
        }
        self.leave_if_done(now);
        let heard_until = self.liveness.heard_at();
        self.books.note_tally(&self.tally, heard_until);
    }

    fn look_at(&mut self, (at, slot, what): Entry, now: Now) {
        // It may have left by what was done before in this turn.
        let Some(manager) = self.managers.find(slot) else {
            return;
        };
        let deadline = match what {
            What::Silence => (manager.last_heard).saturating_add(self.settings.heartbeat_threshold),
            What::Drain | What::Ask | What::Grace | What::Doubt => at,
        };
        let heard_until = self.liveness.heard_until(now);
        if deadline > at {
            self.liveness.watch(slot, what, Some(deadline));
        }
        if deadline > self.liveness.awake(now) || what.is_heard_out() && heard_until < deadline {
            return;
        }
        match what {
            What::Drain => {
                codes::log!(
                    MANAGER_DRAINING,
                    "Manager {} has reached its drain time - draining",
                    manager.id
                );
                self.liveness.watch(slot, what, None);
                self.start_draining(slot, now);
            }
            What::Ask => self.ask(slot, now),
            What::Grace => self.ask_for_the_last_time(slot),
            What::Silence => self.expire(slot, now),
            What::Doubt => self.give_up_doubts(slot, heard_until, now),
        }
    }

    /// Whatever comes first in a turn, a sleep before it is known before anybody's silence is
    /// measured. Each `handle_*` that needs it does so by itself, and once a turn is enough.
    pub fn begin_turn(&mut self, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if let Some(stalled) = self.liveness.turn(now) {
            codes::log!(
                SUSPENDED,
                "This process was suspended for {:.1} s; this time does not count against managers",
                stalled.as_secs_f64()
            );
        }
    }
}
