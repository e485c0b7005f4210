//! The clock on which silence is measured, and from when on silence is certain.
//!
//! The clock stands still while this process does not run, so that a suspended broker blames nobody
//! for its own sleep. And nobody is given up for what may stand unread: after a stall heartbeats
//! sit behind thousands of results. A deadline has been heard out once everything was read that had
//! come by then, which the transport tells. Without end that must not last: after two thresholds of
//! backlog without a break, overdue is overdue.

use std::time::Duration;

use super::deadlines::{Deadlines, Entry, What};
use super::now::Now;
use super::slot::Slot;

/// A turn that comes later than it was due by more than this was not late by load: the process
/// (or the machine) was stopped.
const STALL_MIN: Duration = Duration::from_secs(1);

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
    /// When nothing was left to read from managers: awake clock.
    workers_empty_at: Duration,
    /// Everything was read that had come by then: awake clock.
    heard_until: Duration,
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
            heard_until: now.monotonic,
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
                let backlog_end = self.backlog_end();
                ahead.map_or(backlog_end, |ahead| ahead.min(backlog_end))
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

    /// When to look at whom.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Whether a deadline has passed that is not heard out.
    pub(super) fn is_listening(&self) -> bool {
        self.deadlines
            .first()
            .is_some_and(|first| Some(first) <= self.noticed)
    }

    /// Nothing is left to read, and everything was read that had come by that time (monotonic).
    pub(super) fn workers_empty(&mut self, heard_until: Duration, now: Now) {
        self.workers_empty_at = self.awake(now);
        let heard_until = heard_until.saturating_sub(self.stalled);
        self.heard_until = self.heard_until.max(heard_until);
    }

    /// When nothing was left to read from managers last: awake clock.
    pub(super) fn heard_at(&self) -> Duration {
        self.workers_empty_at
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
        if late < STALL_MIN {
            return None;
        }
        self.stalled = self.stalled.saturating_add(gap);
        // A manager drains at its time, whoever slept.
        self.deadlines.advance(What::Drain, gap);
        Some(gap)
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
            false => self.heard_until,
        }
    }

    fn backlog_end(&self) -> Duration {
        self.workers_empty_at
            .saturating_add(self.threshold.saturating_mul(2))
    }
}
