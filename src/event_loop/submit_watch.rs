//! Whether the submit side lives.
//!
//! There are two witnesses. The process to watch is decided once, at the start: the one above us
//! that holds the port of commands, else whoever started us. A pidfd on it becomes readable when it
//! ends; without one it is looked for again and again. And the submit side's three listening
//! sockets vanish with it, whoever it is: when all are closed and refused for [`REFUSED_FOR`], it
//! is gone too. A submit process that is merely stopped keeps its sockets.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use super::ancestry::Ancestry;
use super::memory::ScarceMemory;
use super::process::Process;
use super::socket_monitor::{SocketEvent, SocketMonitor};
use broker::Now;
use submit_side::config::SubmitSide;

/// How long all three sockets must have been closed and refused. Shorter than the two seconds
/// within which we are to be gone.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long the three sockets may be silent, neither connected nor refused: their machine may be
/// another one, behind a network that drops packets for a while.
const UNREACHED_FOR: Duration = Duration::from_secs(60);
/// libzmq makes a connection again within some 100 ms, or not at all.
const MADE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Without a pidfd, the process is looked for this often.
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(500);

/// Whose end is ours, as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchTarget {
    /// The submit process, or whoever started us.
    Starter,
    /// The one that `--watch-pid` names.
    Process(i32),
    /// Only the submit side's sockets are watched.
    Nobody,
}

/// Whose end is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedProcess(Option<(Process, Role)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It holds the port of commands.
    SubmitProcess,
    /// None above us does, as far as we may see.
    Starter,
    Named,
}

impl WatchedProcess {
    /// Decides.
    pub fn of(target: WatchTarget, ancestry: &Ancestry, side: &SubmitSide) -> Self {
        Self(match target {
            WatchTarget::Nobody => None,
            WatchTarget::Process(pid) => {
                Pid::from_raw(pid).map(|pid| (Process::of(pid), Role::Named))
            }
            WatchTarget::Starter => {
                let submit_process = ancestry.listener_at(side.command_port);
                let starter = || Some((*ancestry.processes.first()?, Role::Starter));
                submit_process
                    .map(|process| (process, Role::SubmitProcess))
                    .or_else(starter)
            }
        })
    }

    /// Looks; None if only ports are watched.
    pub(super) fn is_alive(self) -> Option<bool> {
        self.0.map(|(process, _)| process.is_alive())
    }

    /// None if only ports are watched.
    pub fn pid(self) -> Option<u32> {
        self.0.map(|(process, _)| process.number())
    }
}

impl fmt::Display for WatchedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((process, role)) = self.0 else {
            return f.write_str("the submit side's ports");
        };
        let process = process.number();
        match role {
            Role::SubmitProcess => write!(f, "the submit process, {process}"),
            Role::Starter => write!(f, "the process that started us, {process}"),
            Role::Named => write!(f, "the process of --watch-pid, {process}"),
        }
    }
}

/// The first witness.
pub(super) struct ProcessWatch {
    watched: WatchedProcess,
    /// Whoever started us is the keeper's parent then, and not ours.
    is_kept: bool,
    means: Means,
}

enum Means {
    Descriptor(OwnedFd),
    /// The kernel is older than pidfds (5.3), or does not let us have one.
    Looking {
        next: Duration,
    },
    /// There is nobody to watch.
    None,
}

