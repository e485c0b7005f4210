//! The signals that the process acts on, as a readable descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The handled signals: blocked for normal delivery, and read from descriptors instead.
pub struct Signals {
    descriptor: SignalFd,
    /// A descriptor for SIGTERM only. The system delivers signals in the order of their numbers, so
    /// repeated other signals could delay SIGTERM for ever.
    stop: SignalFd,
}

/// The meaning of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalMeaning {
    /// SIGTERM: the executor's ordinary way to end the interchange.
    Stop,
    /// SIGCONT: the keeper has ended, if it is gone now; otherwise a shell's `fg` sent the signal.
    LookForKeeper,
    /// SIGINT and SIGHUP: they reach the whole process group or terminal. The executor then either
    /// ends the interchange itself, by SIGTERM, or ends, which the interchange detects.
    Nothing,
}

impl Signals {
    /// Sets the signal mask for the time before the configuration is read. SIGTERM then ends the
    /// process, even if the parent had blocked it; SIGINT and SIGHUP stay pending.
    ///
    /// # Errors
    /// None on a system that supports signals.
    pub fn until_configured() -> io::Result<()> {
        let mut waiting = SigSet::empty();
        waiting.add(Signal::SIGINT);
        waiting.add(Signal::SIGHUP);
        Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waiting), None)?)
    }

    /// Opens the descriptors. Call this before any thread starts, so that all threads inherit the
    /// mask.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    pub fn open() -> io::Result<Self> {
        let mut mine = SigSet::empty();
        mine.add(Signal::SIGTERM);
        mine.add(Signal::SIGINT);
        mine.add(Signal::SIGHUP);
        mine.add(Signal::SIGCONT);
        // The parent may have blocked any signal; all but the signals handled here are unblocked.
        // SIGXFSZ is blocked, so that a file at its size limit (`ulimit -f`) loses lines but does
        // not end the process.
        let mut blocked = mine;
        blocked.add(Signal::SIGXFSZ);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTERM);
        Ok(Self {
            descriptor: SignalFd::with_flags(&mine, flags)?,
            stop: SignalFd::with_flags(&stop, flags)?,
        })
    }

    /// Whether SIGTERM has arrived since the last call.
    pub(super) fn is_told_to_end(&self) -> bool {
        read(&self.stop).is_some()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_fd().as_raw_fd()
    }

    /// Returns the next signal, SIGTERM before all others.
    pub(super) fn next(&self) -> Option<(SignalMeaning, Signal)> {
        let signal = read(&self.stop).or_else(|| read(&self.descriptor))?;
        let asked = if signal == Signal::SIGTERM {
            SignalMeaning::Stop
        } else if signal == Signal::SIGCONT {
            SignalMeaning::LookForKeeper
        } else {
            SignalMeaning::Nothing
        };
        Some((asked, signal))
    }
}

fn read(descriptor: &SignalFd) -> Option<Signal> {
    let info = descriptor.read_signal().ok()??;
    Signal::try_from(info.ssi_signo as i32).ok()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    /// The signals go to this thread, which has its own mask.
    #[test]
    fn sigterm_is_read_before_earlier_signals() {
        let signals = Signals::open().unwrap();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            raise(signal).unwrap();
        }
        let came: Vec<_> = std::iter::from_fn(|| signals.next()).collect();
        assert_eq!(
            came,
            [
                (SignalMeaning::Stop, Signal::SIGTERM),
                (SignalMeaning::Nothing, Signal::SIGHUP),
                (SignalMeaning::Nothing, Signal::SIGINT),
            ]
        );
    }
}
