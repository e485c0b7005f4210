//! Counts the objects between the marks. A walk over a pickle keeps these counts instead of a
//! stack.
//!
//! The counts are compact, because a hostile pickle may consist only of marks. They never take more
//! than a small multiple of the received bytes, and need no allocation for a pickle of ordinary
//! depth.

use crate::error::Fault;

/// Bytes of saved counts that are stored inline. A mark usually takes one byte.
const MARKS_IN_PLACE: usize = 24;

/// Counts from this value on are saved in nine bytes. The pickle needs at least as many opcodes to
/// reach such a count.
const WIDE: u8 = u8::MAX;

/// The shape of the stack: the number of objects above the topmost mark, and for each mark the
/// number of objects between it and the next lower mark.
///
/// These counts are all that the C unpickler's "fence" needs: no instruction may reach below the
/// topmost mark, except those that work down to it.
#[derive(Debug)]
pub(crate) struct Marks {
    above: usize,
    in_place: [u8; MARKS_IN_PLACE],
    used: usize,
    spilled: Vec<u8>,
}

impl Marks {
    pub(crate) const fn new() -> Self {
        Self {
            above: 0,
            in_place: [0; MARKS_IN_PLACE],
            used: 0,
            spilled: Vec::new(),
        }
    }

    /// Returns how many objects stand above the topmost mark, or on the whole stack if it has no
    /// mark.
    #[inline]
    pub(crate) const fn above(&self) -> usize {
        self.above
    }

    /// Whether the stack has no mark.
    #[inline]
    pub(crate) const fn is_bare(&self) -> bool {
        self.used == 0
    }

    /// Removes `takes` objects and adds `gives` objects.
    #[inline]
    pub(crate) const fn replace(&mut self, takes: usize, gives: usize) -> Result<(), Fault> {
        match self.above.checked_sub(takes) {
            Some(left) => {
                self.above = left + gives;
                Ok(())
            }
            None => Err(Fault::StackUnderflow),
        }
    }

    /// Adds one object.
    #[inline]
    pub(crate) const fn push_object(&mut self) {
        self.above += 1;
    }

    /// Puts a mark on top of the stack.
    #[inline]
    pub(crate) fn open(&mut self) {
        match u8::try_from(self.above) {
            Ok(narrow) if narrow != WIDE => self.push(narrow),
            _ => {
                for byte in self.above.to_le_bytes() {
                    self.push(byte);
                }
                self.push(WIDE);
            }
        }
        self.above = 0;
    }

    /// Removes the topmost mark and everything above it. Returns how many objects stood above it.
    #[inline]
    pub(crate) fn close(&mut self) -> Result<usize, Fault> {
        let taken = self.above;
        self.above = match self.pop().ok_or(Fault::NoMark)? {
            WIDE => {
                let mut wide = [0; size_of::<usize>()];
                for byte in wide.iter_mut().rev() {
                    *byte = self.pop().ok_or(Fault::NoMark)?;
                }
                usize::from_le_bytes(wide)
            }
            narrow => narrow.into(),
        };
        Ok(taken)
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        match self.in_place.get_mut(self.used) {
            Some(place) => {
                *place = byte;
                self.used += 1;
            }
            None => self.spilled.push(byte),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<u8> {
        if let Some(byte) = self.spilled.pop() {
            return Some(byte);
        }
        self.used = self.used.checked_sub(1)?;
        self.in_place.get(self.used).copied()
    }
}
