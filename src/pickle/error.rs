//! The errors in a pickle, each with the byte at which it was found.
//!
//! The causes are precise, so that a log line names what a person would look for in a hex dump. The
//! caller decides whether an error is logged at all.

/// An error in a pickle: its cause and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct PickleError {
    /// The cause.
    pub fault: Fault,
    /// Offset of the faulty instruction, in bytes from the start of the pickle.
    pub offset: usize,
}

/// The causes for which a pickle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end before STOP, inside an argument, or inside a frame.
    #[error("the pickle is truncated")]
    Truncated,
    /// An opcode that no protocol has.
    #[error("unknown opcode {0:#04x}")]
    UnknownOpcode(u8),
    /// PROTO names a protocol that Python does not know either.
    #[error("unsupported pickle protocol {0}")]
    UnsupportedProtocol(u8),
    /// An instruction takes more objects than stand above the topmost mark.
    #[error("stack underflow")]
    StackUnderflow,
    /// An instruction works down to a mark, but the stack has no mark.
    #[error("no mark on the stack")]
    NoMark,
    /// An odd number of objects for the keys and values of a dict.
    #[error("odd number of items for a dict")]
    OddItems,
    /// The memo entry that is read was never written.
    #[error("memo entry {0} was never written")]
    MemoMissing(u64),
    /// A memo index that a pickle of this length cannot need. Python loads such a pickle, but
    /// allocates a table of that size. No pickler writes such an index.
    #[error("memo index {0} is not below the length of the pickle")]
    MemoIndexTooLarge(u64),
    /// Text that violates the encoding, the quotes or the escapes that its opcode prescribes.
    #[error("malformed text")]
    BadText,
    /// A decimal number that Python does not read.
    #[error("malformed number")]
    BadNumber,
    /// LONG4 with a negative byte count.
    #[error("negative length")]
    NegativeLength,
    /// PERSID or BINPERSID: the loading side has no resolver for persistent ids.
    #[error("a persistent id")]
    PersistentId,
    /// EXT1, EXT2 or EXT4: refers to a registry of the process that wrote the pickle.
    #[error("an extension code")]
    Extension,
    /// `NEXT_BUFFER` or `READONLY_BUFFER`: the out-of-band buffer is not part of the pickle.
    #[error("an out-of-band buffer")]
    OutOfBandBuffer,
    /// An operation that the object's type does not allow, such as appending an item to an int.
    /// Only [`Tree::read`](crate::Tree::read) checks types.
    #[error("an operand of the wrong type")]
    WrongType,
    /// A list, dict, set or bytearray where Python would hash the object. Only
    /// [`Tree::read`](crate::Tree::read) checks types.
    #[error("an unhashable key")]
    Unhashable,
    /// A pickle of 4 GiB or more: [`Tree::read`](crate::Tree::read) counts in 32 bits.
    #[error("a pickle too long to be decoded")]
    TooLong,
    /// More instructions than the limit for decoding. Such an object can be carried, but not
    /// decoded. Only [`Tree::read`](crate::Tree::read) has this limit.
    #[error("a pickle of too many objects to be decoded")]
    TooComplex,
}

impl Fault {
    /// Returns this fault as an error of the instruction that begins at `offset`.
    #[must_use]
    pub(crate) const fn at(self, offset: usize) -> PickleError {
        PickleError {
            fault: self,
            offset,
        }
    }
}
