//! Who has been silent for too long: clocks and deadlines.
//!
//! Silence is measured on a clock that stands still while this process does not run, so that a
//! suspended broker blames nobody for its own sleep. And a manager is overdue only once the worker
//! socket has been found empty after its deadline: after a stall its heartbeats sit behind
//! thousands of results. Without end that must not last: after two thresholds of backlog without a
//! break, overdue is overdue.
//!
//! A manager without a connection may have less time than the threshold: the grace, on the same
//! clock and under the same rules. So has the result of a task in doubt
//! ([`super::tasks_in_doubt`]), as long as its manager has a connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::now::Now;
use super::silence::Silence;
use super::slot::Slot;

/// A turn that comes later than it was due by more than this was not late by load: the process
/// (or the machine) was stopped.
const STALL_MIN: Duration = Duration::from_secs(1);

/// Entries of managers that are gone are swept out once there are more than this, and twice as many
/// as after the last sweep.
const ENTRIES_UNSWEPT_MIN: usize = 4096;

type Heap = BinaryHeap<Reverse<(Duration, Slot)>>;

/// What nobody needs to wait for any more.
#[derive(Default)]
pub(super) struct Due {
    /// A manager that is overdue in two ways may be there twice.
    pub(super) lost: Vec<Slot>,
    /// Managers with tasks in doubt, and up to which deadline these are to be given up.
    pub(super) doubts: Vec<(Slot, Duration)>,
}

pub(super) struct Liveness {
    threshold: Duration,
    grace: Option<Duration>,
    /// One entry a manager, at the latest by when it must be looked at: awake clock.
    expiry: Heap,
    /// What connections that broke lead to: the ends of graces and of doubts. Awake clock.
    breaks: BinaryHeap<Reverse<(Duration, Overdue)>>,
    /// Managers past a deadline, until the worker socket has been empty.
    overdue: Vec<Overdue>,
    /// How many entries there may be before those of managers that are gone are swept out.
    sweep_above: usize,
    /// Drain times still to come: monotonic clock.
    drain: Heap,
    /// How long the process was not running, in all.
    stalled: Duration,
    /// The turn before this one: monotonic clock.
    last_turn: Duration,
    /// When the worker socket was last found empty: awake clock.
    workers_empty_at: Duration,
}

/// Whose deadline it is that has passed, or will.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Overdue {
    Silent(Slot),
    /// One for each time that a manager became suspect, with when that was: void once the manager
    /// has spoken by a connection again.
    Disconnected {
        slot: Slot,
        since: Duration,
    },
    /// The first task in doubt of a manager: void unless the manager's record names this time.
    InDoubt {
        slot: Slot,
        at: Duration,
    },
}

impl Overdue {
    fn slot(self) -> Slot {
        match self {
            Self::Silent(slot) | Self::Disconnected { slot, .. } | Self::InDoubt { slot, .. } => {
                slot
            }
        }
    }
}

impl Liveness {
    pub(super) fn new(threshold: Duration, grace: Option<Duration>, now: Now) -> Self {
        Self {
            threshold,
            grace,
            expiry: Heap::new(),
            breaks: BinaryHeap::new(),
            overdue: Vec::new(),
            sweep_above: ENTRIES_UNSWEPT_MIN,
            drain: Heap::new(),
            stalled: Duration::ZERO,
            last_turn: now.monotonic,
            workers_empty_at: now.monotonic,
        }
    }

    /// The clock on which silence is measured.
    pub(super) fn awake(&self, now: Now) -> Duration {
        now.monotonic.saturating_sub(self.stalled)
    }

