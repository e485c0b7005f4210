//! Queued tasks that have requirements. Tasks with the same requirements form one kind, and wait in
//! one lane.

mod moves;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::iter::{self, Peekable};
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use slab::Slab;

use super::classes::{Class, ClassId, Classes};
use super::demand::{Demand, Fit, Missing, Room};
use super::lane::{Key, Lane, QueuedTask};
use super::slot::Slot;
use moves::{Move, Moved};
use protocol::{Affinity, Needs, Routing};

/// How long the first task of a class may be passed over, because it does not fit yet or because a
/// manager prefers the type that it has run. After that, a manager that can hold the task gets
/// nothing that is queued behind it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How many demands are kept for reuse although no queued task has them.
const DEMANDS_KEPT: usize = 256;
/// How many classes of a type that a manager has run are checked for a fit.
const WARM_CLASSES_MAX: usize = 8;

pub(super) struct Kinds<B> {
    kinds: Slab<Kind<B>>,
    demands: HashMap<Rc<Needs>, Shared, RandomState>,
    by_affinity: HashMap<Affinity, Vec<usize>, RandomState>,
    /// Kinds that any manager may get.
    common: Classes,
    /// Kinds that only one manager may get. Kinds that no manager can hold are here too, under the
    /// slots of [`nobody`], which come last.
    bound: BTreeMap<Slot, Classes>,
    moves: VecDeque<Move>,
    moved: Moved,
    tasks: usize,
    weight: usize,
}

/// Queued tasks with one demand and one affinity.
struct Kind<B> {
    demand: Rc<Demand>,
    affinity: Option<Affinity>,
    /// The queued tasks; never empty.
    lane: Lane<B>,
    /// The only manager that may get these tasks; None if any manager may.
    home: Option<Slot>,
    class: usize,
}

/// A demand that several kinds may share, each with a different affinity.
struct Shared {
    demand: Rc<Demand>,
    kinds: usize,
    /// The kind without an affinity.
    plain: Option<usize>,
}

/// Identifies one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassName {
    pub(super) home: Option<Slot>,
    id: ClassId,
}

/// A task that fits a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: usize,
    pub(super) class: ClassName,
    /// How many slots the task takes on that manager.
    pub(super) slots: usize,
}

/// A task that has been taken out of its lane.
pub(super) struct Popped<B> {
    pub(super) task: QueuedTask<B>,
    pub(super) demand: Rc<Demand>,
    pub(super) affinity: Option<Affinity>,
}

/// Which task a manager gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The next of the tasks without requirements.
    Plain,
    Asking(Found),
}

/// What a walk over the queue has found for one manager.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) choice: Option<Choice>,
    /// The first class that the manager could hold, but not now.
    pub(super) blocked: Option<ClassName>,
    /// A class that fits but was deferred in favour of a type that the manager has run.
    pub(super) deferred: Option<ClassName>,
}

