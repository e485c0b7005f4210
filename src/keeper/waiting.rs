//! The two events that a keeper waits for: a signal, and its child's end.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Ended;

/// The signals that the keeper waits for. SIGINT and SIGHUP reach the broker as well, which logs
/// that it ignores them.
pub(super) fn signals_of_the_keeper() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        // SIGCONT is for the broker, which inherits the blocked signals.
        Signal::SIGCONT,
    ] {
        signals.add(signal);
    }
    signals
}

/// Waits for a signal and returns it; returns None at `until`.
pub(super) fn next_signal(until: Option<Instant>) -> Option<Signal> {
    let signals = signals_of_the_keeper();
    loop {
        let left = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: left.as_secs() as _,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let patience = left.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: the pointers are to a set, to memory for the result, and to a time or null.
        let number = unsafe {
            libc::sigtimedwait(ptr::from_ref(signals.as_ref()), info.as_mut_ptr(), patience)
        };
        match number {
            -1 if Errno::last() == Errno::EAGAIN => return None,
            // The call was interrupted, for example by stopping and continuing the process.
            -1 => {}
            number => return Signal::try_from(number).ok(),
        }
    }
}

/// The change of a child since the last call of [`news_of`].
pub(super) enum News {
    None,
    Ended(Ended),
    Stopped,
    Continued,
}

pub(super) fn news_of(child: Pid) -> News {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
    match waitpid(child, Some(flags)) {
        Ok(WaitStatus::Exited(_, status)) => News::Ended(Ended::Status(status)),
        Ok(WaitStatus::Signaled(_, signal, _)) => News::Ended(Ended::Signal(signal as i32)),
        // The child does not exist any more.
        Err(Errno::ECHILD) => News::Ended(Ended::Status(0)),
        Ok(WaitStatus::Stopped(..)) => News::Stopped,
        Ok(WaitStatus::Continued(_)) => News::Continued,
        Ok(_) | Err(_) => News::None,
    }
}
