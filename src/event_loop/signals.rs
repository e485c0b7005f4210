//! The signals that the process acts on, as a readable descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that we act on, taken out of their asynchronous way.
pub struct Signals {
    descriptor: SignalFd,
    /// Of SIGTERM alone. The system hands signals out by their numbers, and would hand out the
    /// others first for as long as somebody sends them.
    stop: SignalFd,
}

/// What the process was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalMeaning {
    /// SIGTERM: the executor's ordinary way to end us.
    Stop,
    /// SIGCONT: the keeper has ended, if it is not there; a shell's `fg` otherwise.
    LookForKeeper,
    /// SIGINT and SIGHUP: they reach the whole process group or terminal. The executor will end us
    /// itself, by SIGTERM, or go, which is noticed.
    Nothing,
}

impl Signals {
    /// Until there is a configuration, SIGTERM ends the process as it ends any other, whatever the
    /// parent had blocked; SIGINT and SIGHUP wait.
    ///
    /// # Errors
    /// None that a system with signals has.
    pub fn until_configured() -> io::Result<()> {
        let mut waiting = SigSet::empty();
        waiting.add(Signal::SIGINT);
        waiting.add(Signal::SIGHUP);
        Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waiting), None)?)
    }

    /// Before any thread is started, so that all of them inherit the mask.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    pub fn open() -> io::Result<Self> {
        let mut mine = SigSet::empty();
        mine.add(Signal::SIGTERM);
        mine.add(Signal::SIGINT);
        mine.add(Signal::SIGHUP);
        mine.add(Signal::SIGCONT);
        // The parent may have blocked anything; what is not ours is let through again. A file that
        // has come to its limit (`ulimit -f`) costs its lines, and not the process.
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

    /// Whether SIGTERM has come, and was not told of before.
    pub(super) fn is_told_to_end(&self) -> bool {
        read(&self.stop).is_some()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_fd().as_raw_fd()
    }

    /// SIGTERM before all others.
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

    /// To this thread, whose mask is its own.
    #[test]
    fn sigterm_comes_before_all_that_came_earlier() {
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
