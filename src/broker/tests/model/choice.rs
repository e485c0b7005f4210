//! Which manager gets tasks first: by chance, by a rule, or by an answer of the user's own
//! selector.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Manager, Model, Verdict};

/// How a manager is chosen among those that may get tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Choice {
    Random,
    GreatestBlock,
    /// By the user's own selector, outside, once its answer has arrived.
    Asked,
}

/// How long an answer of the user's selector is awaited.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The open question to the user's selector, and its last answer.
#[derive(Default)]
pub(super) struct Round {
    /// The question's number, and when it was asked.
    open: Option<(u64, Duration)>,
    /// The number of the question that the selector has not answered, in time or not.
    owed: Option<u64>,
    /// The answer in use, the best last. None: any order is allowed.
    order: Option<Vec<String>>,
}

impl Model {
    /// Checks that the user's own selector is asked about exactly the managers that may get tasks.
    pub(crate) fn ask_question(&mut self, number: u64, among: &BTreeSet<String>) -> Verdict {
        let able = self.managers.iter().filter(|(_, m)| m.room() > 0);
        let able: BTreeSet<String> = able.map(|(name, _)| name.clone()).collect();
        if self.choice != Choice::Asked || *among != able || able.is_empty() {
            return Err(format!("asked about {among:?}, able are {able:?}"));
        }
        if let Some(owed) = self.round.owed {
            return Err(format!("question {number} is asked, {owed} has no answer"));
        }
        self.round = Round {
            open: Some((number, self.now)),
            owed: Some(number),
            order: None,
        };
        Ok(())
    }

    /// Whether an answer is awaited. An earlier round's is, too, before the next question.
    pub(crate) fn is_asked(&self) -> bool {
        self.round.owed.is_some()
    }

    /// Handles an answer. None: the selector has failed, and managers are taken at random.
    pub(crate) fn answer_question(&mut self, number: u64, order: Option<Vec<String>>) {
        if self.round.owed == Some(number) {
            self.round.owed = None;
        }
        if self.round.open.is_some_and(|(open, _)| open == number) {
            self.round.open = None;
            self.round.order = order;
        }
    }

    /// Forgets the question, because the selector's process has ended.
    pub(crate) fn forget_question(&mut self) {
        self.round = Round::default();
    }

    /// Removes a manager that registers again from an earlier answer, which did not mean this
    /// registration.
    pub(super) fn forget_in_order(&mut self, name: &str) {
        if let Some(order) = &mut self.round.order {
            order.retain(|other| other != name);
        }
    }

    /// Prepares a choice: an overdue question is closed, managers without room leave the order, and
    /// an order ends with the tasks of its round.
    pub(crate) fn begin_choice(&mut self) {
        if !self.dispatching {
            return;
        }
        let (now, managers) = (self.now, &self.managers);
        let is_over = |(_, asked): (u64, Duration)| asked + ANSWER_WITHIN <= now;
        if self.round.open.is_some_and(is_over) {
            self.round.open = None;
        }
        if self.waiting.is_empty() {
            self.round.order = None;
        }
        if let Some(order) = &mut self.round.order {
            let has_room = |name: &String| managers.get(name).is_some_and(|m| m.room() > 0);
            while order.last().is_some_and(|name| !has_room(name)) {
                order.pop();
            }
        }
    }

    /// Checks that `to` may get the next batch, after `last` in the same turn.
    pub(crate) fn check_recipient(&self, to: &str, last: Option<&str>) -> Verdict {
        if !self.dispatching || self.waiting.is_empty() {
            return Err(format!("{to} is to get tasks, and none may leave"));
        }
        let room = self.managers.get(to).map_or(0, Manager::room);
        if room == 0 {
            return Err(format!("{to} is to get tasks, and may get none"));
        }
        let able = self.managers.values().filter(|m| m.room() > 0);
        let greatest = able.map(|m| &m.account.block).max();
        if self.choice == Choice::GreatestBlock && greatest > Some(&self.managers[to].account.block)
        {
            return Err(format!("{to} is to get tasks, a greater block has room"));
        }
        let last = last.filter(|last| self.managers[*last].room() > 0);
        if self.choice != Choice::Random && last.is_some_and(|last| last != to) {
            return Err(format!("{to} is to get tasks, {last:?} has room still"));
        }
        match &self.round.order {
            Some(order) if order.last().is_none_or(|first| first != to) => {
                Err(format!("{to} is to get tasks, the order is {order:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a task to dispatch and a manager with room. A user's selector may still
    /// have to choose first.
    pub(crate) fn could_dispatch(&self) -> bool {
        let is_room = self.managers.values().any(|manager| manager.room() > 0);
        self.dispatching && is_room && !self.waiting.is_empty()
    }
}
