//! Deadlines of the whole run, as opposed to those of single managers. A turn in which none is due
//! costs one comparison.

use std::time::Duration;

/// What a deadline of the run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookFor {
    /// Tasks that no manager can hold.
    Unmet,
    /// Kinds that move to another home.
    Moves,
    /// Managers that fail every task.
    Failing,
    /// Status reports that the executor is sent without a request.
    Observations,
    /// Managers that still work when the submit side is gone.
    Leaving,
    /// The notice to the executor about accepted tasks.
    Accepted,
}

/// The deadlines, on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Looks {
    unmet_at: Option<Duration>,
    moves_at: Option<Duration>,
    failing_at: Option<Duration>,
    observations_at: Option<Duration>,
    leaving_at: Option<Duration>,
    accepted_at: Option<Duration>,
    first: Option<Duration>,
}

impl Looks {
    pub(super) fn first(&self) -> Option<Duration> {
        self.first
    }

    pub(super) fn at(&self, look: LookFor) -> Option<Duration> {
        match look {
            LookFor::Unmet => self.unmet_at,
            LookFor::Moves => self.moves_at,
            LookFor::Failing => self.failing_at,
            LookFor::Observations => self.observations_at,
            LookFor::Leaving => self.leaving_at,
            LookFor::Accepted => self.accepted_at,
        }
    }

    pub(super) fn is_due(&self, look: LookFor, now: Duration) -> bool {
        self.at(look).is_some_and(|at| at <= now)
    }

    /// Sets a deadline, in place of an earlier one. None removes it.
    pub(super) fn set(&mut self, look: LookFor, at: Option<Duration>) {
        match look {
            LookFor::Unmet => self.unmet_at = at,
            LookFor::Moves => self.moves_at = at,
            LookFor::Failing => self.failing_at = at,
            LookFor::Observations => self.observations_at = at,
            LookFor::Leaving => self.leaving_at = at,
            LookFor::Accepted => self.accepted_at = at,
        }
        let all = [
            self.unmet_at,
            self.moves_at,
            self.failing_at,
            self.observations_at,
            self.leaving_at,
            self.accepted_at,
        ];
        self.first = all.into_iter().flatten().min();
    }

    /// Sets a deadline, unless an earlier one is set.
    pub(super) fn advance(&mut self, look: LookFor, at: Duration) {
        let at = self.at(look).map_or(at, |before| before.min(at));
        self.set(look, Some(at));
    }
}
