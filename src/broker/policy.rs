//! Who decides which manager gets tasks first: a policy of ours, or the user's own selector, which
//! is asked outside: questions out, answers in.

use tracing::{error, warn};

use super::Broker;
use super::now::Now;
use super::output::Output;
use super::selector::{Candidate, RandomSelector, Selector};
use super::slot::Slot;
use super::user_selector::{NextQuestion, UserSelector};
use protocol::{ManagerId, NodeInfo, SelectorAnswer, SelectorQuestion};

/// Who decides which manager gets tasks first.
pub(super) enum Policy {
    /// A policy of ours, which decides at once.
    Own(Box<dyn Selector>),
    Asked(Box<UserSelector>),
}

impl Policy {
    pub(super) fn offer(&mut self, candidate: Candidate<'_>) {
        match self {
            Self::Own(selector) => selector.offer(candidate),
            Self::Asked(user) => user.offer(candidate),
        }
    }

    pub(super) fn withdraw(&mut self, slot: Slot) {
        match self {
            Self::Own(selector) => selector.withdraw(slot),
            Self::Asked(user) => user.withdraw(slot),
        }
    }

    /// The registration has ended.
    pub(super) fn forget(&mut self, slot: Slot, id: &ManagerId) {
        match self {
            Self::Own(selector) => selector.withdraw(slot),
            Self::Asked(user) => user.forget(slot, id),
        }
    }

    /// Something in the manager's record has changed that a policy of ours does not look at.
    pub(super) fn note_change(&mut self, slot: Slot) {
        if let Self::Asked(user) = self {
            user.note_change(slot);
        }
    }

    pub(super) fn best(&mut self, now: Now) -> Option<Slot> {
        match self {
            Self::Own(selector) => selector.best(),
            Self::Asked(user) => user.best(now.monotonic),
        }
    }

    /// Whether [`Self::best`] would name somebody.
    pub(super) fn has_best(&self) -> bool {
        match self {
            Self::Own(selector) => !selector.is_empty(),
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
    /// From now on the order of managers is asked for outside, by [`Output::Rank`], and given by
    /// [`Self::handle_answer`]. Said before the first manager registers.
    pub fn ask_for_order(&mut self, seed: u64, now: Now) {
        self.policy = Policy::Asked(Box::new(UserSelector::new(seed, now.monotonic)));
    }

    /// What came back.
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
                        None => warn!("The manager selector names {id}, which is not registered"),
                    }
                }
                // An answer that comes too late has been answered at random.
                let _ = user.answer(number, order);
            }
            SelectorAnswer::Failed {
                number: 0,
                traceback,
            } => {
                self.give_up_asking(&format!("it cannot be loaded: {traceback}"));
            }
            SelectorAnswer::Failed { number, traceback } => {
                warn!("The manager selector failed; managers are taken at random: {traceback}");
                let _ = user.answer_at_random(number);
            }
        }
    }

    /// The process that ran the selector has ended, and another one was started.
    pub fn handle_asked_again(&mut self, now: Now) {
        warn!("The process of the manager selector has ended; it is started once more");
        if let Policy::Asked(user) = &mut self.policy {
            user.start_again(now.monotonic);
        }
    }

    /// The selector cannot be asked any more.
    pub fn give_up_asking(&mut self, why: &str) {
        let own = Policy::Own(Box::new(RandomSelector::new(0)));
        match std::mem::replace(&mut self.policy, own) {
            Policy::Asked(user) => {
                error!(
                    "The manager selector is not used any more, managers are taken at random: \
                        {why}"
                );
                self.policy = Policy::Own(Box::new(user.into_random()));
            }
            own => self.policy = own,
        }
    }

    /// An answer that has not come in time is given at random.
    pub(super) fn stop_waiting_if_overdue(&mut self, now: Now) {
        let Policy::Asked(user) = &mut self.policy else {
            return;
        };
        match user.overdue(now.monotonic) {
            None => {}
            Some(0) => self.give_up_asking("it was not loaded in time"),
            Some(number) => {
                warn!("The manager selector took too long; managers are taken at random this time");
                let _ = user.answer_at_random(number);
            }
        }
    }

    /// Asks, if there is something to decide and nobody is asked already.
    pub(super) fn ask_if_needed(&mut self, now: Now) {
        let Policy::Asked(user) = &mut self.policy else {
            return;
        };
        if self.queue.is_empty() {
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
