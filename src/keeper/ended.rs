//! How a process ended: a description in words, and a way to end in the same way.

use std::fmt;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, raise, signal, sigprocmask};

/// How the broker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit status.
    Status(i32),
    /// By a signal from another process, from the kernel or from a library.
    Signal(i32),
}

/// The exit statuses of a broker that has already notified the executor and the managers.
const TOLD: [i32; 4] = [0, 1, 2, 3];
/// The exit status after an internal error (EX_SOFTWARE of sysexits.h).
const FAULT: i32 = 70;
/// The number that shells add to a signal to form an exit status.
const OF_SIGNALS: i32 = 128;

impl Ended {
    /// Whether the broker may have ended without notifying the executor and the managers.
    pub fn needs_words(self) -> bool {
        match self {
            Self::Status(status) => !TOLD.contains(&status),
            Self::Signal(_) => true,
        }
    }

    /// Ends this process in the same way.
    pub(super) fn end_alike(self) -> ! {
        let status = match self {
            Self::Status(status) => status,
            Self::Signal(number) => {
                if let Ok(number) = Signal::try_from(number) {
                    raise_by_default(number);
                }
                OF_SIGNALS + number
            }
        };
        // SAFETY: _exit has no preconditions, and does not return.
        unsafe { libc::_exit(status) }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(FAULT) => write!(f, "ended with status {FAULT}, by an internal error"),
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(Signal::SIGKILL) => f.write_str(
                    "was killed (SIGKILL), as by the kernel when memory runs out, or by kill -9",
                ),
                Ok(signal) => write!(f, "was ended by {}", signal.as_str()),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
        }
    }
}

/// Raises a signal with its default action. Returns if the signal does not end this process.
fn raise_by_default(number: Signal) {
    // If core dumps are enabled, the broker has written one already.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let mut alone = SigSet::empty();
    alone.add(number);
    // SAFETY: no handler is installed.
    let _ = unsafe { signal(number, SigHandler::SigDfl) };
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&alone), None);
    let _ = raise(number);
}
