//! What the two threads know of each other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::trouble::{Outcome, Trouble};

/// Counts of the managers' thread, for the submit side's. Only ever growing.
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
    /// Managers whose registration was handled.
    pub(crate) fn registered(&self) -> usize {
        self.registered.load(Ordering::Acquire)
    }

    pub(crate) fn add_registered(&self) {
        self.registered.fetch_add(1, Ordering::Release);
    }

    /// Tasks that managers received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(crate) fn set_received(&self, count: u64) {
        self.received.store(count, Ordering::Release);
    }

    /// Results that managers sent.
    pub(crate) fn results_sent(&self) -> u64 {
        self.results_sent.load(Ordering::Acquire)
    }

    pub(crate) fn set_results_sent(&self, count: u64) {
        self.results_sent.store(count, Ordering::Release);
    }

    /// Tasks that managers received and have not answered.
    pub(crate) fn held(&self) -> u64 {
        let answered = self.results_sent();
        self.received().saturating_sub(answered)
    }

    /// Heartbeats that were answered, those of registrations included.
    pub(crate) fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Acquire)
    }

    pub(crate) fn add_echo(&self) {
        self.echoes.fetch_add(1, Ordering::Release);
    }

    /// Just before the first of the managers connected.
    pub(crate) fn first_connect(&self) -> Option<Instant> {
        self.first_connect.get().copied()
    }

    pub(crate) fn set_first_connect(&self) {
        self.first_connect.get_or_init(Instant::now);
    }

    /// The first trouble is what counts; the others often follow from it.
    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        self.trouble.get_or_init(|| trouble);
    }

    /// # Errors
    /// What the managers found.
    pub(crate) fn check(&self) -> Outcome<()> {
        self.trouble.get().cloned().map_or(Ok(()), Err)
    }
}
