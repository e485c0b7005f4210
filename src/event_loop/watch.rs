//! Whether the submit side lives, and what signals came: as readable descriptors.
//!
//! There are two witnesses. A pidfd on the process to watch becomes readable when it ends. And the
//! submit side's three listening sockets vanish with it, whoever our parent is (a wrapper, a
//! shell): when all are closed and refused for [`REFUSED_FOR`], it is gone too. A submit process
//! that is merely stopped keeps its sockets. A parent that was no more than a wrapper hands over to
//! the submit process above it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use super::monitor::{Event, Monitor};
use super::starter::Starter;
use broker::Now;
use submit_side::config::SubmitSide;

/// How long all three sockets must have been closed and refused. Shorter than the two seconds
/// within which we are to be gone.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long the three sockets may be silent, neither connected nor refused: their machine may be
/// another one, behind a network that drops packets for a while.
const UNREACHED_FOR: Duration = Duration::from_secs(60);
/// Where the kernel has no pidfd, the parent is asked for this often.
const PARENT_ASKED_EVERY: Duration = Duration::from_millis(500);

/// Whose end is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchTarget {
    Parent,
    Process(i32),
    /// Only the submit side's sockets are watched.
    Nobody,
}

impl WatchTarget {
    /// The process that is meant, if any, and if it is in our own pid namespace.
    pub fn pid(self, parent: Option<Pid>) -> Option<u32> {
        let pid = match self {
            Self::Parent => parent?.as_raw_nonzero().get(),
            Self::Process(pid) => pid,
            Self::Nobody => return None,
        };
        u32::try_from(pid).ok()
    }
}

/// The signals that we act on, taken out of their asynchronous way.
pub struct Signals {
    descriptor: SignalFd,
}

/// What the process was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM: the executor's ordinary way to end us.
    Stop,
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
        // The parent may have blocked anything; what is not ours is let through again.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mine), None)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            descriptor: SignalFd::with_flags(&mine, flags)?,
        })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_fd().as_raw_fd()
    }

    pub(super) fn next(&self) -> Option<(Asked, Signal)> {
        let info = self.descriptor.read_signal().ok()??;
        let signal = Signal::try_from(info.ssi_signo as i32).ok()?;
        let asked = if signal == Signal::SIGTERM {
            Asked::Stop
        } else {
            Asked::Nothing
        };
        Some((asked, signal))
    }
}

/// The first witness.
pub(super) enum ProcessWatch {
    Descriptor(OwnedFd),
    /// No pidfd in this kernel: the parent's id changes when it ends.
    Asking {
        parent: Option<Pid>,
        next: Duration,
    },
    Nobody,
}

impl ProcessWatch {
    /// `None` if the process is gone already.
    pub(super) fn open(
        target: WatchTarget,
        starter: &Starter,
        submit_side: &SubmitSide,
    ) -> Option<Self> {
        let pid = match target {
            WatchTarget::Nobody => return Some(Self::Nobody),
            WatchTarget::Process(pid) => Pid::from_raw(pid)?,
            // No parent in our own pid namespace: it is outside of the container.
            WatchTarget::Parent => match starter.parent {
                Some(parent) => parent,
                None => return Some(Self::Nobody),
            },
        };
        let opened = pidfd_open(pid, PidfdFlags::empty());
        // Between the two readings the number may have passed to another process.
        if target == WatchTarget::Parent && getppid() != starter.parent {
            return Self::behind(starter, submit_side).map(|(watch, _)| watch);
        }
        match opened {
            Ok(descriptor) => Some(Self::Descriptor(descriptor)),
            Err(rustix::io::Errno::SRCH) => None,
            Err(_) if target == WatchTarget::Parent => Some(Self::Asking {
                parent: starter.parent,
                next: Duration::ZERO,
            }),
            Err(_) => Some(Self::Nobody),
        }
    }

    /// The submit process itself, where the parent that has ended was a wrapper below it.
    pub(super) fn behind(starter: &Starter, submit_side: &SubmitSide) -> Option<(Self, Pid)> {
        let process = starter.submit_process(submit_side)?;
        match pidfd_open(process, PidfdFlags::empty()) {
            Ok(descriptor) => Some((Self::Descriptor(descriptor), process)),
            Err(rustix::io::Errno::SRCH) => None,
            Err(_) => Some((Self::Nobody, process)),
        }
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Descriptor(descriptor) => Some(descriptor.as_raw_fd()),
            _ => None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Asking { next, .. } => Some(*next),
            _ => None,
        }
    }

    /// Whether the process has ended. `readable` is what the poll said of the descriptor.
    pub(super) fn has_ended(&mut self, readable: bool, now: Now) -> bool {
        match self {
            Self::Descriptor(_) => readable,
            Self::Asking { parent, next } => {
                if now.monotonic < *next {
                    return false;
                }
                *next = now.monotonic + PARENT_ASKED_EVERY;
                getppid() != *parent
            }
            Self::Nobody => false,
        }
    }
}

/// The second witness: the three connections to the submit side.
pub(super) struct ConnectionWatch {
    channels: [Channel; 3],
}

struct Channel {
    monitor: Monitor,
    state: Reached,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Since when, and whether an attempt since was refused. The submit side listens before it
    /// starts us, so a refusal tells as much before the first connection as after it.
    Not {
        since: Duration,
        refused: bool,
    },
    Connected,
}

impl ConnectionWatch {
    pub(super) fn new(monitors: [Monitor; 3], now: Now) -> Self {
        let state = Reached::Not {
            since: now.monotonic,
            refused: false,
        };
        Self {
            channels: monitors.map(|monitor| Channel { monitor, state }),
        }
    }

    pub(super) fn sockets(&self) -> [&zmq::Socket; 3] {
        self.channels
            .each_ref()
            .map(|channel| channel.monitor.socket())
    }

    pub(super) fn read_events(&mut self, now: Now) {
        for channel in &mut self.channels {
            while let Some(event) = channel.monitor.next() {
                channel.state = channel.state.after(event, now);
            }
        }
    }

    /// When the submit side is to be given up if nothing changes. All three must be out of reach;
    /// the last of them decides.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let given_up = self.channels.iter().map(|channel| match channel.state {
            Reached::Connected => None,
            Reached::Not { since, refused } => {
                Some(since + if refused { REFUSED_FOR } else { UNREACHED_FOR })
            }
        });
        given_up.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How the submit side went, if it did.
    pub(super) fn verdict(&self, now: Now) -> Option<&'static str> {
        (self.next_deadline()? <= now.monotonic).then_some("none of its ports can be reached")
    }
}

impl Reached {
    fn after(self, event: Event, now: Now) -> Self {
        match (event, self) {
            (Event::Connected, _) => Self::Connected,
            (Event::Disconnected(_), Self::Connected) => Self::Not {
                since: now.monotonic,
                refused: false,
            },
            (Event::Closed, Self::Not { since, .. }) => Self::Not {
                since,
                refused: true,
            },
            (_, state) => state,
        }
    }
}
