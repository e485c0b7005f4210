//! Kinds that move to another home. Of hundreds of thousands some move in each turn, so that they
//! hold up nobody; those that are next in order move first.

use std::time::Duration;

use super::{ClassName, Kinds};
use crate::slot::Slot;

/// In one turn so many move: a millisecond or two.
const MOVED_MAX: usize = 4096;

/// It lasts until nothing is left where it begins.
#[derive(Debug)]
pub(super) struct Move {
    from: Origin,
    to: Option<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// All that only this manager could get.
    Home(Slot),
    Class(ClassName),
}

/// How many have moved in this turn.
#[derive(Debug, Default)]
pub(super) struct Moved {
    turn: Duration,
    kinds: usize,
}

impl<B> Kinds<B> {
    /// What only this manager could get may go to any other. Whether there is something.
    pub(crate) fn release(&mut self, slot: Slot) -> bool {
        let has_some = self.bound.contains_key(&slot);
        let from = Origin::Home(slot);
        if has_some && self.moves.iter().all(|other| other.from != from) {
            self.moves.push_back(Move { from, to: None });
        }
        has_some
    }

    /// No manager can hold a task of this class, or one can again.
    pub(crate) fn move_class(&mut self, name: ClassName, to: Option<Slot>) {
        if let Some(class) = self.find_mut(name)
            && !std::mem::replace(&mut class.is_moving, true)
        {
            let from = Origin::Class(name);
            self.moves.push_back(Move { from, to });
        }
    }

    /// Whether some have not moved yet.
    pub(crate) fn are_moving(&self) -> bool {
        !self.moves.is_empty()
    }

    /// Moves as many as a turn may. Whether there were such that managers may get now. `turn`: its
    /// time.
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

    /// False if nothing is left there.
    fn move_first(&mut self, from: Origin, to: Option<Slot>) -> bool {
        let name = match from {
            Origin::Class(name) => Some(name),
            Origin::Home(slot) => self.first_class_of(slot),
        };
        let Some(class) = name.and_then(|name| self.find(name)) else {
            return false;
        };
        // Where the home alone is another one, the log has been told of something else.
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
