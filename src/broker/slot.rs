//! The name of one registration, as selectors and deadlines know it.

/// Names one registration. A place in the table is used again; its generation tells who is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    pub(super) place: u32,
    pub(super) generation: u32,
}

impl Slot {
    #[cfg(test)]
    pub(super) fn numbered(generation: u32) -> Self {
        Self {
            place: 0,
            generation,
        }
    }

    /// Small, and nobody else's while the registration lasts: an index for tables of others.
    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}
