//! What was handed out: which tasks stand in a batch, and who may get it.

use std::collections::BTreeSet;

use super::doubt::Held;
use super::{Choice, Manager, Model, Seen, Verdict, words};

/// Most tasks in one batch.
const BATCH_MAX: usize = 1024;

impl Model {
    /// What was handed out: to somebody with room, the first in the queue, as much as goes; and
    /// nothing stays behind that could go.
    pub(crate) fn check_dispatch(&mut self, seen: &[Seen]) -> Verdict {
        for effect in seen {
            match effect {
                Seen::Batch { to, ids } => self.check_batch(to, ids)?,
                Seen::Rank { among } if self.choice == Choice::Asked => {
                    let able = self.managers.iter().filter(|(_, m)| m.room() > 0);
                    let able: BTreeSet<String> = able.map(|(name, _)| name.clone()).collect();
                    if *among != able || able.is_empty() {
                        return Err(format!("asked about {among:?}, able are {able:?}"));
                    }
                }
                other => return Err(format!("{other:?} comes of a dispatch")),
            }
        }
        let is_room = self.managers.values().any(|manager| manager.room() > 0);
        let waits = is_room && !self.waiting.is_empty();
        if self.dispatching && waits && self.choice != Choice::Asked {
            return Err("tasks wait although there is room".to_owned());
        }
        Ok(())
    }

    fn check_batch(&mut self, to: &str, ids: &[i64]) -> Verdict {
        if !self.dispatching {
            return Err("tasks leave while nothing may leave".to_owned());
        }
        let room = self.managers.get(to).map_or(0, Manager::room);
        let count = room.min(BATCH_MAX).min(self.waiting.len());
        let first = self.first_batch(count);
        if *ids != first || ids.is_empty() {
            return Err(format!(
                "{to} has room for {room} and got [{}], where [{}] come first",
                words::fold(ids),
                words::fold(&first),
            ));
        }
        let able = self.managers.values().filter(|m| m.room() > 0);
        let greatest = able.map(|m| &m.account.block).max();
        if self.choice == Choice::GreatestBlock && greatest > Some(&self.managers[to].account.block)
        {
            return Err(format!("{to} got tasks, a greater block has room"));
        }
        for _ in ids {
            let (_, id) = self.waiting.pop_first().expect("counted");
            let held = Held::since(self.awake());
            self.manager(to).tasks.insert(id, held);
        }
        self.manager(to).idle_since = None;
        Ok(())
    }

    /// The first in the queue: up to one that stands alone, or that one.
    fn first_batch(&self, count: usize) -> Vec<i64> {
        let ids: Vec<i64> = self.waiting.iter().take(count).map(|(_, id)| *id).collect();
        let place = ids.iter().position(|id| self.alone.contains(id));
        match place {
            Some(0) => ids[..1].to_vec(),
            Some(place) => ids[..place].to_vec(),
            None => ids,
        }
    }
}
