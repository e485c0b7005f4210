//! State that the submit side's thread and the managers' thread share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::trouble::{Outcome, Trouble, violation};

/// Counts of the managers' thread, which the submit side reads. They only grow.
#[derive(Default)]
pub(crate) struct Shared {
    registered: AtomicUsize,
    received: AtomicU64,
    results_sent: AtomicU64,
    echoes: AtomicU64,
    first_connect: OnceLock<Instant>,
    trouble: OnceLock<Trouble>,
    coming_and_going: Mutex<ComingAndGoing>,
}

/// What the submit side must know of managers that come and go.
#[derive(Default)]
pub(crate) struct ComingAndGoing {
    /// Managers whose connection broke or that died: only their tasks may be lost.
    pub excused: HashSet<String>,
    /// Tasks that managers held when they died: each will be lost.
    pub doomed: HashSet<u64>,
    /// Managers that are registered and take tasks.
    pub working: Vec<String>,
    /// Managers that have a connection.
    pub connected: usize,
    pub counts: Counts,
}

/// How often managers came and went.
#[derive(Default, Clone, Copy)]
pub(crate) struct Counts {
    pub died: u64,
    /// Others that took the identity of one that died.
    pub usurped: u64,
    pub drained: u64,
    pub reconnected: u64,
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

    pub(crate) fn coming_and_going(&self) -> MutexGuard<'_, ComingAndGoing> {
        // A thread that panicked has ended the run.
        let lock = self.coming_and_going.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a lost task's manager was to be lost.
    ///
    /// # Errors
    /// A violation if nothing happened to the manager.
    pub(crate) fn check_loss(&self, id: u64, manager: &str) -> Outcome<()> {
        let mut told = self.coming_and_going();
        told.doomed.remove(&id);
        match told.excused.contains(manager) {
            true => Ok(()),
            false => violation(format!(
                "task {id} is lost with manager {manager}, to which nothing happened"
            )),
        }
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
