//! Blocks of which several managers vanish together. Whatever took these nodes may have taken the
//! others too, and the news may still be on its way. So the rest of the block gets nothing new
//! until it has spoken.
//!
//! A manager vanishes when its connection closes, or when it is given up for its silence. A held or
//! drained manager was to leave, as when its block is scaled in, and does not count. Two managers
//! vanish together if that happens within [`TOGETHER`] of each other, whatever happens to the first
//! in between. The protocol has no request that a manager must answer; each manager speaks with its
//! next heartbeat at the latest.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::now::Now;
use super::slot::Slot;
use protocol::{BlockId, ManagerId};

/// The longest time between two managers that vanish together, on the clock of
/// [`super::liveness::Liveness::awake`].
const TOGETHER: Duration = Duration::from_secs(10);

/// Every block that has a registered manager.
#[derive(Debug, Default)]
pub(super) struct Blocks(HashMap<BlockId, Block>);

#[derive(Debug, Default)]
struct Block {
    managers: usize,
    /// Managers that are neither awaited nor gone, and can become awaited.
    heard: BTreeSet<Slot>,
    /// The last two managers that vanished, and when (awake clock), the latest last.
    vanished: Vec<(ManagerId, Duration)>,
}

impl Blocks {
    pub(super) fn join(&mut self, block: BlockId, slot: Slot) {
        let block = self.0.entry(block).or_default();
        block.managers += 1;
        block.heard.insert(slot);
    }

    pub(super) fn leave(&mut self, block: &BlockId, slot: Slot) {
        let Some(known) = self.0.get_mut(block) else {
            return;
        };
        known.managers -= 1;
        known.heard.remove(&slot);
        if known.managers == 0 {
            self.0.remove(block);
        }
    }

    fn heard(&mut self, block: &BlockId, slot: Slot) {
        if let Some(known) = self.0.get_mut(block) {
            known.heard.insert(slot);
        }
    }

    /// Notes that a manager vanished. If another one did so shortly before, returns that one, how
    /// long ago that was, and the managers that must now speak.
    fn vanish(
        &mut self,
        block: &BlockId,
        manager: &ManagerId,
        awake: Duration,
    ) -> Option<(ManagerId, Duration, BTreeSet<Slot>)> {
        let known = self.0.get_mut(block)?;
        let vanished = &mut known.vanished;
        vanished.retain(|(other, _)| other != manager);
        let other = vanished.last().cloned();
        vanished.push((manager.clone(), awake));
        if vanished.len() > 2 {
            vanished.remove(0);
        }
        let (other, at) = other?;
        let ago = awake.saturating_sub(at);
        (ago <= TOGETHER).then(|| (other, ago, std::mem::take(&mut known.heard)))
    }
}

impl<B> Broker<B> {
    /// Notes that a manager vanished: it has no connection, or is about to be given up.
    pub(super) fn note_vanished(&mut self, slot: Slot, now: Now) {
        let awake = self.liveness.awake(now);
        let manager = self.managers.get(slot);
        if !manager.is_kept() {
            return;
        }
        let id = manager.id.clone();
        let block = manager.registration.block.clone();
        let Some((other, ago, heard)) = self.blocks.vanish(&block, &id, awake) else {
            return;
        };
        let is_there = |it: &Slot| *it != slot && self.managers.get(*it).link.is_heard();
        let survivors: Vec<Slot> = heard.into_iter().filter(is_there).collect();
        if survivors.is_empty() {
            return;
        }
        codes::log!(
            MANAGERS_VANISHED,
            "Managers {other} and {id} of block {block} vanished within {:.1} s of each other; {} \
             other managers of the block get no new tasks until they send a message",
            ago.as_secs_f64(),
            survivors.len()
        );
        for survivor in survivors {
            let manager = self.managers.get_mut(survivor);
            manager.link.await_word();
            let id = manager.id.clone();
            self.note_manager(&id, ManagerChange::Awaited, now);
            self.index(survivor);
        }
    }

    /// Notes that the manager speaks on a connection that leads to it.
    pub(super) fn note_heard(&mut self, slot: Slot) {
        let registration = &self.managers.get(slot).registration;
        self.blocks.heard(&registration.block, slot);
    }
}
