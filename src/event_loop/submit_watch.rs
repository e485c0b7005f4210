//! Detects the end of the submit side, in two ways.
//!
//! First, by its process, which is chosen once at the start: the ancestor that listens on the
//! command port, else the parent process. A pidfd on that process becomes readable when it ends;
//! without a pidfd the process is checked periodically. Second, by the submit side's three
//! listening sockets, which vanish with it: when all three have been closed and refused for
//! [`REFUSED_FOR`], the submit side is gone. A submit process that is only stopped (SIGSTOP) keeps
//! its sockets.

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

/// How long all three sockets must have been closed and refused before the submit side counts as
/// gone. Shorter than the two seconds within which the interchange has to end after that.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long the three sockets may be unreachable, neither connected nor refused. The submit side
/// may be on another machine, behind a network that drops packets for a while.
const UNREACHED_FOR: Duration = Duration::from_secs(60);
/// Delay before a lost connection is reconnected here: libzmq itself reconnects within some 100 ms,
/// or not at all.
const MADE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Interval for checking the process if there is no pidfd.
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(500);

/// The process whose end also ends the interchange, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchTarget {
    /// The submit process, or the parent process if the submit process is not found.
    Starter,
    /// The process that `--watch-pid` names.
    Process(i32),
    /// Only the submit side's sockets are watched.
    Nobody,
}

/// The process whose end also ends the interchange; None inside if only ports are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedProcess(Option<(Process, Role)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The ancestor that listens on the command port.
    SubmitProcess,
    /// The parent process. No ancestor listens on the command port, as far as is visible.
    Starter,
    Named,
}

impl WatchedProcess {
    /// Chooses the process to watch.
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

    /// Whether the process is alive. None if only ports are watched.
    pub(super) fn is_alive(self) -> Option<bool> {
        self.0.map(|(process, _)| process.is_alive())
    }

    /// Returns the pid. None if only ports are watched.
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
            Role::Starter => write!(f, "the process that started the interchange, {process}"),
            Role::Named => write!(f, "the process of --watch-pid, {process}"),
        }
    }
}

/// A watch for the end of the chosen process.
pub(super) struct ProcessWatch {
    watched: WatchedProcess,
    /// Whether a keeper runs. If so, the process that started the interchange is the keeper's
    /// parent, not this process's parent.
    is_kept: bool,
    means: Means,
}

enum Means {
    Descriptor(OwnedFd),
    /// The process is checked periodically: the kernel is older than pidfds (5.3) or refuses to
    /// open one.
    Looking {
        next: Duration,
    },
    /// No process is watched.
    None,
}

impl ProcessWatch {
    /// Opens the watch. `None` if the process is gone already.
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
        // Checked again: the pid may have passed to another process before the pidfd was opened.
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

    /// Returns which process has ended, if it has. `readable` is whether the poll found the pidfd
    /// readable.
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
            Role::Starter => "the process that started the interchange has ended",
            Role::Named => "the process of --watch-pid has ended",
        })
    }

    fn finds_it(&self) -> bool {
        self.watched.0.is_none_or(|(process, role)| {
            // If `/proc` does not show the parent, it lives as long as getppid() still returns its
            // pid.
            let may_be_another = role != Role::Starter || self.is_kept;
            process.is_alive() && (may_be_another || getppid() == Some(process.pid))
        })
    }
}

/// A watch for the end of the submit side, by the three connections to it.
pub(super) struct ConnectionWatch {
    sockets: [WatchedSocket; 3],
}

struct WatchedSocket {
    monitor: SocketMonitor,
    state: Reachability,
    /// What the connection carries, as log lines name it.
    carries: &'static str,
    was_connected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reachability {
    /// Not connected: since when, and whether an attempt was refused since then. The submit side
    /// listens before it starts the interchange, so a refusal means the same before the first
    /// connection as after it.
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

    /// When the submit side counts as gone, or a connection has to be reconnected, if nothing
    /// changes.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.given_up_at().or_else(|| Some(self.broken()?.1))
    }

    /// Takes the first connection that is overdue for a reconnect although another one is
    /// connected. Returns the connection's place.
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

    /// The first connection that is missing while another one is connected, and when its reconnect
    /// is due.
    fn broken(&self) -> Option<(usize, Duration)> {
        let is_there = self.sockets.iter().any(WatchedSocket::is_connected);
        let mut sockets = self.sockets.iter().enumerate();
        sockets
            .find_map(|(place, socket)| Some((place, socket.made_again_at()?)))
            .filter(|_| is_there)
    }

    /// When the submit side counts as gone: all three connections must be out of reach, and the
    /// last one decides.
    fn given_up_at(&self) -> Option<Duration> {
        let given_up = self.sockets.iter().map(|socket| match socket.state {
            Reachability::Connected => None,
            Reachability::Not { since, refused } => {
                Some(since + if refused { REFUSED_FOR } else { UNREACHED_FOR })
            }
        });
        given_up.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Returns how the submit side ended, if it did.
    pub(super) fn verdict(&self, now: Now) -> Option<&'static str> {
        (self.given_up_at()? <= now.monotonic).then_some("none of its ports can be reached")
    }
}

impl WatchedSocket {
    fn is_connected(&self) -> bool {
        self.state == Reachability::Connected
    }

    /// When to reconnect a connection that existed before, if libzmq does not do it.
    fn made_again_at(&self) -> Option<Duration> {
        match self.state {
            Reachability::Not { since, .. } if self.was_connected => Some(since + MADE_AGAIN_AFTER),
            Reachability::Not { .. } | Reachability::Connected => None,
        }
    }

    fn tell_that_it_is_made_again(&self) {
        let cause = match ScarceMemory::found() {
            Some(scarce) => format!("A message that is too large has this effect: {scarce}"),
            None => "The logs of the network or of a memory limit may show the cause".to_owned(),
        };
        codes::log!(
            CONNECTION_BROKEN,
            "The connection for {} to the submit side broke; reconnecting. Messages in transit are \
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
