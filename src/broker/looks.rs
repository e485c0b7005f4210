//! When the run is looked at as a whole, apart from what is due of each manager. A turn in which
//! nothing is due asks once.

use std::time::Duration;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookFor {
    /// Tasks that no manager can hold.
    Unmet,
    /// Kinds that are to have another home.
    Moves,
    /// Managers that fail everything.
    Failing,
    /// What the executor is to be told without asking.
    Observations,
    /// Managers that still work when the submit side is gone.
    Leaving,
    /// What the executor is to be told of tasks that were accepted.
    Accepted,
}

/// On the monotonic clock.
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

    /// Instead of the time before. None: not any more.
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

    /// At that time, unless it is done sooner.
    pub(super) fn advance(&mut self, look: LookFor, at: Duration) {
        let at = self.at(look).map_or(at, |before| before.min(at));
        self.set(look, Some(at));
    }
}
