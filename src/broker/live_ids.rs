//! The ids of tasks that have no terminal message yet, so that none is taken twice.
//!
//! HTEX counts its tasks up and never uses an id again. As long as a client does that, a few
//! intervals of ids already seen tell new ones from old, whatever the length of the queue. A client
//! that does reuse ids gets an exact set, until nothing is live any more.

use std::collections::{BTreeMap, HashSet};

use protocol::TaskId;

pub(super) struct LiveIds {
    seen: Seen,
    live: usize,
    /// Those that share no batch with others, each with the name that it looks up.
    alone: BTreeMap<TaskId, Box<str>>,
}

enum Seen {
    /// Every id since nothing was live: first → last of each run.
    Runs(BTreeMap<i64, i64>),
    /// Exactly the live ones.
    Exact(HashSet<i64>),
}

impl LiveIds {
    pub(super) fn new() -> Self {
        Self {
            seen: Seen::Runs(BTreeMap::new()),
            live: 0,
            alone: BTreeMap::new(),
        }
    }

    /// This task, which is live, must not disturb others: it looks up a name that managers may be
    /// unable to import, and that ends them.
    pub(super) fn send_alone(&mut self, id: TaskId, foreign_name: Box<str>) {
        self.alone.insert(id, foreign_name);
    }

    #[inline]
    pub(super) fn some_travel_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// Of a task that travels alone, the name that it looks up.
    pub(super) fn foreign_name(&self, id: TaskId) -> Option<&str> {
        self.alone.get(&id).map(Box::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// False if the id is live. `all_live` walks the books; it is asked when a client begins to
    /// reuse ids.
    pub(super) fn insert(&mut self, id: TaskId, all_live: impl FnOnce() -> Vec<TaskId>) -> bool {
        let TaskId(id) = id;
        if let Seen::Runs(runs) = &mut self.seen {
            if add_to_runs(runs, id) {
                self.live += 1;
                return true;
            }
            self.seen = Seen::Exact(all_live().into_iter().map(|TaskId(id)| id).collect());
        }
        let fresh = match &mut self.seen {
            Seen::Exact(set) => set.insert(id),
            Seen::Runs(_) => false,
        };
        self.live += usize::from(fresh);
        fresh
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        if let Seen::Exact(set) = &mut self.seen {
            set.remove(&id.0);
        }
        if self.some_travel_alone() {
            self.alone.remove(&id);
        }
        self.live = self.live.saturating_sub(1);
        if self.live == 0 {
            match &self.seen {
                // One run is the ordinary case, and costs nothing to keep.
                Seen::Runs(runs) if runs.len() <= 1 => {}
                Seen::Runs(_) | Seen::Exact(_) => self.seen = Seen::Runs(BTreeMap::new()),
            }
        }
    }
}

/// False if the id stands in a run already.
fn add_to_runs(runs: &mut BTreeMap<i64, i64>, id: i64) -> bool {
    // What nearly all ids are: the next one.
    if let Some(mut greatest) = runs.last_entry()
        && greatest.get().checked_add(1) == Some(id)
    {
        greatest.insert(id);
        return true;
    }
    if let Some((_, last)) = runs.range_mut(..=id).next_back() {
        if *last >= id {
            return false;
        }
        if *last + 1 == id {
            *last = id;
            join_next(runs, id);
            return true;
        }
    }
    let next = id.checked_add(1).and_then(|next| runs.remove(&next));
    let last = next.unwrap_or(id);
    runs.insert(id, last);
    true
}

/// The run that ends in `last` may touch the one behind it now.
fn join_next(runs: &mut BTreeMap<i64, i64>, last: i64) {
    if let Some(end) = last.checked_add(1).and_then(|next| runs.remove(&next))
        && let Some((_, run_end)) = runs.range_mut(..=last).next_back()
    {
        *run_end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(ids: &mut LiveIds, id: i64, live: &[i64]) -> bool {
        ids.insert(TaskId(id), || live.iter().copied().map(TaskId).collect())
    }

    #[test]
    fn ids_in_any_order_are_new_once() {
        let mut ids = LiveIds::new();
        for id in [5, 3, 4, 1, 2, 9, 7, 8, 6] {
            assert!(insert(&mut ids, id, &[]), "{id}");
        }
        assert!(matches!(&ids.seen, Seen::Runs(runs) if runs.len() == 1));
        assert!(!insert(&mut ids, 4, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(ids.len(), 9);
    }

    #[test]
    fn an_id_is_free_again_when_its_task_has_ended() {
        let mut ids = LiveIds::new();
        assert!(insert(&mut ids, 1, &[]));
        assert!(insert(&mut ids, 2, &[]));
        ids.remove(TaskId(1));
        assert!(insert(&mut ids, 1, &[2]));
        assert!(!insert(&mut ids, 2, &[]));
        ids.remove(TaskId(1));
        ids.remove(TaskId(2));
        assert_eq!(ids.len(), 0);
        assert!(insert(&mut ids, 2, &[]));
    }
}
