//! Which manager gets tasks first. The decision is made by one of the interchange's policies, or by
//! the user's own selector in another process, which is sent questions and returns answers.

use super::Broker;
use super::anomaly::Anomaly;
use super::now::Now;
use super::output::Output;
use super::selector::{Candidate, RandomSelector, Selector};
use super::slot::Slot;
use super::user_selector::{NextQuestion, Overdue, UserSelector};
use protocol::{ManagerId, NodeInfo, SelectorAnswer, SelectorQuestion};

/// The policy that decides which manager gets tasks first.
pub(super) enum Policy {
    /// One of the interchange's policies, which decides at once.
    Own(Own),
    Asked(Box<UserSelector>),
}

/// A selector of all managers with room and, once tasks have requirements, a second one of those
/// that are not set aside.
pub(super) struct Own {
    all: Box<dyn Selector>,
    hopeful: Option<Box<dyn Selector>>,
    /// Whether the selector limits how many slots the best manager gets before another one is
    /// better.
    shares: bool,
}

/// The managers that the best one is chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// All managers with room: a task without requirements fits any of them.
    All,
    /// The managers that are not set aside, so that some queued task may fit them.
    Hopeful,
}

impl Own {
    pub(super) fn new(selector: Box<dyn Selector>) -> Self {
        Self {
            shares: selector.shares(),
            all: selector,
            hopeful: None,
        }
    }

    fn among(&self, among: Among) -> &dyn Selector {
        match (among, &self.hopeful) {
            (Among::Hopeful, Some(hopeful)) => hopeful.as_ref(),
            (Among::All, _) | (Among::Hopeful, None) => self.all.as_ref(),
        }
    }

    fn withdraw(&mut self, slot: Slot) {
        self.all.withdraw(slot);
        if let Some(hopeful) = &mut self.hopeful {
            hopeful.withdraw(slot);
        }
    }
}

impl Policy {
    pub(super) fn offer(&mut self, candidate: Candidate<'_>) {
        match self {
            Self::Own(own) => {
                own.all.offer(candidate);
                if let Some(hopeful) = &mut own.hopeful {
                    hopeful.offer(candidate);
                }
            }
            Self::Asked(user) => user.offer(candidate),
        }
    }

    pub(super) fn withdraw(&mut self, slot: Slot) {
        match self {
            Self::Own(own) => own.withdraw(slot),
            Self::Asked(user) => user.withdraw(slot),
        }
    }

    /// Removes a manager whose registration has ended.
    pub(super) fn forget(&mut self, slot: Slot, id: &ManagerId) {
        match self {
            Self::Own(own) => own.withdraw(slot),
            Self::Asked(user) => user.forget(slot, id),
        }
    }

    /// Notes a change in the manager's record that only a user's selector looks at.
    pub(super) fn note_change(&mut self, slot: Slot) {
        if let Self::Asked(user) = self {
            user.note_change(slot);
        }
    }

