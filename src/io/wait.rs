//! The one place where the process rests: a poll over every descriptor, until the next deadline.

use std::os::fd::RawFd;
use std::time::Duration;

use zmq::{POLLIN, POLLOUT, PollItem};

use super::EventLoop;
use crate::broker::Now;

/// Which channels have something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub(super) fn everything() -> Self {
        Self {
            connections: true,
            submit_connections: true,
            commands: true,
            tasks: true,
            workers: true,
            doorkeeper: true,
            signals: false,
            process: false,
        }
    }
}

impl EventLoop {
    /// Waits, and tells what is ready.
    pub(super) fn wait(&self, now: Now) -> Ready {
        let [tasks, results, commands] = self.submit_watch.sockets();
        let mut items = vec![
            self.submit.commands.as_poll_item(POLLIN),
            self.submit.tasks.as_poll_item(POLLIN),
            self.workers.as_poll_item(POLLIN),
            self.connections.socket().as_poll_item(POLLIN),
            tasks.as_poll_item(POLLIN),
            results.as_poll_item(POLLIN),
            commands.as_poll_item(POLLIN),
            PollItem::from_fd(self.signals.descriptor(), POLLIN),
        ];
        let process = push_fd(&mut items, self.process_watch.descriptor());
        let doorkeeper = self.doorkeeper.as_ref().map(|doorkeeper| {
            items.push(doorkeeper.socket().as_poll_item(POLLIN));
            items.len() - 1
        });
        if self.sending.results_wait() {
            items.push(self.submit.results.as_poll_item(POLLOUT));
        }
        if let Some(radio) = &self.radio {
            if let Some(socket) = radio.blocked_socket() {
                items.push(socket.as_poll_item(POLLOUT));
            }
            if let Some((descriptor, writing)) = radio.question() {
                let events = if writing { POLLOUT } else { POLLIN };
                items.push(PollItem::from_fd(descriptor, events));
            }
        }
        // An interrupted poll is one that found nothing.
        let _ = zmq::poll(&mut items, self.timeout_ms(now));
        let is_ready = |place: usize| {
            items
                .get(place)
                .is_some_and(|item| !item.get_revents().is_empty())
        };
        Ready {
            commands: is_ready(0),
            tasks: is_ready(1),
            workers: is_ready(2),
            connections: is_ready(3),
            submit_connections: (4..7).any(is_ready),
            signals: is_ready(7),
            process: process.is_some_and(is_ready),
            doorkeeper: doorkeeper.is_some_and(is_ready),
        }
    }

    /// The watches alone, without waiting: for a loop that never rests.
    pub(super) fn poll_watches(&self) -> Ready {
        let mut items = vec![PollItem::from_fd(self.signals.descriptor(), POLLIN)];
        let process = push_fd(&mut items, self.process_watch.descriptor());
        let _ = zmq::poll(&mut items, 0);
        Ready {
            signals: !items[0].get_revents().is_empty(),
            process: process.is_some_and(|place| !items[place].get_revents().is_empty()),
            ..Ready::everything()
        }
    }

    fn timeout_ms(&self, now: Now) -> i64 {
        let deadlines = [
            self.interchange.next_deadline(),
            self.sending.next_deadline(),
            self.radio.as_ref().and_then(|radio| radio.next_deadline()),
            self.process_watch.next_deadline(),
            self.submit_watch.next_deadline(),
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else {
            return -1;
        };
        // Rounded up: a poll that ends just before its deadline would be followed by another.
        let left = next.saturating_sub(now.monotonic) + Duration::from_micros(999);
        i64::try_from(left.as_millis())
            .unwrap_or(i64::MAX)
            .min(i32::MAX.into())
    }
}

fn push_fd(items: &mut Vec<PollItem<'_>>, descriptor: Option<RawFd>) -> Option<usize> {
    items.push(PollItem::from_fd(descriptor?, POLLIN));
    Some(items.len() - 1)
}