impl ProcessWatch {
    /// `None` if the process is gone already.
    pub(super) fn open(watched: WatchedProcess, is_kept: bool) -> Option<Self> {
        let of = |means| Self {
            watched,
            is_kept,
            means,
        };
        let Some((process, _)) = watched.0 else {
            return Some(of(Means::None));
        };
        let means = match pidfd_open(process.pid, PidfdFlags::empty()) {
            Ok(descriptor) => Means::Descriptor(descriptor),
            Err(_) => Means::Looking {
                next: Duration::ZERO,
            },
        };
        let watch = of(means);
        // Looked at again: the number may have passed to another process before it was opened.
        watch.finds_it().then_some(watch)
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match &self.means {
            Means::Descriptor(descriptor) => Some(descriptor.as_raw_fd()),
            Means::Looking { .. } | Means::None => None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match &self.means {
            Means::Looking { next } => Some(*next),
            Means::Descriptor(_) | Means::None => None,
        }
    }

    /// Which process has ended, if it has. `readable` is what the poll said of the descriptor.
    pub(super) fn verdict(&mut self, readable: bool, now: Now) -> Option<&'static str> {
        let has_ended = match &mut self.means {
            Means::Descriptor(_) => readable,
            Means::Looking { next } if *next <= now.monotonic => {
                *next = now.monotonic + LOOKED_FOR_EVERY;
                !self.finds_it()
            }
            Means::Looking { .. } | Means::None => false,
        };
        let (_, role) = self.watched.0.filter(|_| has_ended)?;
        Some(match role {
            Role::SubmitProcess => "the submit process has ended",
            Role::Starter => "the process that started us has ended",
            Role::Named => "the process of --watch-pid has ended",
        })
    }

    fn finds_it(&self) -> bool {
        self.watched.0.is_none_or(|(process, role)| {
            // A parent that `/proc` does not show is known by that it is still ours.
            let may_be_another = role != Role::Starter || self.is_kept;
            process.is_alive() && (may_be_another || getppid() == Some(process.pid))
        })
    }
}

/// The second witness: the three connections to the submit side.
pub(super) struct ConnectionWatch {
    sockets: [WatchedSocket; 3],
}

struct WatchedSocket {
    monitor: SocketMonitor,
    state: Reachability,
    /// What goes by it.
    carries: &'static str,
    was_connected: bool,
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
    pub(super) fn new(monitors: [(&'static str, SocketMonitor); 3], now: Now) -> Self {
        let state = Reachability::Not {
            since: now.monotonic,
            refused: false,
        };
        Self {
            sockets: monitors.map(|(carries, monitor)| WatchedSocket {
                monitor,
                state,
                carries,
                was_connected: false,
            }),
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
                socket.was_connected |= socket.is_connected();
            }
        }
    }

    /// When the submit side is to be given up, or a connection made again, if nothing changes.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.given_up_at().or_else(|| Some(self.broken()?.1))
    }

    /// A connection that has not come back though the submit side is there, once it is due; by its
    /// place.
    pub(super) fn take_broken(&mut self, now: Now) -> Option<usize> {
        let (place, _) = self.broken().filter(|(_, due)| *due <= now.monotonic)?;
        let socket = &mut self.sockets[place];
        socket.tell_that_it_is_made_again();
        socket.state = Reachability::Not {
            since: now.monotonic,
            refused: false,
        };
        Some(place)
    }

    /// The first that is not there while another one is, and when it is due.
    fn broken(&self) -> Option<(usize, Duration)> {
        let is_there = self.sockets.iter().any(WatchedSocket::is_connected);
        let mut sockets = self.sockets.iter().enumerate();
        sockets
            .find_map(|(place, socket)| Some((place, socket.made_again_at()?)))
            .filter(|_| is_there)
    }

    /// All three must be out of reach; the last of them decides.
    fn given_up_at(&self) -> Option<Duration> {
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
        (self.given_up_at()? <= now.monotonic).then_some("none of its ports can be reached")
    }
}

impl WatchedSocket {
    fn is_connected(&self) -> bool {
        self.state == Reachability::Connected
    }

    /// When a connection that was there is made again, if libzmq does not do it.
    fn made_again_at(&self) -> Option<Duration> {
        match self.state {
            Reachability::Not { since, .. } if self.was_connected => Some(since + MADE_AGAIN_AFTER),
            Reachability::Not { .. } | Reachability::Connected => None,
        }
    }

    fn tell_that_it_is_made_again(&self) {
        let cause = match ScarceMemory::found() {
            Some(scarce) => format!("A message that is too large does that: {scarce}"),
            None => "The log of the network, or of a memory limit, may tell the cause".to_owned(),
        };
        codes::log!(
            CONNECTION_BROKEN,
            "The connection for {} to the submit side broke; reconnecting. Messages under way are \
             lost, and their futures may never complete. {cause}",
            self.carries
        );
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
