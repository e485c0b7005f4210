//! The two things that a keeper waits for: a signal, and its child's end.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Ended;

/// Those that it waits for. SIGINT and SIGHUP reach the broker as well, which says that it ignores
/// them.
pub(super) fn signals_of_the_keeper() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        // The broker has it from its beginning.
        Signal::SIGCONT,
    ] {
        signals.add(signal);
    }
    signals
}

/// The next one, or None at `until`.
pub(super) fn next_signal(until: Option<Instant>) -> Option<Signal> {
    let signals = signals_of_the_keeper();
    loop {
        let left = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: left.as_secs() as libc::time_t,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let patience = left.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: the three point to a set, to room for an answer and to a time or nothing.
        let number = unsafe {
            libc::sigtimedwait(ptr::from_ref(signals.as_ref()), info.as_mut_ptr(), patience)
        };
        match number {
            -1 if Errno::last() == Errno::EAGAIN => return None,
            // It was interrupted, as by being stopped and continued.
            -1 => {}
            number => return Signal::try_from(number).ok(),
        }
    }
}

/// What became of a child since this was asked last.
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
        // Nobody is left to wait for.
        Err(Errno::ECHILD) => News::Ended(Ended::Status(0)),
        Ok(WaitStatus::Stopped(..)) => News::Stopped,
        Ok(WaitStatus::Continued(_)) => News::Continued,
        Ok(_) | Err(_) => News::None,
    }
}