    /// Starts the selector of managers that are not set aside. Returns false if that selector
    /// exists already, or if a user's selector decides.
    pub(super) fn begin_to_set_aside(&mut self) -> bool {
        match self {
            Self::Own(own) if own.hopeful.is_none() => {
                own.hopeful = Some(own.all.another());
                true
            }
            Self::Own(_) | Self::Asked(_) => false,
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Whether a manager that has room must be offered again when its room changes.
    #[inline]
    pub(super) fn follows_load(&self) -> bool {
        match self {
            Self::Own(own) => own.shares,
            Self::Asked(_) => true,
        }
    }

    /// Sets a manager aside, because no queued task fits it. (A user's selector has only one list
    /// of managers.)
    pub(super) fn set_aside(&mut self, slot: Slot) {
        match self {
            Self::Own(own) => {
                if let Some(hopeful) = &mut own.hopeful {
                    hopeful.withdraw(slot);
                }
            }
            Self::Asked(user) => user.withdraw(slot),
        }
    }

    /// Returns how many slots the best manager may be given before another one may be better.
    pub(super) fn share(&self, among: Among) -> usize {
        match self {
            Self::Own(own) if own.shares => own.among(among).share(),
            Self::Own(_) | Self::Asked(_) => usize::MAX,
        }
    }

    pub(super) fn best(&mut self, now: Now, among: Among) -> Option<Slot> {
        match self {
            Self::Own(Own {
                hopeful: Some(hopeful),
                ..
            }) if among == Among::Hopeful => hopeful.best(),
            Self::Own(own) => own.all.best(),
            Self::Asked(user) => user.best(now.monotonic),
        }
    }

    /// Returns the best manager for which `holds` is true, and how many slots it may be given
    /// before another of these may be better. Returns None for a user's selector, which lists only
    /// managers that are not set aside.
    pub(super) fn best_of(&mut self, mut holds: impl FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        match self {
            Self::Own(own) => own.all.best_of(&mut holds),
            Self::Asked(_) => None,
        }
    }

    /// Whether [`Self::best`] would return a manager.
    pub(super) fn has_best(&self, among: Among) -> bool {
        match self {
            Self::Own(own) => !own.among(among).is_empty(),
            Self::Asked(user) => user.has_best(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<std::time::Duration> {
        match self {
            Self::Own(_) => None,
            Self::Asked(user) => user.next_deadline(),
        }
    }
}

impl<B> Broker<B> {
    /// Switches to a user's selector: managers are ranked outside, by [`Output::Rank`] and
    /// [`Self::handle_answer`]. Call it before the first manager registers.
    pub fn ask_for_order(&mut self, seed: u64, now: Now) {
        self.policy = Policy::Asked(Box::new(UserSelector::new(seed, now.monotonic)));
    }

    /// Takes in an answer of the user's selector.
    pub fn handle_answer(&mut self, answer: SelectorAnswer, now: Now) {
        let Policy::Asked(user) = &mut self.policy else {
            return;
        };
        match answer {
            SelectorAnswer::Loaded => user.loaded(now.monotonic),
            SelectorAnswer::Order { number, managers } => {
                let mut order = Vec::with_capacity(managers.len());
                for id in managers {
                    match self.managers.slot_of(&id) {
                        Some(slot) => order.push(slot),
                        None => {
                            let fault = format!(
                                "The manager selector returned {id}, which is not a registered \
                                 manager"
                            );
                            self.anomalies
                                .note(&Anomaly::Selector { fault: &fault }, now);
                        }
                    }
                }
                user.answer(number, order);
            }
            SelectorAnswer::Failed {
                number: 0,
                traceback,
            } => {
                self.give_up_asking(&format!("it cannot be loaded: {traceback}"));
            }
            SelectorAnswer::Failed { number, traceback } => {
                let fault = format!(
                    "The manager selector failed; managers are chosen at random this time: \
                     {traceback}"
                );
                self.anomalies
                    .note(&Anomaly::Selector { fault: &fault }, now);
                user.answer_at_random(number);
            }
        }
    }

    /// Notes that the process that runs the selector has ended and was restarted.
    pub fn handle_asked_again(&mut self, now: Now) {
        codes::log!(
            SELECTOR_RESTARTED,
            "The manager selector's process has ended; restarting it once"
        );
        if let Policy::Asked(user) = &mut self.policy {
            user.start_again(now.monotonic);
        }
    }

    /// Replaces the user's selector by a random one, because it can no longer be asked.
    pub fn give_up_asking(&mut self, why: &str) {
        let own = Policy::Own(Own::new(Box::new(RandomSelector::new(0))));
        match std::mem::replace(&mut self.policy, own) {
            Policy::Asked(user) => {
                codes::log!(
                    SELECTOR_ABANDONED,
                    "Disabling the manager selector, choosing managers at random: {why}"
                );
                self.policy = Policy::Own(Own::new(Box::new(user.into_random())));
                self.begin_to_set_aside();
            }
            own => self.policy = own,
        }
    }

    /// Replaces an overdue answer by a random order.
    pub(super) fn stop_waiting_if_overdue(&mut self, now: Now) {
        let Policy::Asked(user) = &mut self.policy else {
            return;
        };
        match user.overdue(now.monotonic) {
            None => {}
            Some(Overdue::Loading) => self.give_up_asking("it was not loaded in time"),
            Some(Overdue::Answer) => {
                let fault =
                    "The manager selector took too long; managers are chosen at random this time";
                self.anomalies.note(&Anomaly::Selector { fault }, now);
                user.stop_waiting();
            }
        }
    }

    /// Asks the user's selector, if there is something to decide and no question is open.
    #[inline]
    pub(super) fn ask_if_needed(&mut self, now: Now) {
        if self.policy.is_asked() {
            self.ask_user_if_needed(now);
        }
    }

    fn ask_user_if_needed(&mut self, now: Now) {
        let Policy::Asked(user) = &mut self.policy else {
            return;
        };
        if !self.queue.has_work() {
            user.end_round(now.monotonic);
        } else if let Some(next) = user.ask(now.monotonic) {
            let question = self.question(next, now);
            self.outputs.push_back(Output::Rank(question));
        }
    }

    fn question(&self, next: NextQuestion, now: Now) -> SelectorQuestion<B> {
        let record = |slot: Slot| -> Option<(ManagerId, NodeInfo<B>)> {
            let manager = self.managers.find(slot)?;
            Some((manager.id.clone(), manager.info(now)))
        };
        let id = |slot: Slot| self.managers.find(slot).map(|manager| manager.id.clone());
        SelectorQuestion {
            number: next.number,
            joined: next.joined.into_iter().filter_map(record).collect(),
            changed: next.changed.into_iter().filter_map(record).collect(),
            gone: next.gone,
            candidates: next.candidates.into_iter().filter_map(id).collect(),
        }
    }
}
