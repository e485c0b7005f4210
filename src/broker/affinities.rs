//! Which manager runs the tasks of each affinity value.

use std::collections::{BTreeMap, VecDeque};

use super::slot::Slot;
use protocol::Affinity;

/// How many values without a task in flight are remembered. Beyond that, the value that was unused
/// for longest is forgotten first.
const IDLE_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Affinities {
    bound: BTreeMap<Affinity, Bound>,
    /// Values that had no task left in flight, each with its mark at that time.
    idle: VecDeque<(Affinity, u64)>,
    marks: u64,
}

#[derive(Debug)]
struct Bound {
    to: Slot,
    in_flight: usize,
    /// The mark of the value's last use.
    mark: u64,
}

impl Affinities {
    /// Returns the manager that the value is bound to. The caller checks whether it is still
    /// registered.
    pub(super) fn bound_to(&self, affinity: &Affinity) -> Option<Slot> {
        Some(self.bound.get(affinity)?.to)
    }

    /// Whether the manager that the value is bound to holds a task of this value.
    pub(super) fn is_in_flight(&self, affinity: &Affinity) -> bool {
        let bound = self.bound.get(affinity);
        bound.is_some_and(|bound| bound.in_flight > 0)
    }

    /// Unbinds the value: its next task may go to any manager.
    pub(super) fn unbind(&mut self, affinity: &Affinity) {
        self.bound.remove(affinity);
    }

    /// Notes that a task of this value is dispatched to that manager.
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

    /// Notes that the manager no longer holds a task of this value.
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

    /// Moves the values of a registration that continues under another slot. Returns these values.
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
