//! Who gets tasks first: by chance, by a rule, or by an answer of the user's own selector.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Manager, Model, Verdict};

/// Who chooses among the managers that may get tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Choice {
    Random,
    GreatestBlock,
    /// Chosen outside, and only when the answer has come.
    Asked,
}

/// An answer of the user's selector is waited for so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What is asked of the user's selector, and what it answers.
#[derive(Default)]
pub(super) struct Round {
    /// A question's number, and when it was asked.
    open: Option<(u64, Duration)>,
    /// The answer that is in use, the best last. None: any order may be.
    order: Option<Vec<String>>,
}

impl Model {
    /// The user's own selector is asked about all that may get tasks, and about nobody else.
    pub(crate) fn ask_question(&mut self, number: u64, among: &BTreeSet<String>) -> Verdict {
        let able = self.managers.iter().filter(|(_, m)| m.room() > 0);
        let able: BTreeSet<String> = able.map(|(name, _)| name.clone()).collect();
        if self.choice != Choice::Asked || *among != able || able.is_empty() {
            return Err(format!("asked about {among:?}, able are {able:?}"));
        }
        if let Some((open, _)) = self.round.open {
            return Err(format!("question {number} is asked, {open} is open"));
        }
        self.round.open = Some((number, self.now));
        self.round.order = None;
        Ok(())
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_asked(&self) -> bool {
        self.round.open.is_some()
    }

    /// None: it has failed, and managers are taken at random.
    pub(crate) fn answer_question(&mut self, number: u64, order: Option<Vec<String>>) {
        if self.round.open.is_some_and(|(open, _)| open == number) {
            self.round.open = None;
            self.round.order = order;
        }
    }

    /// Its process has ended.
    pub(crate) fn forget_question(&mut self) {
        self.round = Round::default();
    }

    /// Somebody registers, who is not meant by an answer from before, whatever its name.
    pub(super) fn forget_in_order(&mut self, name: &str) {
        if let Some(order) = &mut self.round.order {
            order.retain(|other| other != name);
        }
    }

    /// Before somebody is chosen: no answer is waited for too long, nobody without room is kept in
    /// an order, and an order is for the tasks of its round.
    pub(crate) fn begin_choice(&mut self) {
        if !self.dispatching {
            return;
        }
        let (now, managers) = (self.now, &self.managers);
        let is_over = |(_, asked): (u64, Duration)| asked + ANSWER_WITHIN <= now;
        if self.round.open.is_some_and(is_over) {
            self.round = Round::default();
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

    /// Whether somebody may be the next to get a batch, after `last` in the same turn.
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

    /// Whether there is something to hand out, and somebody to take it. Who is chosen outside may
    /// have to wait until that is done.
    pub(crate) fn could_dispatch(&self) -> bool {
        let is_room = self.managers.values().any(|manager| manager.room() > 0);
        self.dispatching && is_room && !self.waiting.is_empty()
    }
}
