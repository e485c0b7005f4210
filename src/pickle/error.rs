//! What can be wrong with a pickle, and at which byte.
//!
//! Faults are precise causes, so that a log line says what a person would look for in a hex dump.
//! Whether a fault is worth a log line at all is decided elsewhere.

/// What was wrong and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct PickleError {
    /// What was wrong.
    pub fault: Fault,
    /// Where the instruction at fault begins, counted in bytes from the start of the pickle.
    pub offset: usize,
}

/// The causes for which a pickle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end before the STOP, inside an argument, or inside a frame.
    #[error("the pickle is truncated")]
    Truncated,
    /// No protocol has this opcode.
    #[error("unknown opcode {0:#04x}")]
    UnknownOpcode(u8),
    /// PROTO announces a protocol that Python does not know either.
    #[error("unsupported pickle protocol {0}")]
    UnsupportedProtocol(u8),
    /// An instruction wants more objects than stand above the topmost mark.
    #[error("stack underflow")]
    StackUnderflow,
    /// An instruction works down to a mark, and there is none.
    #[error("no mark on the stack")]
    NoMark,
    /// A dict is to be filled from an odd number of objects.
    #[error("odd number of items for a dict")]
    OddItems,
    /// A memo entry is read that was never written.
    #[error("memo entry {0} was never written")]
    MemoMissing(u64),
    /// A memo index that a pickle of this length cannot need. Python would load it, at the cost of
    /// a table of that size; no pickler writes one.
    #[error("memo index {0} is not below the length of the pickle")]
    MemoIndexTooLarge(u64),
    /// Text that is not in the encoding, the quotes or the escapes that its opcode prescribes.
    #[error("malformed text")]
    BadText,
    /// A number in decimal that Python would not read.
    #[error("malformed number")]
    BadNumber,
    /// LONG4 with a negative count of bytes.
    #[error("negative length")]
    NegativeLength,
    /// PERSID or BINPERSID: nobody on the loading side would resolve it.
    #[error("a persistent id")]
    PersistentId,
    /// EXT1, EXT2 or EXT4: refers to a registry of the process that wrote it.
    #[error("an extension code")]
    Extension,
    /// `NEXT_BUFFER` or `READONLY_BUFFER`: the buffer did not travel with the pickle.
    #[error("an out-of-band buffer")]
    OutOfBandBuffer,
    /// An object is used in a way that its type does not allow, such as an item for an int.
    /// Only [`Tree::read`](crate::Tree::read) looks at types.
    #[error("an operand of the wrong type")]
    WrongType,
    /// A list, dict, set or bytearray stands where Python would hash it.
    /// Only [`Tree::read`](crate::Tree::read) looks at types.
    #[error("an unhashable key")]
    Unhashable,
    /// [`Tree::read`](crate::Tree::read) counts in 32 bits and takes no pickle of 4 GiB or more.
    #[error("a pickle too long to be decoded")]
    TooLong,
    /// More instructions than are ever decoded: such an object is carried, not understood.
    /// Only [`Tree::read`](crate::Tree::read) has a limit.
    #[error("a pickle of too many objects to be decoded")]
    TooComplex,
}

impl Fault {
    /// This fault, found in the instruction that begins at `offset`.
    #[must_use]
    pub(crate) const fn at(self, offset: usize) -> PickleError {
        PickleError {
            fault: self,
            offset,
        }
    }
}
