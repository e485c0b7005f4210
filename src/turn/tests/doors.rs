//! The wake-up sources of the loop: the behaviour of ZeroMQ sockets and epoll that is easy to get
//! wrong.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A receiving socket. Its descriptor becomes readable once for the messages that have arrived, and
/// any call to the socket clears that. So after a wake-up the loop must read until nothing is left,
/// and after a send it must check for messages.
#[derive(Debug)]
pub(crate) struct Door {
    more: More,
    is_readable: bool,
    /// Whether nothing was left at the last read, so that the next arrival makes the descriptor
    /// readable.
    is_asleep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    No,
    Unknown,
    Maybe,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            more: More::Maybe,
            is_readable: false,
            is_asleep: false,
        }
    }
}

impl Door {
    /// Notes an arrived message, in the transport's own thread.
    pub(crate) fn note_arrival(&mut self) {
        if std::mem::take(&mut self.is_asleep) {
            self.is_readable = true;
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Notes that the loop woke up and saw whether the descriptor is readable.
    pub(crate) fn wake(&mut self) {
        if self.is_readable {
            self.more = More::Maybe;
        }
    }

    pub(crate) fn may_have_more(&mut self, is_empty: bool) -> bool {
        if self.more == More::Unknown {
            self.note_look(is_empty);
        }
        self.more == More::Maybe
    }

    pub(crate) fn note_look(&mut self, is_empty: bool) {
        self.is_readable = false;
        self.is_asleep |= is_empty;
        self.more = match is_empty {
            true => More::No,
            false => More::Maybe,
        };
    }

    /// Notes that a message was received.
    pub(crate) fn note_received(&mut self) {
        self.is_readable = false;
        self.more = More::Maybe;
    }

    pub(crate) fn note_sending(&mut self) {
        self.is_readable = false;
        if self.more == More::No {
            self.more = More::Unknown;
        }
    }
}

/// An event outside of the turn, scheduled by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The transport's thread accepts a connection, or reads from it.
    Fetch(usize),
    /// The transport's thread writes to a connection.
    Write(usize),
    /// The transport's thread releases a batch.
    Release,
    /// The transport's thread releases a large result.
    ReleaseResult(usize),
    /// The transport's thread closes a connection that another one has replaced.
    Close(usize),
    /// The transport's thread reads tasks.
    FetchTasks,
    /// The transport's thread reports events of connections.
    Tell,
    /// A manager reads messages.
    Read(usize),
    /// A manager sends a heartbeat.
    Beat(usize),
    /// A manager finishes tasks and sends their results.
    Answer(usize),
    /// The executor reads results.
    ReadResults,
    /// A manager whose connection was closed connects again.
    Reconnect(usize),
}

impl Event {
    /// Whether a thread of the interchange's process runs the event; such a thread may be stopped.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::Fetch(_)
            | Self::Write(_)
            | Self::Release { .. }
            | Self::ReleaseResult(_)
            | Self::Close(_)
            | Self::FetchTasks
            | Self::Tell => true,
            Self::Read(_)
            | Self::Beat(_)
            | Self::Answer(_)
            | Self::ReadResults
            | Self::Reconnect(_) => false,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_time: BTreeMap<(Duration, u64), Event>,
    count: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.by_time.insert((at, self.count), event);
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_until(&mut self, time: Duration) -> Option<(Duration, Event)> {
        let first = self.by_time.first_entry()?;
        let at = first.key().0;
        (at <= time).then(|| (at, first.remove()))
    }

    /// Removes the pending events of the interchange's process, which was killed.
    pub(crate) fn forget_ours(&mut self) {
        self.by_time.retain(|_, event| !event.is_ours());
    }

    /// Takes all events that are due by this time.
    pub(crate) fn take_until(&mut self, time: Duration) -> VecDeque<Event> {
        let taken = std::iter::from_fn(|| self.pop_until(time));
        taken.map(|(_, event)| event).collect()
    }
}
