//! Managers that have room but are set aside, because no queued task fits them.
//!
//! When a class of tasks begins later, it is compared with the managers set aside only as far as
//! needed. Managers of one extent have the same room, so one comparison counts for all of them. Of
//! the managers that have the room, the selector is asked for its best.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::Extent;
use super::kinds::ClassName;
use super::slot::Slot;

/// If more classes than this begin at once, all managers are checked again instead.
const BEGUN_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Aside {
    by_extent: BTreeMap<Extent, BTreeSet<Slot>>,
    /// The extent of each manager set aside, by its slot's place in the table of managers.
    extents: Vec<Option<Extent>>,
    /// Classes that any manager may get and that have not been compared with all managers set
    /// aside.
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

    /// Returns the sets of managers that have the same room.
    pub(super) fn alike(&self) -> impl Iterator<Item = &BTreeSet<Slot>> {
        self.by_extent.values()
    }

    /// Removes and returns all managers.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Slot> + use<> {
        self.begun.clear();
        self.extents.clear();
        std::mem::take(&mut self.by_extent).into_values().flatten()
    }

    /// Notes a new class that may fit some of the managers. Returns false if there are too many
    /// such classes.
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

    /// Removes the latest class, which has been compared with all managers set aside.
    pub(super) fn end_last(&mut self) {
        self.begun.pop();
    }
}
