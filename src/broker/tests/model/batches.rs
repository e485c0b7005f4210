//! What was handed out: who may get it, and which tasks stand in a batch.

use std::collections::BTreeSet;

use broker::BatchRoom;

use super::doubt::Held;
use super::{Choice, Manager, Model, Verdict, words};

/// Most tasks in one batch.
const BATCH_MAX: usize = 1024;

/// Of a task, while it waits: any number that is not the same for all.
pub(crate) fn weight_of(id: i64) -> usize {
    id.unsigned_abs() as usize % 7
}

impl Model {
    /// The user's own selector is asked about all that may get tasks, and about nobody else.
    pub(crate) fn check_question(&self, among: &BTreeSet<String>) -> Verdict {
        let able = self.managers.iter().filter(|(_, m)| m.room() > 0);
        let able: BTreeSet<String> = able.map(|(name, _)| name.clone()).collect();
        match self.choice == Choice::Asked && *among == able && !able.is_empty() {
            true => Ok(()),
            false => Err(format!("asked about {among:?}, able are {able:?}")),
        }
    }

    /// Whether somebody may be the next to get a batch, after `last` in the same turn.
    pub(crate) fn check_recipient(&self, to: &str, last: Option<&str>) -> Verdict {
        if !self.dispatching || self.waiting.is_empty() {
            return Err(format!("{to} is to get tasks, and none may leave"));
        }
        let room = self.managers.get(to).map_or(0, Manager::room);
        if room == 0 {
            return Err(format!("{to} is to get tasks, and may get none"));
        }
        let able = self.managers.values().filter(|m| m.room() > 0);
        let greatest = able.map(|m| &m.account.block).max();
        if self.choice == Choice::GreatestBlock && greatest > Some(&self.managers[to].account.block)
        {
            return Err(format!("{to} is to get tasks, a greater block has room"));
        }
        let last = last.filter(|last| self.managers[*last].room() > 0);
        if self.choice != Choice::Random && last.is_some_and(|last| last != to) {
            return Err(format!("{to} is to get tasks, {last:?} has room still"));
        }
        Ok(())
    }

    /// A batch: the first in the queue, as much as goes.
    pub(crate) fn hand_out(&mut self, to: &str, ids: &[i64], batch: BatchRoom) -> Verdict {
        let first = self.first_batch(self.managers[to].room(), batch);
        if *ids != first {
            return Err(format!(
                "{to} has room for {} and got [{}], where [{}] come first by {batch:?}",
                self.managers[to].room(),
                words::fold(ids),
                words::fold(&first),
            ));
        }
        for _ in ids {
            let (_, id) = self.waiting.pop_first().expect("counted");
            let held = Held::since(self.awake());
            self.manager(to).tasks.insert(id, held);
        }
        self.manager(to).idle_since = None;
        Ok(())
    }

    /// Whether there is something to hand out, and somebody to take it. Who is chosen outside may
    /// have to wait until that is done.
    pub(crate) fn could_dispatch(&self) -> bool {
        let is_room = self.managers.values().any(|manager| manager.room() > 0);
        self.dispatching && is_room && !self.waiting.is_empty()
    }

    /// The first in the queue: at least one; up to one that stands alone, or that one; and no more
    /// than is wanted.
    fn first_batch(&self, room: usize, batch: BatchRoom) -> Vec<i64> {
        let count = room.min(BATCH_MAX).min(batch.tasks);
        let mut ids: Vec<i64> = Vec::new();
        let mut weight = 0;
        for (_, id) in self.waiting.iter().take(count) {
            weight += weight_of(*id);
            let stands_apart =
                self.alone.contains(id) || ids.iter().any(|id| self.alone.contains(id));
            if !ids.is_empty() && (stands_apart || weight > batch.weight) {
                break;
            }
            ids.push(*id);
        }
        ids
    }
}
