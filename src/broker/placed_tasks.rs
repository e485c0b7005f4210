//! The tasks with requirements that a manager holds, and the types that it has run.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::demand::Demand;
use protocol::{Affinity, TaskId};

/// How many types count as warm: a node can keep only so much loaded.
const WARM_TYPES_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct PlacedTasks {
    tasks: BTreeMap<TaskId, Placed>,
    /// Slots that tasks take beyond the first of each.
    extra_slots: usize,
    types: BTreeMap<Rc<str>, HeldType>,
    /// Warm types, the latest first.
    warm: VecDeque<Rc<str>>,
}

#[derive(Debug)]
struct Placed {
    demand: Rc<Demand>,
    affinity: Option<Affinity>,
    slots: usize,
}

/// The number of tasks of one type that the manager holds.
#[derive(Debug, Default)]
struct HeldType {
    all: usize,
    hard: usize,
}

impl PlacedTasks {
    pub(super) fn extra_slots(&self) -> usize {
        self.extra_slots
    }

    /// Returns how many slots a task of the manager takes; a task without requirements takes one.
    pub(super) fn slots_of(&self, task: TaskId) -> usize {
        self.tasks.get(&task).map_or(1, |placed| placed.slots)
    }

    pub(super) fn warm(&self) -> impl Iterator<Item = &Rc<str>> {
        self.warm.iter()
    }

    pub(super) fn is_warm(&self, task_type: &str) -> bool {
        self.warm.iter().any(|warm| **warm == *task_type)
    }

    /// Whether the demand's type may run beside the tasks that the manager holds.
    pub(super) fn admits(&self, demand: &Demand) -> bool {
        let Some(task_type) = demand.task_type.as_deref() else {
            return true;
        };
        let mut others = self.types.iter().filter(|(held, _)| ***held != *task_type);
        match demand.is_hard() {
            true => others.next().is_none(),
            false => others.all(|(_, held)| held.hard == 0),
        }
    }

    /// Adds a task. Returns a type that is no longer warm.
    pub(super) fn add(
        &mut self,
        task: TaskId,
        demand: &Rc<Demand>,
        affinity: Option<Affinity>,
        slots: usize,
    ) -> Option<Rc<str>> {
        self.extra_slots += slots - 1;
        let placed = Placed {
            demand: Rc::clone(demand),
            affinity,
            slots,
        };
        self.tasks.insert(task, placed);
        let task_type = demand.task_type.as_ref()?;
        let held = self.types.entry(Rc::clone(task_type)).or_default();
        held.all += 1;
        held.hard += usize::from(demand.is_hard());
        if self.warm.front() != Some(task_type) {
            self.warm.retain(|warm| warm != task_type);
            self.warm.push_front(Rc::clone(task_type));
        }
        match self.warm.len() > WARM_TYPES_MAX {
            true => self.warm.pop_back(),
            false => None,
        }
    }

    /// Removes a task. Returns its affinity, if it has one.
    pub(super) fn remove(&mut self, task: TaskId) -> Option<Affinity> {
        let Placed {
            demand,
            affinity,
            slots,
        } = self.tasks.remove(&task)?;
        self.extra_slots -= slots - 1;
        if let Some(task_type) = &demand.task_type
            && let Some(held) = self.types.get_mut(task_type)
        {
            held.all -= 1;
            held.hard -= usize::from(demand.is_hard());
            if held.all == 0 {
                self.types.remove(task_type);
            }
        }
        affinity
    }

    /// Returns the affinity of each task that has one.
    pub(super) fn affinities(&self) -> impl Iterator<Item = &Affinity> {
        self.tasks
            .values()
            .filter_map(|placed| placed.affinity.as_ref())
    }
}