impl<B> Kinds<B> {
    pub(super) fn new() -> Self {
        Self {
            kinds: Slab::new(),
            demands: HashMap::default(),
            by_affinity: HashMap::default(),
            common: Classes::default(),
            bound: BTreeMap::new(),
            moves: VecDeque::new(),
            moved: Moved::default(),
            tasks: 0,
            weight: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Returns how many of the queued tasks some manager could hold.
    pub(super) fn holdable(&self) -> usize {
        let of_nobody = self.parked().map(|(_, classes)| classes.tasks());
        self.tasks - of_nobody.sum::<usize>()
    }

    /// Returns the classes that no manager can hold, by their home.
    pub(super) fn parked(&self) -> impl Iterator<Item = (Slot, &Classes)> {
        let parked = self.bound.range(Slot::nobody(0)..);
        parked.map(|(home, classes)| (*home, classes))
    }

    /// Returns the number of classes.
    pub(super) fn classes_len(&self) -> usize {
        let bound = self.bound.values().map(Classes::len);
        self.common.len() + bound.sum::<usize>()
    }

    /// Returns the home of the queued tasks with this affinity value.
    pub(super) fn home_of(&self, affinity: &Affinity) -> Option<Slot> {
        let kinds = self.by_affinity.get(affinity)?;
        self.kinds.get(*kinds.first()?)?.home
    }

    /// Queues a task. Returns its class if that is new and may fit managers that nothing fitted
    /// before.
    pub(super) fn push(
        &mut self,
        task: QueuedTask<B>,
        mut needs: Needs,
        routing: Routing,
        home: Option<Slot>,
    ) -> Option<ClassName> {
        self.tasks += 1;
        self.weight += task.weight;
        let affinity = needs.affinity.take();
        let Some(kind) = self.kind_of(&needs, affinity.as_ref()) else {
            return self.add(task, needs, affinity, routing, home);
        };
        let entry = &mut self.kinds[kind];
        let before = entry.lane.first_key();
        entry.lane.push(task);
        let (after, class, home) = (entry.lane.first_key(), entry.class, entry.home);
        let classes = self.classes_mut(home);
        classes.count(class, 1);
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            classes.rekey(class, kind, before, after);
        }
        None
    }

    fn kind_of(&self, needs: &Needs, affinity: Option<&Affinity>) -> Option<usize> {
        let shared = self.demands.get(needs)?;
        let Some(affinity) = affinity else {
            return shared.plain;
        };
        let mut kinds = self.by_affinity.get(affinity)?.iter().copied();
        kinds.find(|kind| Rc::ptr_eq(&self.kinds[*kind].demand, &shared.demand))
    }

    fn add(
        &mut self,
        task: QueuedTask<B>,
        needs: Needs,
        affinity: Option<Affinity>,
        routing: Routing,
        home: Option<Slot>,
    ) -> Option<ClassName> {
        let key = task.key();
        let shared = self.demands.entry(Rc::new(needs));
        let needs = Rc::clone(shared.key());
        let shared = shared.or_insert_with(|| Shared {
            demand: Rc::new(Demand::new(needs, routing)),
            kinds: 0,
            plain: None,
        });
        let demand = Rc::clone(&shared.demand);
        let mut parked = self.bound.range(Slot::nobody(0)..);
        let alike = parked.find(|(_, classes)| classes.has_like(&demand));
        let home = home.or(alike.map(|(home, _)| *home));
        let kind = self.kinds.insert(Kind {
            demand: Rc::clone(&demand),
            affinity: affinity.clone(),
            lane: Lane::of(task),
            home,
            class: 0,
        });
        shared.kinds += 1;
        match affinity {
            None => shared.plain = Some(kind),
            Some(affinity) => {
                let kinds = self.by_affinity.entry(affinity);
                kinds
                    .and_modify(|kinds| kinds.push(kind))
                    .or_insert_with(|| vec![kind]);
            }
        }
        let classes = self.classes_mut(home);
        let (class, is_news) = classes.insert(kind, key, &demand, 1);
        let id = classes.id_of(class);
        self.kinds[kind].class = class;
        (is_news && !home.is_some_and(Slot::is_nobody)).then_some(ClassName { home, id })
    }

    /// Returns the first task of the first class.
    pub(super) fn first(&self) -> Option<&QueuedTask<B>> {
        let name = self.of_somebody().chain(self.of_nobody()).next()?;
        let class = self.find(name)?;
        self.peek(class.kinds().next()?)
    }

    /// Returns the next task of the kind.
    pub(super) fn peek(&self, kind: usize) -> Option<&QueuedTask<B>> {
        self.kinds.get(kind)?.lane.first()
    }

    pub(super) fn pop(&mut self, found: &Found) -> Option<Popped<B>> {
        if let Some(class) = self.find_mut(found.class) {
            class.passed_since = None;
        }
        let kind = self.kinds.get_mut(found.kind)?;
        let task = kind.lane.pop()?;
        let (demand, affinity) = (Rc::clone(&kind.demand), kind.affinity.clone());
        let (class, home, after) = (kind.class, kind.home, kind.lane.first_key());
        self.tasks -= 1;
        self.weight -= task.weight;
        let classes = self.classes_mut(home);
        classes.count(class, -1);
        match after {
            Some(after) => classes.rekey(class, found.kind, task.key(), after),
            None => self.remove(found.kind, task.key()),
        }
        if self.tasks == 0 {
            self.give_back_room();
        }
        Some(Popped {
            task,
            demand,
            affinity,
        })
    }

    fn remove(&mut self, kind: usize, key: Key) {
        let Kind {
            demand,
            affinity,
            home,
            class,
            ..
        } = self.kinds.remove(kind);
        if let Some(shared) = self.demands.get_mut(&demand.needs) {
            shared.kinds -= 1;
            if affinity.is_none() {
                shared.plain = None;
            }
            if shared.kinds == 0 && self.demands.len() > DEMANDS_KEPT {
                self.demands.remove(&demand.needs);
            }
        }
        if let Some(affinity) = &affinity
            && let Some(kinds) = self.by_affinity.get_mut(affinity)
        {
            kinds.retain(|other| *other != kind);
            if kinds.is_empty() {
                self.by_affinity.remove(affinity);
            }
        }
        self.classes_mut(home).remove(class, kind, key, 0);
        self.drop_if_empty(home);
    }

    fn drop_if_empty(&mut self, home: Option<Slot>) {
        if let Some(slot) = home
            && self.bound.get(&slot).is_some_and(Classes::is_empty)
        {
            self.bound.remove(&slot);
        }
    }

    /// Releases the memory of a million kinds once they are gone.
    fn give_back_room(&mut self) {
        const KEPT: usize = 1024;
        // Later tasks may have other demands.
        if self.demands.len() >= DEMANDS_KEPT {
            self.demands.clear();
        }
        self.demands.shrink_to(KEPT);
        self.by_affinity.shrink_to(KEPT);
        if self.kinds.capacity() > KEPT {
            self.kinds.shrink_to_fit();
        }
        self.common.give_back_room(KEPT);
        self.moves.shrink_to(KEPT);
    }

    /// Binds all queued tasks of this affinity value to this manager.
    pub(super) fn bind(&mut self, affinity: &Affinity, slot: Slot) {
        let kinds = self.by_affinity.get(affinity).cloned().unwrap_or_default();
        for kind in kinds {
            if self.kinds[kind].home != Some(slot) {
                self.move_to(kind, Some(slot));
            }
        }
    }

    /// Moves a kind to another home. If the kind's first task was passed over, the time of that
    /// moves with it.
    fn move_to(&mut self, kind: usize, home: Option<Slot>) {
        let entry = &self.kinds[kind];
        let (from, place, demand) = (entry.home, entry.class, Rc::clone(&entry.demand));
        let tasks = entry.lane.len();
        let Some(key) = entry.lane.first_key() else {
            return;
        };
        let classes = self.classes_mut(from);
        let left = classes.at_mut(place).filter(|it| it.first() == Some(key));
        let since = left.and_then(|class| class.passed_since);
        classes.remove(place, kind, key, tasks);
        self.drop_if_empty(from);
        let classes = self.classes_mut(home);
        let (place, _) = classes.insert(kind, key, &demand, tasks);
        let found = classes.at_mut(place).filter(|it| it.first() == Some(key));
        if let Some(class) = found {
            let all = [class.passed_since, since];
            class.passed_since = all.into_iter().flatten().min();
        }
        let entry = &mut self.kinds[kind];
        (entry.class, entry.home) = (place, home);
    }

    /// Returns the classes that no manager can hold.
    pub(super) fn of_nobody(&self) -> impl Iterator<Item = ClassName> {
        let parked = self.parked().map(|(home, _)| Some(home));
        parked.flat_map(|home| self.names(home))
    }

    pub(super) fn find(&self, name: ClassName) -> Option<&Class> {
        self.classes(name.home)?.find(name.id)
    }

    pub(super) fn find_mut(&mut self, name: ClassName) -> Option<&mut Class> {
        match name.home {
            None => self.common.find_mut(name.id),
            Some(slot) => self.bound.get_mut(&slot)?.find_mut(name.id),
        }
    }

    /// Returns the classes that some manager could hold when last checked: those that any manager
    /// may get and those that are bound to one manager.
    pub(super) fn of_somebody(&self) -> impl Iterator<Item = ClassName> {
        let bound = self.bound.keys().filter(|slot| !slot.is_nobody());
        let homes = iter::once(None).chain(bound.map(|slot| Some(*slot)));
        homes.flat_map(|home| self.names(home))
    }

    /// Returns the classes of one home.
    pub(super) fn names(&self, home: Option<Slot>) -> impl Iterator<Item = ClassName> {
        let classes = self.classes(home).into_iter().flat_map(Classes::in_order);
        classes.map(move |(_, id)| ClassName { home, id })
    }

    /// Finds what a manager gets next: the first task in order that fits it now. `plain` is the key
    /// of the first task without requirements. Classes behind `until` are not eligible for this
    /// manager.
    pub(super) fn walk(
        &self,
        (slot, room): (Slot, &Room<'_, B>),
        plain: Option<Key>,
        until: Option<ClassName>,
        now: Duration,
    ) -> Walk {
        let mut walk = Walk::default();
        for (key, name) in self.in_order(slot) {
            if plain.is_some_and(|plain| plain < key) {
                break;
            }
            let Some(class) = self.find(name) else {
                continue;
            };
            match self.fit(class, name, room) {
                Ok(found) => {
                    let warmer = self.warmer(slot, room, class, key, now);
                    walk.deferred = warmer.map(|_| name);
                    walk.choice = Some(Choice::Asking(warmer.unwrap_or(found)));
                    return walk;
                }
                Err(Fit::Later) => walk.blocked = walk.blocked.or(Some(name)),
                Err(Fit::Now(_) | Fit::Never) => {}
            }
            if until == Some(name) {
                return walk;
            }
        }
        walk.choice = plain.map(|_| Choice::Plain);
        walk
    }

    /// Returns a task of a type that the manager has run lately, to go before one of another type.
    /// Both must have the same priority, and the class that is passed over must not be overdue.
    fn warmer(
        &self,
        slot: Slot,
        room: &Room<'_, B>,
        first: &Class,
        (priority, _): Key,
        now: Duration,
    ) -> Option<Found> {
        let task_type = first.task_type()?;
        let is_overdue = |since: Duration| now.saturating_sub(since) >= PATIENCE;
        if first.passed_since.is_some_and(is_overdue) {
            return None;
        }
        let warmer = room.warm_types().take_while(|warm| *warm != task_type);
        let classes = warmer.flat_map(|warm| {
            let of_type = merged(
                self.common.of_type(warm).map(named(None)),
                self.of_home(slot)
                    .flat_map(|classes| classes.of_type(warm))
                    .map(named(Some(slot))),
            );
            of_type
                .take_while(|((of, _), _)| *of == priority)
                .take(WARM_CLASSES_MAX)
        });
        classes
            .filter_map(|(_, name)| self.fit(self.find(name)?, name, room).ok())
            .next()
    }

    /// Returns the first task of a class, if it fits now.
    fn fit(&self, class: &Class, name: ClassName, room: &Room<'_, B>) -> Result<Found, Fit> {
        match (class.fit(room), class.kinds().next()) {
            (Fit::Now(slots), Some(kind)) => Ok(Found {
                kind,
                class: name,
                slots,
            }),
            (fit, _) => Err(fit),
        }
    }

    /// Whether the manager can never hold some queued task of this affinity value.
    pub(super) fn is_in_vain(&self, affinity: &Affinity, room: &Room<'_, B>) -> bool {
        let kinds = self.by_affinity.get(affinity).into_iter().flatten();
        let mut kinds = kinds.filter_map(|kind| self.kinds.get(*kind));
        kinds.any(|kind| room.fit(&kind.demand) == Fit::Never)
    }

    /// Unbinds the queued tasks of this affinity value: any manager may get them.
    pub(super) fn unbind(&mut self, affinity: &Affinity) {
        let kinds = self.by_affinity.get(affinity).cloned().unwrap_or_default();
        for kind in kinds {
            self.move_to(kind, None);
        }
    }

    fn in_order(&self, slot: Slot) -> impl Iterator<Item = (Key, ClassName)> {
        let bound = self.of_home(slot).flat_map(Classes::in_order);
        merged(
            self.common.in_order().map(named(None)),
            bound.map(named(Some(slot))),
        )
    }

    fn of_home(&self, slot: Slot) -> impl Iterator<Item = &Classes> {
        self.bound.get(&slot).into_iter()
    }

    fn classes(&self, home: Option<Slot>) -> Option<&Classes> {
        match home {
            None => Some(&self.common),
            Some(slot) => self.bound.get(&slot),
        }
    }

    fn classes_mut(&mut self, home: Option<Slot>) -> &mut Classes {
        match home {
            None => &mut self.common,
            Some(slot) => self.bound.entry(slot).or_default(),
        }
    }

    /// Returns all queued tasks, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedTask<B>> {
        self.kinds.iter().flat_map(|(_, kind)| kind.lane.iter())
    }

    /// Removes and returns all queued tasks, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedTask<B>> + use<B> {
        let all = std::mem::replace(self, Self::new());
        let kinds = all.kinds.into_iter();
        kinds.flat_map(|(_, mut kind)| kind.lane.drain().collect::<Vec<_>>())
    }
}

/// The home of tasks that no manager can hold because they lack `missing`. Each manager that
/// registers is compared with them.
pub(super) fn nobody(missing: Missing) -> Slot {
    Slot::nobody(missing as u32)
}

fn named(home: Option<Slot>) -> impl Fn((Key, ClassId)) -> (Key, ClassName) {
    move |(key, id)| (key, ClassName { home, id })
}

/// Merges two sorted sequences.
fn merged<T: Ord, N>(
    one: impl Iterator<Item = (T, N)>,
    other: impl Iterator<Item = (T, N)>,
) -> impl Iterator<Item = (T, N)> {
    let (mut one, mut other): (Peekable<_>, Peekable<_>) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((left, _)), Some((right, _))) if right < left => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}