    /// When there is something to do next: monotonic clock.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let expiry = self.expiry.peek().map(|Reverse((at, _))| *at);
        let breaks = self.breaks.peek().map(|Reverse((at, _))| *at);
        let backlog = (!self.overdue.is_empty()).then(|| self.backlog_end());
        let awake = [expiry, breaks, backlog].into_iter().flatten().min();
        let awake = awake.map(|at| at.saturating_add(self.stalled));
        let drain = self.drain.peek().map(|Reverse((at, _))| *at);
        [awake, drain].into_iter().flatten().min()
    }

    /// A registration begins: `drain_in_s` may be negative, infinite or absurd.
    pub(super) fn watch(&mut self, slot: Slot, heard: Duration, drain_in_s: f64, now: Now) {
        self.expiry
            .push(Reverse((heard.saturating_add(self.threshold), slot)));
        if let Ok(drain_in) = Duration::try_from_secs_f64(drain_in_s.max(0.0)) {
            self.drain
                .push(Reverse((now.monotonic.saturating_add(drain_in), slot)));
        }
    }

    /// Whoever registers without end must not make deadlines pile up that are far away: those of
    /// registrations that have ended, or of a connection or a doubt before the present one, go.
    pub(super) fn sweep(&mut self, silence: impl Fn(Slot) -> Option<Silence>) {
        let entries = |all: &Self| all.expiry.len() + all.drain.len() + all.breaks.len();
        if entries(self) <= self.sweep_above {
            return;
        }
        self.expiry
            .retain(|Reverse((_, slot))| silence(*slot).is_some());
        self.drain
            .retain(|Reverse((_, slot))| silence(*slot).is_some());
        self.breaks.retain(
            |Reverse((_, overdue))| match (silence(overdue.slot()), overdue) {
                (Some(known), Overdue::Disconnected { since, .. }) => {
                    known.suspect_since == Some(*since)
                }
                (Some(known), Overdue::InDoubt { at, .. }) => known.doubts_watched == Some(*at),
                (Some(_), Overdue::Silent(_)) => true,
                (None, _) => false,
            },
        );
        self.sweep_above = (2 * entries(self)).max(ENTRIES_UNSWEPT_MIN);
    }

    /// A manager has no connection any more, from now on (awake clock).
    pub(super) fn watch_suspect(&mut self, slot: Slot, since: Duration) {
        if let Some(grace) = self.grace {
            let ends = since.saturating_add(grace);
            let overdue = Overdue::Disconnected { slot, since };
            self.breaks.push(Reverse((ends, overdue)));
        }
    }

    /// A manager has a task in doubt until then (awake clock).
    pub(super) fn watch_doubts(&mut self, slot: Slot, at: Duration) {
        self.breaks
            .push(Reverse((at, Overdue::InDoubt { slot, at })));
    }

    pub(super) fn workers_empty(&mut self, now: Now) {
        self.workers_empty_at = self.awake(now);
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
        Some(gap)
    }

    pub(super) fn pop_drain_due(&mut self, now: Now) -> Option<Slot> {
        let Reverse((at, slot)) = *self.drain.peek()?;
        if at > now.monotonic {
            return None;
        }
        self.drain.pop();
        Some(slot)
    }

    /// Who is to be given up, or what of whom. `silence` gives None for a manager that is gone.
    pub(super) fn overdue(&mut self, now: Now, silence: impl Fn(Slot) -> Option<Silence>) -> Due {
        let awake = self.awake(now);
        self.collect_overdue(awake);
        if self.overdue.is_empty() {
            return Due::default();
        }
        let backlog_too_long = awake >= self.backlog_end();
        let heard_out = match backlog_too_long {
            true => awake,
            false => self.workers_empty_at,
        };
        let mut due = Due::default();
        let mut waiting = Vec::new();
        for overdue in std::mem::take(&mut self.overdue) {
            let slot = overdue.slot();
            let Some(deadline) = silence(slot).and_then(|known| self.deadline(overdue, known))
            else {
                continue;
            };
            if deadline > awake {
                self.watch_again(overdue, deadline);
            } else if heard_out < deadline {
                waiting.push(overdue);
            } else if matches!(overdue, Overdue::InDoubt { .. }) {
                due.doubts.push((slot, heard_out));
            } else {
                due.lost.push(slot);
            }
        }
        self.overdue = waiting;
        due
    }

    fn collect_overdue(&mut self, awake: Duration) {
        while let Some(Reverse((at, slot))) = self.expiry.peek().copied()
            && at <= awake
        {
            self.expiry.pop();
            self.overdue.push(Overdue::Silent(slot));
        }
        while let Some(Reverse((at, overdue))) = self.breaks.peek().copied()
            && at <= awake
        {
            self.breaks.pop();
            self.overdue.push(overdue);
        }
    }

    /// By when the manager has to be heard, as things stand now. None if the entry is void.
    fn deadline(&self, overdue: Overdue, known: Silence) -> Option<Duration> {
        match overdue {
            Overdue::Silent(_) => Some(known.last_heard.saturating_add(self.threshold)),
            Overdue::Disconnected { since, .. } => {
                if known.suspect_since != Some(since) {
                    return None;
                }
                // What it said before its connection closed may be read long after.
                let last_sign = since.max(known.last_heard);
                Some(last_sign.saturating_add(self.grace?))
            }
            Overdue::InDoubt { at, .. } => {
                // Without a connection no result can come. Once there is one, it is looked at anew.
                let is_connected = known.suspect_since.is_none();
                (is_connected && known.doubts_watched == Some(at)).then_some(at)
            }
        }
    }

    fn watch_again(&mut self, overdue: Overdue, deadline: Duration) {
        match overdue {
            Overdue::Silent(slot) => self.expiry.push(Reverse((deadline, slot))),
            Overdue::Disconnected { .. } | Overdue::InDoubt { .. } => {
                self.breaks.push(Reverse((deadline, overdue)));
            }
        }
    }

    fn backlog_end(&self) -> Duration {
        self.workers_empty_at
            .saturating_add(self.threshold.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn deadlines_of_those_who_are_gone_do_not_pile_up() {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_s: 0.0,
        };
        let mut liveness = Liveness::new(LONG, Some(LONG), now);
        for number in 0..20_000 {
            let slot = Slot::numbered(number);
            liveness.watch(slot, Duration::ZERO, 1e9, now);
            liveness.watch_suspect(slot, Duration::ZERO);
            liveness.watch_doubts(slot, LONG);
            let latest = Silence {
                last_heard: Duration::ZERO,
                suspect_since: Some(Duration::ZERO),
                doubts_watched: Some(LONG),
            };
            liveness.sweep(|other| (other == slot).then_some(latest));
            let entries = liveness.expiry.len() + liveness.drain.len() + liveness.breaks.len();
            assert!(entries <= ENTRIES_UNSWEPT_MIN);
            assert!(
                liveness
                    .expiry
                    .iter()
                    .any(|Reverse((_, other))| *other == slot)
            );
            assert!(
                liveness
                    .drain
                    .iter()
                    .any(|Reverse((_, other))| *other == slot)
            );
        }
    }
}
