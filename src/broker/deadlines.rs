//! All deadlines of managers: when to check which manager, and for what. Each manager has at most
//! one deadline of a kind. It is replaced when the manager's state changes, and ends with its
//! registration.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use super::slot::Slot;

/// What a deadline checks. Deadlines that are due in one turn are handled in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The manager reaches its drain time.
    Drain,
    /// The manager has had no connection for a while: the transport is asked for one.
    Ask,
    /// The manager is lost, unless it was heard since. Each message defers this deadline without an
    /// update here; all other kinds are updated.
    Silence,
    /// The manager's grace is over: it is lost if the transport still has no connection to it.
    Grace,
    /// The first of the manager's tasks in doubt is given up.
    Doubt,
}

impl What {
    /// Whether an unread message of the manager could change the outcome, so that the deadline must
    /// be heard out.
    pub(super) fn is_heard_out(self) -> bool {
        match self {
            Self::Drain | Self::Ask => false,
            Self::Silence | Self::Grace | Self::Doubt => true,
        }
    }
}

/// When, which manager, and for what.
pub(super) type Entry = (Duration, Slot, What);

#[derive(Default)]
pub(super) struct Deadlines {
    by_time: BTreeSet<Entry>,
    times: BTreeMap<(Slot, What), Duration>,
    /// The earliest deadline, cached because it is read several times a turn.
    first: Option<Duration>,
}

impl Deadlines {
    /// Sets the deadline of this kind; None removes it.
    pub(super) fn set(&mut self, slot: Slot, what: What, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.times.insert((slot, what), at),
            None => self.times.remove(&(slot, what)),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, slot, what));
        }
        if let Some(at) = at {
            self.by_time.insert((at, slot, what));
        }
        self.first = self.by_time.first().map(|(at, ..)| *at);
    }

    /// Removes the deadlines of a manager whose registration has ended.
    pub(super) fn forget(&mut self, slot: Slot) {
        let of_slot = self.times.range((slot, What::Drain)..=(slot, What::Doubt));
        let kinds: Vec<What> = of_slot.map(|((_, what), _)| *what).collect();
        for what in kinds {
            self.set(slot, what, None);
        }
    }

    /// Moves all deadlines of one kind earlier by this much.
    pub(super) fn advance(&mut self, kind: What, by: Duration) {
        let of_kind = self.times.iter().filter(|((_, what), _)| *what == kind);
        let of_kind: Vec<(Slot, Duration)> = of_kind.map(|((slot, _), at)| (*slot, *at)).collect();
        for (slot, at) in of_kind {
            self.set(slot, kind, Some(at.saturating_sub(by)));
        }
    }

    pub(super) fn at(&self, slot: Slot, what: What) -> Option<Duration> {
        self.times.get(&(slot, what)).copied()
    }

    pub(super) fn first(&self) -> Option<Duration> {
        self.first
    }

    pub(super) fn first_after(&self, time: Duration) -> Option<Duration> {
        let last = (time, Slot::LAST, What::Doubt);
        let mut later = self.by_time.range((Excluded(last), Unbounded));
        later.next().map(|(at, ..)| *at)
    }

    /// Returns the deadlines up to this time, in order of time.
    pub(super) fn until(&self, time: Duration) -> impl Iterator<Item = &Entry> {
        let is_any = self.first.is_some_and(|first| first <= time);
        let entries = is_any.then(|| self.by_time.iter().take_while(move |(at, ..)| *at <= time));
        entries.into_iter().flatten()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.times.keys().map(|(slot, _)| *slot)
    }
}
