//! Managers with room whom nothing fits that waits.
//!
//! Who stands aside is compared with a class of tasks that begins later only as far as that is
//! needed: those of one extent have the same room, so that one comparison speaks for all of them,
//! and of those that have the room, the selector is asked for its best.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::Extent;
use super::kinds::ClassName;
use super::slot::Slot;

/// Of more classes that begin at once, everybody is looked at.
const BEGUN_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Aside {
    by_extent: BTreeMap<Extent, BTreeSet<Slot>>,
    /// By a slot's place in the table of managers.
    extents: Vec<Option<Extent>>,
    /// Classes that any manager may get, and with which those aside have not all been compared.
    begun: Vec<ClassName>,
}

impl Aside {
    pub(super) fn insert(&mut self, slot: Slot, extent: Extent) {
        self.remove(slot);
        if slot.place() >= self.extents.len() {
            self.extents.resize(slot.place() + 1, None);
        }
        self.extents[slot.place()] = Some(extent);
        self.by_extent.entry(extent).or_default().insert(slot);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(extent) = self.extents.get_mut(slot.place()).and_then(Option::take) else {
            return;
        };
        if let Some(alike) = self.by_extent.get_mut(&extent) {
            alike.remove(&slot);
            if alike.is_empty() {
                self.by_extent.remove(&extent);
            }
        }
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.extents.get(slot.place()).is_some_and(Option::is_some)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_extent.is_empty()
    }

    /// Sets of managers that have the same room.
    pub(super) fn alike(&self) -> impl Iterator<Item = &BTreeSet<Slot>> {
        self.by_extent.values()
    }

    /// Nobody stands aside any longer. Returns who did.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Slot> + use<> {
        self.begun.clear();
        self.extents.clear();
        std::mem::take(&mut self.by_extent).into_values().flatten()
    }

    /// A class of tasks begins that may fit some of them. False if it is one too many.
    #[must_use]
    pub(super) fn begin(&mut self, class: ClassName) -> bool {
        if !self.is_empty() {
            self.begun.push(class);
        }
        self.begun.len() <= BEGUN_MAX
    }

    pub(super) fn begun(&self) -> &[ClassName] {
        &self.begun
    }

    /// They have all been compared with the last one that began.
    pub(super) fn end_last(&mut self) {
        self.begun.pop();
    }
}
