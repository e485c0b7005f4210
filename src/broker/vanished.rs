//! Blocks of which several managers vanish together: what took these nodes may have taken the
//! others, and the word of that may be on its way. So the rest of the block gets nothing new until
//! it has spoken.
//!
//! A manager vanishes when its connection closes, or when it is given up for its silence; one that
//! was held or drained was to go, as when its block is scaled in, and so does not vanish. Together:
//! within [`TOGETHER`] of each other, whatever has become of the first by then. Nothing can be
//! asked of a manager that it would answer; it speaks with its next heartbeat at the latest.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::now::Now;
use super::slot::Slot;
use protocol::{BlockId, ManagerId};

/// On the clock of [`super::liveness::Liveness::awake`].
const TOGETHER: Duration = Duration::from_secs(10);

/// Every block of which a manager is registered.
#[derive(Debug, Default)]
pub(super) struct Blocks(HashMap<BlockId, Block>);

#[derive(Debug, Default)]
struct Block {
    managers: usize,
    /// Of these, those that may be told to speak first: neither awaited nor gone.
    heard: BTreeSet<Slot>,
    /// The last two that vanished, and when: awake clock. The latest is the last.
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

    /// If another one vanished shortly before: that one, how long ago, and who has to speak now.
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
    /// For a manager without a connection, or one that is about to be given up.
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
             more of the block are sent nothing new until they have spoken",
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

    /// It speaks by a connection that leads to it.
    pub(super) fn note_heard(&mut self, slot: Slot) {
        let registration = &self.managers.get(slot).registration;
        self.blocks.heard(&registration.block, slot);
    }
}
