//! One frame as libzmq handed it over.

use std::os::fd::RawFd;

use zmq::Message;

/// A received message, carried without a copy.
pub(super) struct Frame(Message);

impl Frame {
    pub(super) fn new(message: Message) -> Self {
        Self(message)
    }

    pub(super) fn into_message(self) -> Message {
        self.0
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Which descriptor a message came by: a property that libzmq keeps for its own old interface.
pub(super) fn descriptor_of(message: &mut Message) -> Option<RawFd> {
    message.gets("__fd")?.parse().ok()
}
