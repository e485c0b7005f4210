//! The clock on which silence is measured, and from when on silence is certain.
//!
//! The clock stands still while this process does not run, so that a suspended broker blames nobody
//! for its own sleep. And nobody is given up for what may stand unread: after a stall heartbeats
//! sit behind thousands of results. A deadline has been heard out once the worker socket has been
//! found empty after it. If it was noticed late, this process may have been stopped, and what had
//! come is still in the kernel, where libzmq's own thread has to fetch it first: the socket has to
//! be found empty once more, a moment later. Without end that must not last: after two thresholds
//! of backlog without a break, overdue is overdue.

use std::time::Duration;

use super::deadlines::{Deadlines, Entry, What};
use super::now::Now;
use super::slot::Slot;

/// A turn that comes later than it was due by more than this was not late by load: the process
/// (or the machine) was stopped.
const STALL_MIN: Duration = Duration::from_secs(1);

/// A timer and a turn take less as a rule. Who looks again without need has lost little.
const LATE_MIN: Duration = Duration::from_millis(20);

/// So long after a turn that came late, libzmq's own thread has run as well.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(super) struct Liveness {
    threshold: Duration,
    /// On the awake clock.
    deadlines: Deadlines,
    /// The latest time whose deadlines have been looked at: those that are left wait to be heard
    /// out. Awake clock.
    noticed: Option<Duration>,
    /// How long the process was not running, in all.
    stalled: Duration,
    /// The turn before this one: monotonic clock.
    last_turn: Duration,
    /// When the worker socket was last found empty: awake clock.
    workers_empty_at: Duration,
    /// Before this time an empty worker socket says nothing: awake clock.
    look_again_at: Duration,
}

impl Liveness {
    pub(super) fn new(threshold: Duration, now: Now) -> Self {
        Self {
            threshold,
            deadlines: Deadlines::default(),
            noticed: None,
            stalled: Duration::ZERO,
            last_turn: now.monotonic,
            workers_empty_at: now.monotonic,
            look_again_at: Duration::ZERO,
        }
    }

    /// The clock on which silence is measured.
    pub(super) fn awake(&self, now: Now) -> Duration {
        now.monotonic.saturating_sub(self.stalled)
    }

    /// When there is something to do next: monotonic clock.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let first = self.deadlines.first()?;
        let next = match self.noticed {
            Some(noticed) if first <= noticed => {
                let ahead = self.deadlines.first_after(noticed);
                let again = Some(self.look_again_at).filter(|at| *at > noticed);
                let backlog_end = Some(self.backlog_end());
                [ahead, again, backlog_end].into_iter().flatten().min()?
            }
            _ => first,
        };
        Some(next.saturating_add(self.stalled))
    }

    /// When to look at a manager, on the awake clock, instead of the time before. None: never.
    pub(super) fn watch(&mut self, slot: Slot, what: What, at: Option<Duration>) {
        self.deadlines.set(slot, what, at);
        if let Some(at) = at
            && Some(at) <= self.noticed
        {
            // A new one is due at once, and waits for nobody.
            self.noticed = at.checked_sub(Duration::from_nanos(1));
        }
    }

    /// The registration has ended.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.deadlines.forget(slot);
    }

    /// For those who check the books.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub(super) fn workers_empty(&mut self, now: Now) {
        let awake = self.awake(now);
        if awake >= self.look_again_at {
            self.workers_empty_at = awake;
        }
    }

    /// Begins a turn. If the process was stopped since the one before, the whole gap counts for
    /// nothing, and is returned.
    #[inline]
    pub(super) fn turn(&mut self, now: Now) -> Option<Duration> {
        if now.monotonic == self.last_turn {
            // The time of a turn is captured once: this one has begun already.
            return None;
        }
        self.begin_turn(now)
    }

    fn begin_turn(&mut self, now: Now) -> Option<Duration> {
        let due = self
            .next_deadline()
            .map_or(now.monotonic, |at| at.max(self.last_turn));
        let late = now.monotonic.saturating_sub(due);
        let gap = now.monotonic.saturating_sub(self.last_turn);
        self.last_turn = now.monotonic;
        if late < LATE_MIN {
            return None;
        }
        let is_stall = late >= STALL_MIN;
        if is_stall {
            self.stalled = self.stalled.saturating_add(gap);
            // A manager drains at its time, whoever slept.
            self.deadlines.advance(What::Drain, gap);
        }
        self.look_again_at = self.awake(now).saturating_add(LOOK_AGAIN_AFTER);
        is_stall.then_some(gap)
    }

    /// What is to be looked at now, in the order in which it is done.
    pub(super) fn due(&mut self, now: Now) -> Vec<Entry> {
        let awake = self.awake(now);
        self.noticed = Some(awake);
        let mut due: Vec<Entry> = self.deadlines.until(awake).copied().collect();
        due.sort_by_key(|(_, _, what)| *what);
        due
    }

    /// Up to when everything was read that managers may have said: awake clock.
    pub(super) fn heard_until(&self, now: Now) -> Duration {
        let awake = self.awake(now);
        let backlog_too_long = awake >= self.backlog_end();
        match backlog_too_long {
            true => awake,
            false => self.workers_empty_at,
        }
    }

    fn backlog_end(&self) -> Duration {
        self.workers_empty_at
            .saturating_add(self.threshold.saturating_mul(2))
    }
}
