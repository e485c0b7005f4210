//! The bytes of a message that passes through: in the frame in which they arrived, or in the
//! journal.

use journal::Record;

/// A received frame, or its copy in the journal.
#[derive(Debug)]
pub enum Carried<F> {
    /// The frame as it arrived.
    Frame(F),
    /// A record in memory that outlives this process. The message is the given number of bytes at
    /// the start of the record.
    WrittenDown(Record, usize),
}

impl<F> Carried<F> {
    /// Returns the frame, or `None` if the message is in the journal.
    pub fn into_frame(self) -> Option<F> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::WrittenDown(..) => None,
        }
    }
}

impl<F: AsRef<[u8]>> AsRef<[u8]> for Carried<F> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame.as_ref(),
            Self::WrittenDown(record, len) => record.bytes().get(..*len).unwrap_or_default(),
        }
    }
}
