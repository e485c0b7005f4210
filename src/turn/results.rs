//! Results on their way to the executor, in their order.

use super::outbox::Outbox;
use super::transport::Transport;

/// What the transport may hold of large results: libzmq's own limit counts messages.
const IN_TRANSIT_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Results<F> {
    waiting: Outbox<F>,
    /// The socket took no more when it was last tried.
    is_socket_full: bool,
}

impl<F: AsRef<[u8]>> Results<F> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Outbox::default(),
            is_socket_full: false,
        }
    }

    /// Here or in the transport's hands. What it holds of small ones is left out: a few megabytes.
    pub(super) fn bytes<T: Transport<Frame = F>>(&self, transport: &T) -> usize {
        self.waiting.bytes() + transport.results_in_transit()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn wait_for_socket(&self) -> bool {
        self.is_socket_full && !self.waiting.is_empty()
    }

    pub(super) fn send<T: Transport<Frame = F>>(&mut self, transport: &mut T, frame: F) {
        // Those that wait were tried at the beginning of the turn, and go first.
        let left = match self.waiting.is_empty() {
            true => self.try_one(transport, frame),
            false => Some(frame),
        };
        if let Some(frame) = left {
            self.waiting.push(frame.as_ref().len(), frame);
        }
    }

    /// Sends what waits as far as the executor takes it.
    pub(super) fn flush<T: Transport<Frame = F>>(&mut self, transport: &mut T) {
        while let Some(frame) = self.waiting.pop() {
            if let Some(frame) = self.try_one(transport, frame) {
                return self.waiting.push_front(frame.as_ref().len(), frame);
            }
        }
    }

    /// Gives the result back if it cannot go now.
    fn try_one<T: Transport<Frame = F>>(&mut self, transport: &mut T, frame: F) -> Option<F> {
        self.is_socket_full = false;
        if transport.results_in_transit() >= IN_TRANSIT_BYTES_MAX {
            return Some(frame);
        }
        let left = transport.send_result(frame).err();
        self.is_socket_full = left.is_some();
        left
    }
}
