//! Messages out of buffers, with as few copies as may be.

use zmq::Message;

/// Below this a copy costs less than a second allocation.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// What was written to `buffer`, which is used again if it is small.
pub(crate) fn message_of(buffer: &mut Vec<u8>) -> Message {
    if buffer.len() <= COPIED_BYTES_MAX {
        Message::from(buffer.as_slice())
    } else {
        Message::from(std::mem::take(buffer))
    }
}
