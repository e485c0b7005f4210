//! The ids of tasks that have no terminal message yet, so that none is taken twice.
//!
//! HTEX counts its tasks up and never uses an id again. As long as a client does that, a few
//! intervals of ids already seen tell new ones from old, whatever the length of the queue. A client
//! that does reuse ids gets an exact set, until nothing is live any more.
//!
//! Where a journal is kept, no id is ever taken twice: after a restart the executor sends again
//! what may not have come, and a task that ran must not run once more.

use std::collections::{BTreeMap, HashSet};

use journal::{Journal, Record};

use super::books;
use protocol::TaskId;

/// Of a journal, so many runs are kept: the two of the least ids become one beyond that. Ids
/// between them, which never came, do not come any more.
const RUNS_MAX: usize = 1024;

pub(super) struct LiveIds {
    seen: Seen,
    live: usize,
    journal: Option<Journal>,
    /// Those that share no batch with others, each with the name that it looks up.
    alone: BTreeMap<TaskId, Box<str>>,
}

enum Seen {
    /// Every id since nothing was live, or since the start: each run by its first.
    Runs(Runs),
    /// Exactly the live ones.
    Exact(HashSet<i64>),
}

type Runs = BTreeMap<i64, Run>;

pub(super) struct Run {
    pub(super) last: i64,
    /// Of the journal, where one is kept.
    pub(super) record: Option<Record>,
}

impl Run {
    fn end_at(&mut self, last: i64) {
        self.last = last;
        if let Some(record) = &self.record {
            record.set_field(books::RUN_LAST, last.cast_unsigned());
        }
    }
}

impl LiveIds {
    pub(super) fn new() -> Self {
        Self {
            seen: Seen::Runs(BTreeMap::new()),
            live: 0,
            journal: None,
            alone: BTreeMap::new(),
        }
    }

    /// From now on the ids are written down, and none is taken twice. `records`: the runs of an
    /// earlier broker, which may overlap.
    pub(super) fn keep(&mut self, journal: Journal, records: Vec<Record>) {
        let mut runs = Runs::new();
        let mut read: Vec<(i64, Run)> = records.into_iter().map(books::run).collect();
        read.sort_unstable_by_key(|(first, run)| (*first, run.last));
        for (first, run) in read {
            match runs.last_entry() {
                Some(mut before) if before.get().last.saturating_add(1) >= first => {
                    if before.get().last < run.last {
                        before.get_mut().end_at(run.last);
                    }
                }
                _ => {
                    runs.insert(first, run);
                }
            }
        }
        self.seen = Seen::Runs(runs);
        self.journal = Some(journal);
    }

    /// A task of an earlier broker: live, whether its run was written down or not.
    pub(super) fn insert_restored(&mut self, TaskId(id): TaskId) {
        self.live += 1;
        if let Seen::Runs(runs) = &mut self.seen {
            add_to_runs(runs, id, self.journal.as_ref());
        }
    }

    /// Every id that was accepted, as runs from `from` on: first and last.
    pub(super) fn accepted(&self, from: TaskId) -> Vec<(TaskId, TaskId)> {
        match &self.seen {
            Seen::Runs(runs) => runs
                .iter()
                .filter(|(_, run)| run.last >= from.0)
                .map(|(first, run)| (TaskId(*first), TaskId(run.last)))
                .collect(),
            Seen::Exact(_) => Vec::new(),
        }
    }

    /// Whether an id that was accepted once is never taken again.
    pub(super) fn is_strict(&self) -> bool {
        self.journal.is_some()
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
            if add_to_runs(runs, id, self.journal.as_ref()) {
                self.live += 1;
                return true;
            }
            if self.is_strict() {
                return false;
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
        if self.live == 0 && !self.is_strict() {
            match &self.seen {
                // One run is the ordinary case, and costs nothing to keep.
                Seen::Runs(runs) if runs.len() <= 1 => {}
                Seen::Runs(_) | Seen::Exact(_) => self.seen = Seen::Runs(BTreeMap::new()),
            }
        }
    }
}

/// False if the id stands in a run already. At each moment the journal's runs hold what these hold,
/// or more: a run grows before the one that it takes in goes.
fn add_to_runs(runs: &mut Runs, id: i64, journal: Option<&Journal>) -> bool {
    // What nearly all ids are: the next one.
    if let Some(mut greatest) = runs.last_entry()
        && greatest.get().last.checked_add(1) == Some(id)
    {
        greatest.get_mut().end_at(id);
        return true;
    }
    if let Some((_, run)) = runs.range_mut(..=id).next_back() {
        if run.last >= id {
            return false;
        }
        if run.last + 1 == id {
            run.end_at(id);
            join_next(runs, id);
            return true;
        }
    }
    let next = id.checked_add(1).and_then(|next| runs.remove(&next));
    let last = next.as_ref().map_or(id, |next| next.last);
    let record = journal.and_then(|journal| books::write_run(journal, id, last));
    runs.insert(id, Run { last, record });
    drop(next);
    if journal.is_some() && runs.len() > RUNS_MAX {
        join_least(runs);
    }
    true
}

/// The run that ends in `last` may touch the one behind it now.
fn join_next(runs: &mut Runs, last: i64) {
    if let Some(end) = last.checked_add(1).and_then(|next| runs.remove(&next))
        && let Some((_, run)) = runs.range_mut(..=last).next_back()
    {
        run.end_at(end.last);
    }
}

fn join_least(runs: &mut Runs) {
    let second = runs.keys().nth(1).copied();
    if let Some(second) = second.and_then(|first| runs.remove(&first))
        && let Some(mut least) = runs.first_entry()
    {
        least.get_mut().end_at(second.last);
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
