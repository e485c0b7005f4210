//! The ids of tasks that have no terminal message yet, so that no id is accepted twice.
//!
//! HTEX counts its task ids up and never reuses one. For such a client, a few intervals of seen ids
//! tell new ids from old ones, whatever the length of the queue. For a client that reuses ids, or
//! leaves gaps between them, an exact set is kept until no id is live any more.
//!
//! If a journal is kept, no id is ever accepted twice. After a restart the executor sends those
//! tasks again that may not have arrived, and a task that has run must not run again.

use std::collections::{BTreeMap, HashSet};

use journal::{Journal, Record};

use super::books;
use protocol::TaskId;

/// Most runs that are kept. Beyond that, with a journal, the two runs with the lowest ids are
/// merged: ids between them never arrived and are assumed never to arrive. Without a journal, the
/// exact set takes their place.
const RUNS_MAX: usize = 1024;

pub(super) struct LiveIds {
    seen: Seen,
    live: usize,
    journal: Option<Journal>,
    /// Tasks that share no batch with others, each with the name that it looks up.
    alone: BTreeMap<TaskId, Box<str>>,
}

enum Seen {
    /// Every id since the last moment when nothing was live, or since the start: runs by their
    /// first id.
    Runs(Runs),
    /// Exactly the live ids.
    Exact(HashSet<i64>),
}

type Runs = BTreeMap<i64, Run>;

pub(super) struct Run {
    pub(super) last: i64,
    /// The journal record, if a journal is kept.
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

    /// Writes accepted ids to the journal from now on; no id is then accepted twice. `records`: the
    /// runs of an earlier broker, which may overlap.
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

    /// Adds a task of an earlier broker as live, whether its run is in the journal or not.
    pub(super) fn insert_restored(&mut self, TaskId(id): TaskId) {
        self.live += 1;
        if let Seen::Runs(runs) = &mut self.seen {
            add_to_runs(runs, id, self.journal.as_ref());
        }
    }

    /// Returns the runs (first and last) of accepted ids, without those that end before `from`.
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

    /// Whether an id that was once accepted is never accepted again.
    pub(super) fn is_strict(&self) -> bool {
        self.journal.is_some()
    }

    /// Marks a live task as one that shares no batch with others: it looks up a name that managers
    /// may be unable to import, which would end them.
    pub(super) fn send_alone(&mut self, id: TaskId, foreign_name: Box<str>) {
        self.alone.insert(id, foreign_name);
    }

    #[inline]
    pub(super) fn some_travel_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// Returns the name that a task looks up, if the task must travel alone.
    pub(super) fn foreign_name(&self, id: TaskId) -> Option<&str> {
        self.alone.get(&id).map(Box::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Adds an id; returns false if it is live. `all_live` walks all tasks, without this one; it is
    /// called only when a client begins to reuse ids, or has left many gaps.
    pub(super) fn insert(&mut self, id: TaskId, all_live: impl FnOnce() -> Vec<TaskId>) -> bool {
        let TaskId(id) = id;
        if let Seen::Runs(runs) = &mut self.seen {
            let is_fresh = add_to_runs(runs, id, self.journal.as_ref());
            let is_exact_better = self.journal.is_none() && (!is_fresh || runs.len() > RUNS_MAX);
            if !is_exact_better {
                self.live += usize::from(is_fresh);
                return is_fresh;
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
                // A single run is the usual case, and costs nothing to keep.
                Seen::Runs(runs) if runs.len() <= 1 => {}
                Seen::Runs(_) | Seen::Exact(_) => self.seen = Seen::Runs(BTreeMap::new()),
            }
        }
    }
}

/// Adds an id to the runs; returns false if it is in one already. The journal always covers at
/// least the ids of these runs: a run grows before the one that it absorbs is deleted.
fn add_to_runs(runs: &mut Runs, id: i64, journal: Option<&Journal>) -> bool {
    // Nearly every id is the successor of the greatest one.
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

/// Merges the run that ends in `last` with the run right behind it, if there is one.
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
    fn each_id_is_accepted_once_in_any_order() {
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

    #[test]
    fn ids_with_gaps_take_no_memory_once_their_tasks_have_ended() {
        let mut ids = LiveIds::new();
        assert!(insert(&mut ids, 0, &[]));
        for id in (2..10_000).step_by(2) {
            assert!(insert(&mut ids, id, &[0]), "{id}");
            assert!(!insert(&mut ids, id, &[0, id]), "{id}");
            ids.remove(TaskId(id));
        }
        assert!(matches!(&ids.seen, Seen::Exact(set) if set.len() == 1));
        let mut ids = LiveIds::new();
        assert!(insert(&mut ids, 0, &[]));
        for id in (2..10_000).step_by(2) {
            assert!(insert(&mut ids, id, &[0]), "{id}");
            ids.remove(TaskId(id));
        }
        assert!(matches!(&ids.seen, Seen::Exact(set) if set.len() == 1));
        assert!(!insert(&mut ids, 0, &[]));
        assert_eq!(ids.len(), 1);
    }
}
