//! The name of one registration, as selectors and deadlines know it.

/// Names one registration. A place in the table is used again; its generation tells who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub(super) place: u32,
    pub(super) generation: u32,
}

impl Slot {
    /// Behind every other one in their order.
    pub(super) const LAST: Self = Self::nobody(u32::MAX);

    /// No registration's, and behind all of these in their order.
    pub(super) const fn nobody(number: u32) -> Self {
        Self {
            place: u32::MAX,
            generation: number,
        }
    }

    pub(super) fn is_nobody(self) -> bool {
        self.place == u32::MAX
    }

    /// Small, and nobody else's while the registration lasts: an index for tables of others.
    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}
