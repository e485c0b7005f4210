//! Kinds that move to another home. If there are hundreds of thousands, each turn moves only some
//! of them, so that it does not block tasks. Kinds that are next in order move first.

use std::time::Duration;

use super::{ClassName, Kinds};
use crate::slot::Slot;

/// Most kinds that move in one turn, which takes a millisecond or two.
const MOVED_MAX: usize = 4096;

/// A move under way. It lasts until nothing is left at its origin.
#[derive(Debug)]
pub(super) struct Move {
    from: Origin,
    to: Option<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// All kinds that only this manager could get.
    Home(Slot),
    Class(ClassName),
}

/// Number of kinds that have moved in this turn.
#[derive(Debug, Default)]
pub(super) struct Moved {
    turn: Duration,
    kinds: usize,
}

impl<B> Kinds<B> {
    /// Lets all managers get the kinds that were bound to this manager. Returns whether there are
    /// any.
    pub(crate) fn release(&mut self, slot: Slot) -> bool {
        let has_some = self.bound.contains_key(&slot);
        let from = Origin::Home(slot);
        if has_some && self.moves.iter().all(|other| other.from != from) {
            self.moves.push_back(Move { from, to: None });
        }
        has_some
    }

    /// Moves a class to another home, because no manager can hold its tasks, or because one can
    /// again.
    pub(crate) fn move_class(&mut self, name: ClassName, to: Option<Slot>) {
        if let Some(class) = self.find_mut(name)
            && !std::mem::replace(&mut class.is_moving, true)
        {
            let from = Origin::Class(name);
            self.moves.push_back(Move { from, to });
        }
    }

    /// Whether some kinds have not moved yet.
    pub(crate) fn are_moving(&self) -> bool {
        !self.moves.is_empty()
    }

    /// Moves as many kinds as one turn may. Returns whether managers may now get any of them.
    /// `turn`: the time of the turn.
    pub(crate) fn move_some(&mut self, turn: Duration) -> bool {
        if self.moved.turn != turn {
            self.moved = Moved { turn, kinds: 0 };
        }
        let mut is_news = false;
        while self.moved.kinds < MOVED_MAX
            && let Some(Move { from, to }) = self.moves.front()
        {
            let (from, to) = (*from, *to);
            if self.move_first(from, to) {
                self.moved.kinds += 1;
                is_news |= !to.is_some_and(Slot::is_nobody);
            } else {
                self.moves.pop_front();
            }
        }
        is_news
    }

    /// Moves one kind. Returns false if nothing is left at the origin.
    fn move_first(&mut self, from: Origin, to: Option<Slot>) -> bool {
        let name = match from {
            Origin::Class(name) => Some(name),
            Origin::Home(slot) => self.first_class_of(slot),
        };
        let Some(class) = name.and_then(|name| self.find(name)) else {
            return false;
        };
        // If only the home changes, the log's last entry about the class had another reason.
        let is_told = class.is_told && matches!(from, Origin::Class(_));
        let Some(kind) = class.kinds().next() else {
            return false;
        };
        self.move_to(kind, to);
        let class = self.kinds[kind].class;
        if let Some(class) = self.classes_mut(to).at_mut(class) {
            class.is_told |= is_told;
        }
        true
    }

    fn first_class_of(&self, slot: Slot) -> Option<ClassName> {
        let (_, id) = self.bound.get(&slot)?.in_order().next()?;
        let home = Some(slot);
        Some(ClassName { home, id })
    }
}
