//! Whether the submit side lives.
//!
//! There are two witnesses. A pidfd on the process to watch becomes readable when it ends. And the
//! submit side's three listening sockets vanish with it, whoever our parent is (a wrapper, a
//! shell): when all are closed and refused for [`REFUSED_FOR`], it is gone too. A submit process
//! that is merely stopped keeps its sockets. A parent that was no more than a wrapper hands over to
//! the submit process above it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use super::ancestry::Ancestry;
use super::socket_monitor::{SocketEvent, SocketMonitor};
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
    /// The process that started us, or the submit process behind it.
    Parent,
    /// The one that `--watch-pid` names.
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
        ancestry: &Ancestry,
        submit_side: &SubmitSide,
    ) -> Option<Self> {
        let pid = match target {
            WatchTarget::Nobody => return Some(Self::Nobody),
            WatchTarget::Process(pid) => Pid::from_raw(pid)?,
            // No parent in our own pid namespace: it is outside of the container.
            WatchTarget::Parent => match ancestry.parent {
                Some(parent) => parent,
                None => return Some(Self::Nobody),
            },
        };
        let opened = pidfd_open(pid, PidfdFlags::empty());
        // Between the two readings the number may have passed to another process.
        if target == WatchTarget::Parent && getppid() != ancestry.parent {
            return Self::behind(ancestry, submit_side).map(|(watch, _)| watch);
        }
        match opened {
            Ok(descriptor) => Some(Self::Descriptor(descriptor)),
            Err(rustix::io::Errno::SRCH) => None,
            Err(_) if target == WatchTarget::Parent => Some(Self::Asking {
                parent: ancestry.parent,
                next: Duration::ZERO,
            }),
            Err(_) => Some(Self::Nobody),
        }
    }

    /// The submit process itself, where the parent that has ended was a wrapper below it.
    pub(super) fn behind(ancestry: &Ancestry, submit_side: &SubmitSide) -> Option<(Self, Pid)> {
        let process = ancestry.submit_process(submit_side)?;
        match pidfd_open(process, PidfdFlags::empty()) {
            Ok(descriptor) => Some((Self::Descriptor(descriptor), process)),
            Err(rustix::io::Errno::SRCH) => None,
            Err(_) => Some((Self::Nobody, process)),
        }
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Descriptor(descriptor) => Some(descriptor.as_raw_fd()),
            Self::Asking { .. } | Self::Nobody => None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Asking { next, .. } => Some(*next),
            Self::Descriptor(_) | Self::Nobody => None,
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
    sockets: [WatchedSocket; 3],
}

struct WatchedSocket {
    monitor: SocketMonitor,
    state: Reachability,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reachability {
    /// Since when, and whether an attempt since was refused. The submit side listens before it
    /// starts us, so a refusal tells as much before the first connection as after it.
    Not {
        since: Duration,
        refused: bool,
    },
    Connected,
}

impl ConnectionWatch {
    pub(super) fn new(monitors: [SocketMonitor; 3], now: Now) -> Self {
        let state = Reachability::Not {
            since: now.monotonic,
            refused: false,
        };
        Self {
            sockets: monitors.map(|monitor| WatchedSocket { monitor, state }),
        }
    }

    pub(super) fn sockets(&self) -> [&zmq::Socket; 3] {
        self.sockets
            .each_ref()
            .map(|socket| socket.monitor.socket())
    }

    pub(super) fn read_events(&mut self, now: Now) {
        for socket in &mut self.sockets {
            while let Some(event) = socket.monitor.next() {
                socket.state = socket.state.after(event, now);
            }
        }
    }

    /// When the submit side is to be given up if nothing changes. All three must be out of reach;
    /// the last of them decides.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let given_up = self.sockets.iter().map(|socket| match socket.state {
            Reachability::Connected => None,
            Reachability::Not { since, refused } => {
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

impl Reachability {
    fn after(self, event: SocketEvent, now: Now) -> Self {
        match (event, self) {
            (SocketEvent::Connected, _) => Self::Connected,
            (SocketEvent::Disconnected(_), Self::Connected) => Self::Not {
                since: now.monotonic,
                refused: false,
            },
            (SocketEvent::Closed, Self::Not { since, .. }) => Self::Not {
                since,
                refused: true,
            },
            (_, state) => state,
        }
    }
}
