//! What a few words to the executor need where no loop runs: a context of libzmq, and whoever
//! answers its questions about keys.

use std::io;
use std::time::Duration;

use zmq::{Context, Socket};

use super::key_check::KeyCheck;
use super::opening::OWN_THREADS;
use super::threads::check_threads;
use submit_side::curve::Certificates;

/// Those that libzmq has unless told otherwise.
const IO_THREADS: usize = 1;

/// To be dropped behind its sockets: the context waits for what lingers.
pub(super) struct Aside {
    key_check: Option<KeyCheck>,
    context: Context,
}

impl Aside {
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

    /// Until one of these may be read, or a key was asked for, but no longer.
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
