//! Wakes the loop when libzmq has released a message, if the loop waits for that.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

pub(super) struct Release {
    is_awaited: AtomicBool,
    descriptor: OwnedFd,
}

impl Release {
    /// Creates a `Release` that lives as long as the process, like libzmq's thread, which uses it.
    pub(super) fn leaked() -> io::Result<&'static Self> {
        let release = Self {
            is_awaited: AtomicBool::new(false),
            descriptor: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        Ok(Box::leak(Box::new(release)))
    }

    /// Returns the descriptor, which is readable once an awaited release has happened.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Makes the next release wake the loop.
    pub(super) fn begin_waiting(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// Clears the descriptor, so that it is not readable any more.
    pub(super) fn take(&self) {
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
    }

    /// Notes a release. libzmq's thread calls this.
    pub(super) fn note(&self) {
        let awaited = &self.is_awaited;
        if awaited.load(Ordering::SeqCst) && awaited.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_awaited_release_wakes_and_only_once() {
        let release = Release::leaked().unwrap();
        let is_readable =
            || crate::is_readable_within(&release.descriptor, std::time::Duration::ZERO);
        release.note();
        assert!(!is_readable());
        release.begin_waiting();
        release.note();
        assert!(is_readable());
        release.take();
        release.note();
        assert!(!is_readable());
    }
}
