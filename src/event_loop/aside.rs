//! Support for short messages to the executor without an event loop: a libzmq context, and the
//! handler for its key checks.

use std::io;
use std::time::Duration;

use zmq::{Context, Socket};

use super::key_check::KeyCheck;
use super::opening::OWN_THREADS;
use super::threads::check_threads;
use submit_side::curve::Certificates;

/// libzmq's default number of I/O threads.
const IO_THREADS: usize = 1;

/// The context and the key check. Drop this after its sockets: the context waits for lingering
/// messages.
pub(super) struct Aside {
    key_check: Option<KeyCheck>,
    context: Context,
}

impl Aside {
    /// Creates the context and, if there are certificates, the handler of key checks.
    ///
    /// # Errors
    /// There are no threads for libzmq, or the keys cannot be checked.
    pub(super) fn open(certificates: Option<&Certificates>) -> io::Result<Self> {
        let context = Context::new();
        check_threads(OWN_THREADS + IO_THREADS).map_err(io::Error::other)?;
        let key_check = KeyCheck::open_if_encrypted(&context, certificates)?;
        Ok(Self { key_check, context })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Waits until one of these sockets is readable or a key check is requested, at most for
    /// `patience`. Answers key checks.
    pub(super) fn wait(&self, sockets: [&Socket; 2], patience: Duration) {
        let keys = self.key_check.as_ref().map(KeyCheck::socket);
        let mut items: Vec<_> = (sockets.into_iter().chain(keys))
            .map(|socket| socket.as_poll_item(zmq::POLLIN))
            .collect();
        let _ = zmq::poll(&mut items, patience.as_millis().max(1) as i64);
        let keys = self.key_check.as_ref();
        while keys.is_some_and(|keys| keys.answer_one(|_| true)) {}
    }
}
