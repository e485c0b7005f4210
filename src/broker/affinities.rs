//! Which manager the tasks of one affinity run on.

use std::collections::{BTreeMap, VecDeque};

use super::slot::Slot;
use protocol::Affinity;

/// Of values without a task, so many are remembered; the one that was used longest ago is forgotten
/// first.
const IDLE_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Affinities {
    bound: BTreeMap<Affinity, Bound>,
    /// Values that had no task left in flight, each with the mark that it had then.
    idle: VecDeque<(Affinity, u64)>,
    marks: u64,
}

#[derive(Debug)]
struct Bound {
    to: Slot,
    in_flight: usize,
    /// Of its last use.
    mark: u64,
}

impl Affinities {
    /// Whether the registration still stands is the caller's to look at.
    pub(super) fn bound_to(&self, affinity: &Affinity) -> Option<Slot> {
        Some(self.bound.get(affinity)?.to)
    }

    /// Whether a task of this value is in the hands of the manager that it is bound to.
    pub(super) fn is_in_flight(&self, affinity: &Affinity) -> bool {
        let bound = self.bound.get(affinity);
        bound.is_some_and(|bound| bound.in_flight > 0)
    }

    /// The next task of this value may go to any manager.
    pub(super) fn unbind(&mut self, affinity: &Affinity) {
        self.bound.remove(affinity);
    }

    /// A task of this value goes to that manager.
    pub(super) fn dispatched(&mut self, affinity: &Affinity, to: Slot) {
        self.marks += 1;
        let mark = self.marks;
        if let Some(bound) = self.bound.get_mut(affinity)
            && bound.to == to
        {
            bound.in_flight += 1;
            bound.mark = mark;
        } else {
            let in_flight = 1;
            let bound = Bound {
                to,
                in_flight,
                mark,
            };
            self.bound.insert(affinity.clone(), bound);
        }
    }

    /// A task of this value is not in that manager's hands any more.
    pub(super) fn done(&mut self, affinity: &Affinity, by: Slot) {
        let Some(bound) = self.bound.get_mut(affinity).filter(|bound| bound.to == by) else {
            return;
        };
        bound.in_flight = bound.in_flight.saturating_sub(1);
        if bound.in_flight == 0 {
            self.idle.push_back((affinity.clone(), bound.mark));
        }
        while self.idle.len() > IDLE_MAX {
            self.forget_oldest();
        }
    }

    /// The registration goes on under another slot. Returns the values that follow.
    pub(super) fn rebind(&mut self, from: Slot, to: Slot) -> Vec<Affinity> {
        let mut moved = Vec::new();
        self.bound.retain(|affinity, bound| {
            if bound.to == from {
                bound.to = to;
                moved.push(affinity.clone());
            }
            true
        });
        moved
    }

    fn forget_oldest(&mut self) {
        let Some((affinity, mark)) = self.idle.pop_front() else {
            return;
        };
        let is_unused = |bound: &Bound| bound.mark == mark && bound.in_flight == 0;
        if self.bound.get(&affinity).is_some_and(is_unused) {
            self.bound.remove(&affinity);
        }
    }
}
