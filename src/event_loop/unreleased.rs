//! Bytes that were handed to libzmq and that it has not done with, which nobody but its own thread
//! knows. It counts them down, and wakes the loop if that waits for it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// All of one kind.
pub(super) struct Everything {
    bytes: AtomicUsize,
    wake_up: Arc<WakeUp>,
}

/// Wakes the loop at a release that it waits for, of whatever kind.
pub(super) struct WakeUp {
    is_awaited: AtomicBool,
    descriptor: OwnedFd,
}

/// Those for one receiver.
pub(super) struct Unreleased {
    bytes: AtomicUsize,
    all: Arc<Everything>,
}

impl WakeUp {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            is_awaited: AtomicBool::new(false),
            descriptor: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Readable once something was released that was awaited.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// The next release wakes.
    pub(super) fn await_release(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// The descriptor is readable no longer.
    pub(super) fn take(&self) {
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
    }

    /// In libzmq's thread.
    fn note_release(&self) {
        let awaited = &self.is_awaited;
        if awaited.load(Ordering::SeqCst) && awaited.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }
}

impl Everything {
    pub(super) fn new(wake_up: &Arc<WakeUp>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            wake_up: Arc::clone(wake_up),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Unreleased {
    pub(super) fn of(all: &Arc<Everything>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            all: Arc::clone(all),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// In libzmq's thread.
    pub(super) fn release(&self, bytes: usize) {
        self.take_back(bytes);
        self.all.wake_up.note_release();
    }

    /// What is left counts no longer, whenever libzmq has done with it.
    pub(super) fn give_up(&self) {
        self.take_back(usize::MAX);
    }

    /// So many do not count any more, and nobody is woken.
    pub(super) fn take_back(&self, bytes: usize) {
        let rest = |left: usize| Some(left.saturating_sub(bytes));
        let before = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        let before = before.unwrap_or_else(|left| left);
        self.all
            .bytes
            .fetch_sub(before.min(bytes), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> (Arc<WakeUp>, Arc<Everything>) {
        let wake_up = Arc::new(WakeUp::new().unwrap());
        let all = Arc::new(Everything::new(&wake_up));
        (wake_up, all)
    }

    #[test]
    fn what_was_given_up_is_not_counted_down_again() {
        let (_wake_up, all) = everything();
        let [gone, there] = [(); 2].map(|()| Unreleased::of(&all));
        gone.add(10);
        there.add(5);
        gone.give_up();
        assert_eq!(all.bytes(), 5);
        gone.release(10);
        assert_eq!((gone.bytes(), all.bytes()), (0, 5));
        there.release(5);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn only_what_is_awaited_wakes_and_only_once() {
        let (wake_up, all) = everything();
        let one = Unreleased::of(&all);
        let is_readable =
            || crate::is_readable_within(&wake_up.descriptor, std::time::Duration::ZERO);
        one.add(3);
        one.release(1);
        assert!(!is_readable());
        wake_up.await_release();
        one.release(1);
        assert!(is_readable());
        wake_up.take();
        one.release(1);
        assert!(!is_readable());
    }
}
