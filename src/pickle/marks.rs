//! How many objects stand between the marks: what a walk over a pickle keeps instead of a stack.
//!
//! It is compact, because a hostile pickle may consist of nothing but marks: it never takes more
//! than a small multiple of the bytes that were received, and allocates nothing for a pickle of
//! ordinary depth.

use crate::error::Fault;

/// How many bytes of saved counts are kept in place; a mark takes one.
const MARKS_IN_PLACE: usize = 24;

/// Counts from here on are saved in nine bytes; they were paid for by as many opcodes.
const WIDE: u8 = u8::MAX;

/// The shape of the stack: how many objects stand above the topmost mark, and for each mark how
/// many stand below it, down to the next.
///
/// That is all the C unpickler's "fence" amounts to: no instruction may reach below the topmost
/// mark, except those that work down to it.
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

    /// How many objects stand above the topmost mark, or above the bottom if there is none.
    #[inline]
    pub(crate) const fn above(&self) -> usize {
        self.above
    }

    /// Whether no mark is left.
    #[inline]
    pub(crate) const fn is_bare(&self) -> bool {
        self.used == 0
    }

    /// An instruction that takes objects and leaves objects.
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

    /// One object more.
    #[inline]
    pub(crate) const fn push_object(&mut self) {
        self.above += 1;
    }

    /// Sets a mark on top of everything.
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

    /// Takes the topmost mark away and everything above it; returns how many objects that were.
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
