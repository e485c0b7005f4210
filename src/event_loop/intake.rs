//! How much is taken in: what does not fit stays with the submit side.
//!
//! Tasks that wait for a manager, those that a manager has not taken yet, and results that wait for
//! the executor are counted. Above the bound the task socket is not read: libzmq and TCP fill up,
//! and then tasks wait in the submit process. Below a lower mark they are taken again. A single
//! task larger than the bound is taken when nothing else is here.

use tracing::{info, warn};

use super::memory;

/// The bound where nobody names one: this share of what the machine (or our part of it) has.
const SHARE_OF_MEMORY: usize = 4;
/// Where that cannot be found out.
const BOUND_IF_UNKNOWN_BYTES: usize = 1 << 30;
/// Results that the executor has not taken: above this no task is dispatched, because managers and
/// heartbeats share one socket, and only what is not dispatched gives no result.
const RESULTS_HELD_BYTES_MAX: usize = 256 << 20;

/// What is to be done about the task socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Shut,
    Open,
}

/// What counts against the bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBytes {
    pub(super) queued: usize,
    /// Of tasks that were handed out, and are still here.
    pub(super) unsent_batches: usize,
    pub(super) unsent_results: usize,
}

impl HeldBytes {
    pub(super) fn all(self) -> usize {
        self.tasks().saturating_add(self.unsent_results)
    }

    fn tasks(self) -> usize {
        self.queued.saturating_add(self.unsent_batches)
    }
}

pub(super) struct Intake {
    bound_bytes: usize,
    is_open: bool,
}

impl Intake {
    /// With the bound that the operator names, or a share of the memory.
    pub(super) fn new(named_bytes: Option<usize>) -> Self {
        let intake = Self {
            bound_bytes: named_bytes.unwrap_or_else(|| match memory::available_to_us_bytes() {
                Some(bytes) => bytes / SHARE_OF_MEMORY,
                None => BOUND_IF_UNKNOWN_BYTES,
            }),
            is_open: true,
        };
        let source = match named_bytes {
            Some(_) => "--max-queued-bytes",
            None => "a share of the memory; --max-queued-bytes names another",
        };
        info!(
            "Up to {} of tasks and unsent results are held ({source})",
            megabytes(intake.bound_bytes)
        );
        intake
    }

    pub(super) fn bound_bytes(&self) -> usize {
        self.bound_bytes
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// How much more is taken before the next decision.
    pub(super) fn room_bytes(&self, held: HeldBytes) -> usize {
        self.bound_bytes.saturating_sub(held.all())
    }

    /// Whether tasks may leave, with so many bytes of results that cannot.
    pub(super) fn may_dispatch(&self, unsent_results_bytes: usize) -> bool {
        unsent_results_bytes < self.bound_bytes.min(RESULTS_HELD_BYTES_MAX)
    }

    /// Looks at what is held now, and tells what changes with it.
    pub(super) fn decide(&mut self, held: HeldBytes) -> Option<Change> {
        if self.is_open && held.all() >= self.bound_bytes {
            self.is_open = false;
            warn!(
                "{} of tasks and {} of unsent results are held: no more tasks are taken from the \
                 submit side, where they wait, until less than {} are. Nothing is lost. More \
                 workers would help, or a larger --max-queued-bytes",
                megabytes(held.tasks()),
                megabytes(held.unsent_results),
                megabytes(self.low_mark_bytes())
            );
            return Some(Change::Shut);
        }
        if !self.is_open && held.all() < self.low_mark_bytes() {
            self.is_open = true;
            info!("Tasks are taken again: {} are held", megabytes(held.all()));
            return Some(Change::Open);
        }
        None
    }

    fn low_mark_bytes(&self) -> usize {
        self.bound_bytes - self.bound_bytes / 4
    }
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(queued: usize, unsent_results: usize) -> HeldBytes {
        HeldBytes {
            queued,
            unsent_batches: 0,
            unsent_results,
        }
    }

    #[test]
    fn shut_at_the_bound_and_open_below_the_mark() {
        let mut intake = Intake::new(Some(1000));
        assert_eq!(intake.decide(held(600, 399)), None);
        assert_eq!(intake.decide(held(600, 400)), Some(Change::Shut));
        assert_eq!(intake.decide(held(5000, 0)), None);
        assert_eq!(intake.decide(held(750, 0)), None);
        assert!(!intake.is_open());
        assert_eq!(intake.decide(held(0, 749)), Some(Change::Open));
        assert_eq!(intake.decide(held(0, 749)), None);
    }

    #[test]
    fn a_bound_below_every_task_lets_them_in_one_by_one() {
        let mut intake = Intake::new(Some(1));
        assert_eq!(intake.decide(held(50, 0)), Some(Change::Shut));
        assert_eq!(intake.decide(held(0, 0)), Some(Change::Open));
    }

    #[test]
    fn results_that_cannot_leave_stop_the_dispatch() {
        let intake = Intake::new(Some(1000));
        assert!(intake.may_dispatch(999));
        assert!(!intake.may_dispatch(1000));
        assert!(!Intake::new(Some(usize::MAX)).may_dispatch(RESULTS_HELD_BYTES_MAX));
    }

    #[test]
    fn unasked_it_is_a_share_of_the_memory() {
        let machine = memory::available_to_us_bytes().unwrap();
        assert!(Intake::new(None).bound_bytes <= machine / 4);
    }
}
