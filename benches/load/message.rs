//! Makes messages from buffers with as few copies as possible.

use zmq::Message;

/// Largest size that is copied; up to it, a copy costs less than a second allocation.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Makes a message from `buffer`. A small buffer is reused.
pub(crate) fn message_of(buffer: &mut Vec<u8>) -> Message {
    if buffer.len() <= COPIED_BYTES_MAX {
        Message::from(buffer.as_slice())
    } else {
        Message::from(std::mem::take(buffer))
    }
}
