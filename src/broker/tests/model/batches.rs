//! Which tasks are in a batch.

use broker::BatchRoom;

use super::doubt::Held;
use super::{Model, Verdict, words};

/// Most tasks in one batch.
const BATCH_MAX: usize = 1024;

/// Returns the weight of a queued task: any number that differs between tasks.
pub(crate) fn weight_of(id: i64) -> usize {
    id.unsigned_abs() as usize % 7
}

impl Model {
    /// Checks a batch: the first tasks of the queue, as many as allowed.
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

    /// Returns the first tasks of the queue: at least one, and no more than allowed. A task that
    /// travels alone is a whole batch, and ends the batch before it.
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
