//! Results for the executor that have not been sent yet, in their order.

use super::outbox::Outbox;
use super::transport::Transport;
use protocol::SHARES_BUFFER_UP_TO_BYTES;

/// Maximum size of large results in the transport; libzmq's own limit counts messages.
const IN_TRANSIT_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Results<F> {
    waiting: Outbox<F>,
    /// Whether the socket was full at the last attempt.
    is_socket_full: bool,
}

impl<F: AsRef<[u8]>> Results<F> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Outbox::default(),
            is_socket_full: false,
        }
    }

    /// Returns the size of results that wait here or in the transport. Small results in the
    /// transport are not counted: a few megabytes.
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
        // Waiting results were tried at the beginning of the turn, and are sent first.
        let left = match self.waiting.is_empty() {
            true => self.try_one(transport, frame),
            false => Some(frame),
        };
        if let Some(frame) = left {
            // A small result pins all of the receive buffer that it shares.
            let frame = match frame.as_ref().len() {
                ..=SHARES_BUFFER_UP_TO_BYTES => T::frame_of(frame.as_ref().to_vec()),
                _ => frame,
            };
            self.waiting.push(frame.as_ref().len(), frame);
        }
    }

    /// Sends waiting results as far as the executor takes them.
    pub(super) fn flush<T: Transport<Frame = F>>(&mut self, transport: &mut T) {
        while let Some(frame) = self.waiting.pop() {
            if let Some(frame) = self.try_one(transport, frame) {
                return self.waiting.push_front(frame.as_ref().len(), frame);
            }
        }
    }

    /// Sends a result. Returns the result if it cannot be sent now.
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
