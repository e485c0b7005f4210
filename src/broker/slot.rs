//! The key of one registration, as selectors and deadlines use it.

/// Identifies one registration. Places in the table are reused; the generation distinguishes the
/// registrations of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub(super) place: u32,
    pub(super) generation: u32,
}

impl Slot {
    /// The slot that is ordered after every other one.
    pub(super) const LAST: Self = Self::nobody(u32::MAX);

    /// Returns a slot that belongs to no registration, and is ordered after all that do.
    pub(super) const fn nobody(number: u32) -> Self {
        Self {
            place: u32::MAX,
            generation: number,
        }
    }

    pub(super) fn is_nobody(self) -> bool {
        self.place == u32::MAX
    }

    /// Returns a small index that is unique while the registration lasts, for other tables.
    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}
