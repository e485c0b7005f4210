//! The passing of time: deadlines that are due, and suspensions of this process.

use std::time::Duration;

use super::Broker;
use super::deadlines::{Entry, What};
use super::now::Now;

impl<B> Broker<B> {
    /// Notes that nothing is left to read from managers, and that all messages that arrived by
    /// `heard_until` (monotonic clock) were read. A manager not heard by then has really been
    /// silent.
    pub fn handle_workers_empty(&mut self, heard_until: Duration, now: Now) {
        self.begin_turn(now);
        self.liveness.workers_empty(heard_until, now);
    }

    /// Whether some manager is overdue and is not lost only because its messages may be unread.
    pub fn is_listening(&self) -> bool {
        self.liveness.is_listening()
    }

    /// Handles the passing of time: overdue managers are lost, and managers at their drain time
    /// drain.
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
        // An earlier entry of this turn may have removed the manager.
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

    /// Begins a turn: a suspension before the turn must be known before the silence of managers is
    /// measured. Each `handle_*` method that needs this calls it, and only the first call in a turn
    /// has an effect.
    pub fn begin_turn(&mut self, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if let Some(stalled) = self.liveness.turn(now) {
            codes::log!(
                SUSPENDED,
                "This process was suspended for {:.1} s; this time does not count as silence of \
                 managers",
                stalled.as_secs_f64()
            );
        }
    }
}
