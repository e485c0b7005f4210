//! The books that a walk over a pickle keeps instead of a real stack and memo: how many objects
//! stand between the marks, and which memo entries have been written.
//!
//! Both are compact, because a hostile pickle may consist of nothing but marks: neither ever takes
//! more than a small multiple of the bytes that were received, and neither allocates for a pickle
//! of ordinary depth.

use super::error::Fault;

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
pub(super) struct Marks {
    above: usize,
    in_place: [u8; MARKS_IN_PLACE],
    used: usize,
    spilled: Vec<u8>,
}

impl Marks {
    pub(super) const fn new() -> Self {
        Self {
            above: 0,
            in_place: [0; MARKS_IN_PLACE],
            used: 0,
            spilled: Vec::new(),
        }
    }

    /// How many objects stand above the topmost mark, or above the bottom if there is none.
    #[inline]
    pub(super) const fn above(&self) -> usize {
        self.above
    }

    /// Whether no mark is left.
    #[inline]
    pub(super) const fn is_bare(&self) -> bool {
        self.used == 0
    }

    /// An instruction that takes objects and leaves objects.
    #[inline]
    pub(super) const fn replace(&mut self, takes: usize, gives: usize) -> Result<(), Fault> {
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
    pub(super) const fn push_object(&mut self) {
        self.above += 1;
    }

    /// Sets a mark on top of everything.
    #[inline]
    pub(super) fn open(&mut self) {
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
    pub(super) fn close(&mut self) -> Result<usize, Fault> {
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

/// Which memo entries have been written: all below `dense`, and those whose bits are set.
#[derive(Debug)]
pub(super) struct Memo {
    limit: usize,
    dense: usize,
    bits: Vec<u64>,
    scattered: usize,
}

impl Memo {
    /// The memo of a pickle of `limit` bytes, whose indices must stay below that.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            dense: 0,
            bits: Vec::new(),
            scattered: 0,
        }
    }

    /// MEMOIZE: writes the entry whose index is the number of entries.
    #[inline]
    pub(super) fn write_next(&mut self) -> Result<(), Fault> {
        self.write((self.dense + self.scattered) as u64)
    }

    /// PUT and its like.
    #[inline]
    pub(super) fn write(&mut self, index: u64) -> Result<(), Fault> {
        let place = usize::try_from(index)
            .ok()
            .filter(|&place| place < self.limit);
        let place = place.ok_or(Fault::MemoIndexTooLarge(index))?;
        if place == self.dense && self.scattered == 0 {
            self.dense += 1;
        } else if place >= self.dense {
            self.scatter(place);
        }
        Ok(())
    }

    /// GET and its like.
    pub(super) fn read(&self, index: u64) -> Result<(), Fault> {
        let place = usize::try_from(index).map_err(|_| Fault::MemoMissing(index))?;
        let bit = 1 << (place % 64);
        let scattered = self
            .bits
            .get(place / 64)
            .is_some_and(|word| word & bit != 0);
        if place < self.dense || scattered {
            Ok(())
        } else {
            Err(Fault::MemoMissing(index))
        }
    }

    /// A pickle that numbers its memo entries with gaps: one bit for each index up to the largest,
    /// which is less than one for each byte received.
    #[cold]
    fn scatter(&mut self, place: usize) {
        if self.bits.len() <= place / 64 {
            self.bits.resize(place / 64 + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(place / 64) {
            let bit = 1 << (place % 64);
            self.scattered += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }
}
