//! A user's selector in Python, which runs in another process. It is sent questions, and its
//! answers are awaited.
//!
//! One question is open at a time, and its answer is one round: the list is consumed from its end,
//! as in Parsl, each manager once. If an answer fails or takes too long, only its round is
//! affected: its managers are taken at random. The selector is sent no question before it has
//! answered the last one, however late, so questions never pile up; rounds until then are taken at
//! random, too.

use std::collections::BTreeSet;
use std::time::Duration;

use super::selector::{Candidate, RandomSelector, Selector};
use super::slot::Slot;
use protocol::ManagerId;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long loading the selector may take: it imports all that the user's module imports.
const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// The pause before the next question after a round that placed nothing.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct UserSelector {
    state: State,
    /// The number of the last question.
    number: u64,
    /// Whether the selector still has to answer it.
    owes: bool,
    offered: BTreeSet<Slot>,
    /// Managers whose records have changed since the selector's process was last sent them.
    changed: BTreeSet<Slot>,
    told: BTreeSet<Slot>,
    gone: Vec<ManagerId>,
    random: RandomSelector,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Waiting for the selector to report that it is loaded.
    Loading { until: Duration },
    /// Free to be asked from this time on.
    Idle { from: Duration },
    /// A question is open. If it is not `fresh`, the last one is, whose round is over: its answer
    /// only shows that the selector is free again.
    Asked { until: Duration, fresh: bool },
    /// The managers in the order of the answer; the best is last.
    Answered { order: Vec<Slot>, placed: bool },
}

/// What the selector's process has not done in time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Overdue {
    Loading,
    Answer,
}

/// The content of the next question: the candidates, and the records that are new to the selector's
/// process.
pub(super) struct NextQuestion {
    pub(super) number: u64,
    pub(super) joined: Vec<Slot>,
    pub(super) changed: Vec<Slot>,
    pub(super) gone: Vec<ManagerId>,
    pub(super) candidates: Vec<Slot>,
}

impl UserSelector {
    pub(super) fn new(seed: u64, now: Duration) -> Self {
        Self {
            state: State::Loading {
                until: now + LOADED_WITHIN,
            },
            number: 0,
            owes: false,
            offered: BTreeSet::new(),
            changed: BTreeSet::new(),
            told: BTreeSet::new(),
            gone: Vec::new(),
            random: RandomSelector::new(seed),
        }
    }

    pub(super) fn offer(&mut self, candidate: Candidate<'_>) {
        self.offered.insert(candidate.slot);
        self.changed.insert(candidate.slot);
        self.random.offer(candidate);
    }

    pub(super) fn withdraw(&mut self, slot: Slot) {
        self.offered.remove(&slot);
        self.changed.insert(slot);
        self.random.withdraw(slot);
    }

    /// Removes a manager whose registration has ended.
    pub(super) fn forget(&mut self, slot: Slot, id: &ManagerId) {
        self.withdraw(slot);
        self.changed.remove(&slot);
        if self.told.remove(&slot) {
            self.gone.push(id.clone());
        }
    }

    /// Notes a change in a manager's record.
    pub(super) fn note_change(&mut self, slot: Slot) {
        self.changed.insert(slot);
    }

    /// Returns the next manager of this round: the same one until it has no room left.
    pub(super) fn best(&mut self, now: Duration) -> Option<Slot> {
        let State::Answered { order, placed } = &mut self.state else {
            return None;
        };
        while let Some(slot) = order.last() {
            if self.offered.contains(slot) {
                *placed = true;
                return Some(*slot);
            }
            order.pop();
        }
        let from = if *placed { now } else { now + PAUSE };
        self.state = State::Idle { from };
        None
    }

    pub(super) fn has_best(&self) -> bool {
        let is_offered = |slot: &Slot| self.offered.contains(slot);
        matches!(&self.state, State::Answered { order, .. } if order.iter().any(is_offered))
    }

    /// Ends the round when the queue is empty: the rest of its order is not used for later tasks.
    pub(super) fn end_round(&mut self, now: Duration) {
        if matches!(self.state, State::Answered { .. }) {
            self.state = State::Idle { from: now };
        }
    }

    /// Returns the next question, if it is time to ask. The question is open from then on.
    pub(super) fn ask(&mut self, now: Duration) -> Option<NextQuestion> {
        match self.state {
            State::Idle { from } if from <= now && !self.offered.is_empty() => {}
            State::Idle { .. }
            | State::Loading { .. }
            | State::Asked { .. }
            | State::Answered { .. } => return None,
        }
        self.state = State::Asked {
            until: now + ANSWER_WITHIN,
            fresh: !self.owes,
        };
        if self.owes {
            return None;
        }
        self.owes = true;
        self.number += 1;
        let changed = std::mem::take(&mut self.changed);
        let (changed, joined) = changed
            .into_iter()
            .partition(|slot| self.told.contains(slot));
        let next = NextQuestion {
            number: self.number,
            joined,
            changed,
            gone: std::mem::take(&mut self.gone),
            candidates: self.offered.iter().copied().collect(),
        };
        self.told.extend(&next.joined);
        Some(next)
    }

    /// Notes that the selector is loaded.
    pub(super) fn loaded(&mut self, now: Duration) {
        if matches!(self.state, State::Loading { .. }) {
            self.state = State::Idle { from: now };
        }
    }

    /// Takes in the selector's answer, best last. An answer that is too late is dropped: a random
    /// order has taken its place.
    pub(super) fn answer(&mut self, number: u64, order: Vec<Slot>) {
        if number != self.number {
            return;
        }
        self.owes = false;
        match self.state {
            State::Asked { fresh: true, .. } => self.begin_round(order),
            State::Asked { fresh: false, .. } => {
                let from = Duration::ZERO;
                self.state = State::Idle { from };
            }
            State::Loading { .. } | State::Idle { .. } | State::Answered { .. } => {}
        }
    }

    /// Takes in that the selector has failed: the answer is a random order.
    pub(super) fn answer_at_random(&mut self, number: u64) {
        let order = self.random_order();
        self.answer(number, order);
    }

    /// Ends the wait for an answer that is overdue: the round is taken at random.
    pub(super) fn stop_waiting(&mut self) {
        let order = self.random_order();
        self.begin_round(order);
    }

    fn begin_round(&mut self, order: Vec<Slot>) {
        self.state = State::Answered {
            order,
            placed: false,
        };
    }

    /// Prepares for a new selector process, which must be sent all records again.
    pub(super) fn start_again(&mut self, now: Duration) {
        self.changed.extend(std::mem::take(&mut self.told));
        self.gone.clear();
        self.owes = false;
        self.state = State::Loading {
            until: now + LOADED_WITHIN,
        };
    }

    /// Returns what is overdue.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<Overdue> {
        match self.state {
            State::Asked { until, .. } if until <= now => Some(Overdue::Answer),
            State::Loading { until } if until <= now => Some(Overdue::Loading),
            State::Asked { .. }
            | State::Loading { .. }
            | State::Idle { .. }
            | State::Answered { .. } => None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Asked { until, .. } | State::Loading { until } => Some(until),
            State::Idle { from } if !self.offered.is_empty() => Some(from),
            State::Idle { .. } | State::Answered { .. } => None,
        }
    }

    /// Returns the random selector that replaces this one when it can no longer be asked.
    pub(super) fn into_random(self) -> RandomSelector {
        self.random
    }

    fn random_order(&mut self) -> Vec<Slot> {
        self.random.shuffled()
    }
}
