//! The one place where the process rests: one poll over descriptors, until the next deadline.
//!
//! A ZeroMQ socket has a descriptor that becomes readable when there is something for the socket to
//! look at. It tells that once: who has begun to read must go on until nothing is left, and who has
//! sent must ask before resting, because sending looks at what came as well. libzmq's own poll asks
//! every socket twice each time, which costs a system call each; here only those are asked that
//! something was done to.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zmq::Socket;

use super::EventLoop;
use crate::broker::Now;

/// Which channels may have something to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) connections: bool,
    pub(super) submit_connections: bool,
    pub(super) commands: bool,
    pub(super) tasks: bool,
    pub(super) workers: bool,
    pub(super) doorkeeper: bool,
    pub(super) signals: bool,
    pub(super) process: bool,
}

impl Ready {
    /// Nothing is known: look everywhere.
    pub(super) fn everywhere() -> Self {
        Self {
            connections: true,
            submit_connections: true,
            commands: true,
            tasks: true,
            workers: true,
            doorkeeper: true,
            signals: true,
            process: false,
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What was left unread in the last turn is ready whatever the descriptors say.
    fn and(self, left: Self) -> Self {
        Self {
            connections: self.connections || left.connections,
            submit_connections: self.submit_connections || left.submit_connections,
            commands: self.commands || left.commands,
            tasks: self.tasks || left.tasks,
            workers: self.workers || left.workers,
            doorkeeper: self.doorkeeper || left.doorkeeper,
            signals: self.signals || left.signals,
            process: self.process || left.process,
        }
    }
}

/// The descriptors of the sockets that are there from the start to the end.
pub(super) struct Descriptors {
    commands: RawFd,
    tasks: RawFd,
    workers: RawFd,
    results: RawFd,
    connections: RawFd,
    submit_connections: [RawFd; 3],
    doorkeeper: Option<RawFd>,
}

/// The sockets whose descriptors are asked for.
pub(super) struct Sockets<'a> {
    pub(super) commands: &'a Socket,
    pub(super) tasks: &'a Socket,
    pub(super) workers: &'a Socket,
    pub(super) results: &'a Socket,
    pub(super) connections: &'a Socket,
    pub(super) submit_connections: [&'a Socket; 3],
    pub(super) doorkeeper: Option<&'a Socket>,
}

impl Descriptors {
    pub(super) fn of(sockets: &Sockets<'_>) -> io::Result<Self> {
        let [one, two, three] = sockets.submit_connections;
        Ok(Self {
            commands: sockets.commands.get_fd()?,
            tasks: sockets.tasks.get_fd()?,
            workers: sockets.workers.get_fd()?,
            results: sockets.results.get_fd()?,
            connections: sockets.connections.get_fd()?,
            submit_connections: [one.get_fd()?, two.get_fd()?, three.get_fd()?],
            doorkeeper: sockets.doorkeeper.map(Socket::get_fd).transpose()?,
        })
    }
}

/// Where the fixed descriptors stand in the list that is polled.
const COMMANDS: usize = 0;
const TASKS: usize = 1;
const WORKERS: usize = 2;
const CONNECTIONS: usize = 3;
const SUBMIT_CONNECTIONS: std::ops::Range<usize> = 4..7;
const SIGNALS: usize = 7;
/// The most that there can be.
const DESCRIPTORS_MAX: usize = 14;

impl EventLoop {
    /// Waits for something to do, and tells where. Does not rest while something is left unread.
    pub(super) fn wait(&mut self, left: Ready, now: Now) -> Ready {
        // Batches and echoes went out by the worker socket: did anything come in with that?
        let sent = self.sending.take_sent_to_workers();
        let workers = left.workers || sent && super::is_readable(&self.workers);
        let left = Ready { workers, ..left };
        let patience = match left.is_nothing() {
            true => self.patience(now),
            false => Some(Duration::ZERO),
        };
        let mut items = Vec::with_capacity(DESCRIPTORS_MAX);
        let fixed = &self.descriptors;
        let [one, two, three] = fixed.submit_connections;
        for descriptor in [
            fixed.commands,
            fixed.tasks,
            fixed.workers,
            fixed.connections,
            one,
            two,
            three,
            self.signals.descriptor(),
        ] {
            items.push(item(descriptor, PollFlags::IN));
        }
        let process = self.process_watch.descriptor();
        let process = process.map(|descriptor| push(&mut items, descriptor, PollFlags::IN));
        let doorkeeper = fixed.doorkeeper;
        let doorkeeper = doorkeeper.map(|descriptor| push(&mut items, descriptor, PollFlags::IN));
        if self.sending.results_wait() {
            push(&mut items, fixed.results, PollFlags::IN);
        }
        if let Some((descriptor, events)) = self.radio.as_ref().and_then(|radio| radio.waits_on()) {
            push(&mut items, descriptor, events);
        }
        let helper = self.helper.iter().flat_map(|helper| helper.waits_on());
        for (descriptor, events) in helper.flatten() {
            push(&mut items, descriptor, events);
        }
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // An interrupted poll is one that found nothing.
        let _ = poll(&mut items, timeout.as_ref());
        let is_ready = |place: usize| {
            items
                .get(place)
                .is_some_and(|item| !item.revents().is_empty())
        };
        let ready = Ready {
            commands: is_ready(COMMANDS),
            tasks: is_ready(TASKS),
            workers: is_ready(WORKERS),
            connections: is_ready(CONNECTIONS),
            submit_connections: SUBMIT_CONNECTIONS.into_iter().any(is_ready),
            signals: is_ready(SIGNALS),
            process: process.is_some_and(is_ready),
            doorkeeper: doorkeeper.is_some_and(is_ready),
        };
        ready.and(left)
    }

    /// How long nothing is to be done if nothing comes; None for ever.
    fn patience(&self, now: Now) -> Option<Duration> {
        let deadlines = [
            self.interchange.next_deadline(),
            self.sending.next_deadline(),
            self.memory.next_deadline(),
            self.radio.as_ref().and_then(|radio| radio.next_deadline()),
            self.process_watch.next_deadline(),
            self.submit_watch.next_deadline(),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_sub(now.monotonic))
    }
}

fn push(items: &mut Vec<PollFd<'_>>, descriptor: RawFd, events: PollFlags) -> usize {
    items.push(item(descriptor, events));
    items.len() - 1
}

fn item<'a>(descriptor: RawFd, events: PollFlags) -> PollFd<'a> {
    // SAFETY: each descriptor belongs to a socket or file that the loop holds, and lives longer
    // than the poll.
    PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(descriptor) }, events)
}
