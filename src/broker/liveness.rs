//! The clock on which silence is measured, and the rule for when silence is certain.
//!
//! The awake clock stands still while this process does not run, so that a suspended broker does
//! not blame managers for its own sleep. And no manager is given up while its messages may be
//! unread: after a stall, heartbeats wait behind thousands of results. A deadline is heard out once
//! all messages that arrived by then were read; the transport reports that. That wait is limited:
//! after a backlog of two thresholds without a break, an overdue manager is lost even so.

use std::time::Duration;

use super::deadlines::{Deadlines, Entry, What};
use super::now::Now;
use super::slot::Slot;

/// If a turn is later than its due time by more than this, load is not the cause: the process (or
/// the machine) was suspended.
const STALL_MIN: Duration = Duration::from_secs(1);

pub(super) struct Liveness {
    threshold: Duration,
    /// The deadlines, on the awake clock.
    deadlines: Deadlines,
    /// The latest time whose deadlines have been handled. Earlier deadlines that still exist wait
    /// to be heard out. Awake clock.
    noticed: Option<Duration>,
    /// How long the process has not been running, in total.
    stalled: Duration,
    /// The time of the previous turn (monotonic clock).
    last_turn: Duration,
    /// When nothing was left to read from managers (awake clock).
    workers_empty_at: Duration,
    /// All messages that arrived by this time were read (awake clock).
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

    /// Returns the time on the awake clock, on which silence is measured.
    pub(super) fn awake(&self, now: Now) -> Duration {
        now.monotonic.saturating_sub(self.stalled)
    }

    /// Returns when there is something to do next (monotonic clock).
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

    /// Sets when to check a manager (awake clock), in place of an earlier time. None: never.
    pub(super) fn watch(&mut self, slot: Slot, what: What, at: Option<Duration>) {
        self.deadlines.set(slot, what, at);
        if let Some(at) = at
            && Some(at) <= self.noticed
        {
            // A new deadline in the past is due at once, so it must not count as handled.
            self.noticed = at.checked_sub(Duration::from_nanos(1));
        }
    }

    /// Removes the deadlines of a manager whose registration has ended.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.deadlines.forget(slot);
    }

    /// Returns the deadlines.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Whether a deadline has passed but is not heard out yet.
    pub(super) fn is_listening(&self) -> bool {
        self.deadlines
            .first()
            .is_some_and(|first| Some(first) <= self.noticed)
    }

    /// Notes that nothing is left to read, and that all messages that arrived by `heard_until`
    /// (monotonic clock) were read.
    pub(super) fn workers_empty(&mut self, heard_until: Duration, now: Now) {
        self.workers_empty_at = self.awake(now);
        let heard_until = heard_until.saturating_sub(self.stalled);
        self.heard_until = self.heard_until.max(heard_until);
    }

    /// Returns when nothing was left to read from managers for the last time (awake clock).
    pub(super) fn heard_at(&self) -> Duration {
        self.workers_empty_at
    }

    /// Begins a turn. If the process was suspended since the previous turn, the whole gap does not
    /// count on the awake clock, and is returned.
    #[inline]
    pub(super) fn turn(&mut self, now: Now) -> Option<Duration> {
        if now.monotonic == self.last_turn {
            // The time of a turn is captured once, so this turn has already begun.
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
        // A manager drains at its drain time, even if this process was suspended.
        self.deadlines.advance(What::Drain, gap);
        Some(gap)
    }

    /// Returns the deadlines that have passed, in the order in which they are handled.
    pub(super) fn due(&mut self, now: Now) -> Vec<Entry> {
        let awake = self.awake(now);
        self.noticed = Some(awake);
        let mut due: Vec<Entry> = self.deadlines.until(awake).copied().collect();
        due.sort_by_key(|(_, _, what)| *what);
        due
    }

    /// Returns the time up to which all messages of managers were read, or count as read (awake
    /// clock).
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
