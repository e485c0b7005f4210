//! The bytes of a message on its way through: in the frame that it came in, or in the journal.

use journal::Record;

/// A frame, or what was written down of one.
#[derive(Debug)]
pub enum Carried<F> {
    /// As it came.
    Frame(F),
    /// In memory that outlives this process: so many bytes from the record's beginning.
    WrittenDown(Record, usize),
}

impl<F> Carried<F> {
    /// The frame, if it is one still.
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
