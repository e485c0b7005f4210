//! Classes of kinds: all tasks of one class fit the same managers. So a million queued tasks that
//! fit nowhere are skipped in one step.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use slab::Slab;

use super::demand::{Amounts, Demand, Fit, Room};
use super::lane::Key;
use protocol::{NodeNeeds, Routing};

/// The classes that any manager may get, or those that are bound to one manager.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: Slab<Class>,
    by_traits: HashMap<Traits, usize, RandomState>,
    /// Classes in order of their first task.
    order: BTreeSet<(Key, usize)>,
    by_type: HashMap<Rc<str>, BTreeSet<(Key, usize)>, RandomState>,
    tasks: usize,
    issued: u64,
}

/// Identifies one class for as long as it has tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassId {
    place: usize,
    issue: u64,
}

/// All properties that decide which managers a task fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Traits {
    amounts: Amounts,
    node: Option<Box<NodeNeeds>>,
    task_type: Option<Rc<str>>,
    routing: Routing,
}

#[derive(Debug)]
pub(super) struct Class {
    traits: Traits,
    issue: u64,
    /// Kinds in order of their first task.
    kinds: BTreeSet<(Key, usize)>,
    pub(super) tasks: usize,
    demand: Rc<Demand>,
    /// Since when later tasks have been dispatched before the first task, out of turn (monotonic
    /// clock).
    pub(super) passed_since: Option<Duration>,
    /// Whether the log already says that the class fits no manager.
    pub(super) is_told: bool,
    /// Whether a move of all its kinds to another home is under way.
    pub(super) is_moving: bool,
}

impl Classes {
    pub(super) fn find(&self, id: ClassId) -> Option<&Class> {
        let class = self.classes.get(id.place)?;
        (class.issue == id.issue).then_some(class)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Class> {
        self.classes.get_mut(place)
    }

    pub(super) fn find_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        let class = self.classes.get_mut(id.place)?;
        (class.issue == id.issue).then_some(class)
    }

    /// Returns the classes in order of their next task.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Key, ClassId)> {
        self.order.iter().map(|entry| self.named(entry))
    }

    /// Returns the classes of one task type, in order of their next task.
    pub(super) fn of_type(&self, task_type: &str) -> impl Iterator<Item = (Key, ClassId)> {
        let classes = self.by_type.get(task_type).into_iter().flatten();
        classes.map(|entry| self.named(entry))
    }

    fn named(&self, (key, place): &(Key, usize)) -> (Key, ClassId) {
        (*key, self.id_of(*place))
    }

    pub(super) fn id_of(&self, place: usize) -> ClassId {
        let issue = self.classes.get(place).map_or(0, |class| class.issue);
        ClassId { place, issue }
    }

    /// Inserts a kind of `tasks` tasks whose first task has this key. Returns the place of its
    /// class, and whether the class is new.
    pub(super) fn insert(
        &mut self,
        kind: usize,
        key: Key,
        demand: &Rc<Demand>,
        tasks: usize,
    ) -> (usize, bool) {
        let traits = Traits::of(demand);
        let (place, is_news) = match self.by_traits.get(&traits) {
            Some(place) => (*place, false),
            None => (self.add(traits, demand), true),
        };
        self.change(place, |kinds| {
            kinds.insert((key, kind));
        });
        self.classes[place].tasks += tasks;
        self.tasks += tasks;
        (place, is_news)
    }

    /// Removes a kind and its `tasks` tasks from a class. Drops the class if it becomes empty.
    pub(super) fn remove(&mut self, place: usize, kind: usize, key: Key, tasks: usize) {
        self.classes[place].tasks -= tasks;
        self.tasks -= tasks;
        self.change(place, |kinds| {
            kinds.remove(&(key, kind));
        });
        let is_empty = self
            .classes
            .get(place)
            .is_some_and(|class| class.kinds.is_empty());
        if is_empty {
            let class = self.classes.remove(place);
            self.by_traits.remove(&class.traits);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Releases the memory of many classes once they are gone, but for the room of `kept`.
    pub(super) fn give_back_room(&mut self, kept: usize) {
        if self.classes.capacity() > kept {
            self.classes.shrink_to_fit();
        }
        self.by_traits.shrink_to(kept);
        self.by_type.shrink_to(kept);
    }

    /// Returns the number of tasks in all classes.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// Whether a class for such tasks exists.
    pub(super) fn has_like(&self, demand: &Demand) -> bool {
        self.by_traits.contains_key(&Traits::of(demand))
    }

    /// Changes the class's number of tasks by `more`.
    pub(super) fn count(&mut self, place: usize, more: isize) {
        let tasks = &mut self.classes[place].tasks;
        *tasks = tasks.saturating_add_signed(more);
        self.tasks = self.tasks.saturating_add_signed(more);
    }

    /// Notes that a kind has another first task.
    pub(super) fn rekey(&mut self, place: usize, kind: usize, before: Key, key: Key) {
        self.change(place, |kinds| {
            kinds.remove(&(before, kind));
            kinds.insert((key, kind));
        });
    }

    fn add(&mut self, traits: Traits, demand: &Rc<Demand>) -> usize {
        self.issued += 1;
        let place = self.classes.insert(Class {
            traits: traits.clone(),
            issue: self.issued,
            kinds: BTreeSet::new(),
            tasks: 0,
            demand: Rc::clone(demand),
            passed_since: None,
            is_told: false,
            is_moving: false,
        });
        self.by_traits.insert(traits, place);
        place
    }

    /// Changes a class's kinds and, if its first task is then another one, its place in the order.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut BTreeSet<(Key, usize)>)) {
        let class = &mut self.classes[place];
        let before = class.first();
        change(&mut class.kinds);
        let after = class.first();
        if before == after {
            return;
        }
        let mut orders = [Some(&mut self.order), None];
        if let Some(task_type) = &class.traits.task_type {
            if !self.by_type.contains_key(task_type) {
                let none = BTreeSet::new();
                self.by_type.insert(Rc::clone(task_type), none);
            }
            orders[1] = self.by_type.get_mut(task_type);
        }
        for order in orders.into_iter().flatten() {
            if let Some(before) = before {
                order.remove(&(before, place));
            }
            if let Some(after) = after {
                order.insert((after, place));
            }
        }
        if let Some(task_type) = &class.traits.task_type
            && self.by_type.get(task_type).is_some_and(BTreeSet::is_empty)
        {
            self.by_type.remove(task_type);
        }
    }
}

impl Class {
    /// Returns the key of the first task.
    pub(super) fn first(&self) -> Option<Key> {
        self.kinds.first().map(|(key, _)| *key)
    }

    /// Returns the demand of one of its kinds.
    pub(super) fn demand(&self) -> &Rc<Demand> {
        &self.demand
    }

    /// Returns the kinds in order of their next task.
    pub(super) fn kinds(&self) -> impl Iterator<Item = usize> {
        self.kinds.iter().map(|(_, kind)| *kind)
    }

    pub(super) fn task_type(&self) -> Option<&Rc<str>> {
        self.traits.task_type.as_ref()
    }

    pub(super) fn fit<B>(&self, room: &Room<'_, B>) -> Fit {
        room.fit(&self.demand)
    }
}

impl Traits {
    fn of(demand: &Demand) -> Self {
        Self {
            amounts: demand.amounts,
            node: demand.needs.node.clone(),
            task_type: demand.task_type.clone(),
            routing: demand.routing,
        }
    }
}
