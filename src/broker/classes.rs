//! Kinds of tasks in classes: what is in one class fits a manager alike, so that a million tasks
//! that fit nowhere are passed by in one step.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use slab::Slab;

use super::demand::{Amounts, Demand, Fit, Room};
use super::lane::Key;
use protocol::{NodeNeeds, Routing};

/// The kinds that any manager may get, or those that a certain one must get.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: Slab<Class>,
    by_traits: HashMap<Traits, usize, RandomState>,
    /// By the first task of each.
    order: BTreeSet<(Key, usize)>,
    by_type: HashMap<Rc<str>, BTreeSet<(Key, usize)>, RandomState>,
    tasks: usize,
    issued: u64,
}

/// Names one class for as long as it has tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassId {
    place: usize,
    issue: u64,
}

/// All that decides whether a task fits.
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
    /// By the first task of each.
    kinds: BTreeSet<(Key, usize)>,
    pub(super) tasks: usize,
    demand: Rc<Demand>,
    /// Since when others go before its first task, out of turn: monotonic clock.
    pub(super) passed_since: Option<Duration>,
    /// The log has been told that it fits no manager.
    pub(super) is_told: bool,
    /// All its kinds are to have another home.
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

    /// The one whose next task comes first, first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Key, ClassId)> {
        self.order.iter().map(|entry| self.named(entry))
    }

    /// The same of one type.
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

    /// A kind of so many tasks, the first of which has this key. Returns its class, and whether it
    /// may fit where nothing did before.
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

    /// And so many tasks with it.
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

    /// How many tasks are in all of them.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// Whether tasks that ask for the same are here.
    pub(super) fn has_like(&self, demand: &Demand) -> bool {
        self.by_traits.contains_key(&Traits::of(demand))
    }

    /// The class has so many tasks more.
    pub(super) fn count(&mut self, place: usize, more: isize) {
        let tasks = &mut self.classes[place].tasks;
        *tasks = tasks.saturating_add_signed(more);
        self.tasks = self.tasks.saturating_add_signed(more);
    }

    /// Another task of the kind is its first.
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

    /// Changes a class's kinds, and its place in the order where that is another one then.
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
    /// The key of its first task.
    pub(super) fn first(&self) -> Option<Key> {
        self.kinds.first().map(|(key, _)| *key)
    }

    /// What one of its kinds asks for.
    pub(super) fn demand(&self) -> &Rc<Demand> {
        &self.demand
    }

    /// Its kinds, the one whose next task comes first, first.
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
