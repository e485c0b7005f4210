//! State that the submit side's thread and the managers' thread share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::trouble::{Outcome, Trouble};

/// Counts of the managers' thread, which the submit side reads. They only grow.
#[derive(Default)]
pub(crate) struct Shared {
    registered: AtomicUsize,
    received: AtomicU64,
    results_sent: AtomicU64,
    echoes: AtomicU64,
    first_connect: OnceLock<Instant>,
    trouble: OnceLock<Trouble>,
}

impl Shared {
    /// Returns the number of managers whose registration was handled.
    pub(crate) fn registered(&self) -> usize {
        self.registered.load(Ordering::Acquire)
    }

    pub(crate) fn add_registered(&self) {
        self.registered.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of tasks that managers received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(crate) fn set_received(&self, count: u64) {
        self.received.store(count, Ordering::Release);
    }

    /// Returns the number of results that managers sent.
    pub(crate) fn results_sent(&self) -> u64 {
        self.results_sent.load(Ordering::Acquire)
    }

    pub(crate) fn set_results_sent(&self, count: u64) {
        self.results_sent.store(count, Ordering::Release);
    }

    /// Returns the number of tasks that managers received and have not answered.
    pub(crate) fn held(&self) -> u64 {
        let answered = self.results_sent();
        self.received().saturating_sub(answered)
    }

    /// Returns the number of heartbeats that were answered, including those after registrations.
    pub(crate) fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Acquire)
    }

    pub(crate) fn add_echo(&self) {
        self.echoes.fetch_add(1, Ordering::Release);
    }

    /// Returns the time just before the first manager connected.
    pub(crate) fn first_connect(&self) -> Option<Instant> {
        self.first_connect.get().copied()
    }

    pub(crate) fn set_first_connect(&self) {
        self.first_connect.get_or_init(Instant::now);
    }

    /// Sets the error. Only the first one is kept, because others often follow from it.
    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.trouble.get_or_init(|| trouble);
    }

    /// Checks for an error of the managers' thread.
    ///
    /// # Errors
    /// The error that the thread has set.
    pub(crate) fn check(&self) -> Outcome<()> {
        self.trouble.get().cloned().map_or(Ok(()), Err)
    }
}
