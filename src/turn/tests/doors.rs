//! What wakes the loop: the part of a ZeroMQ socket and of epoll that is easy to get wrong.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A socket that is received from. Its descriptor is readable once for what has come, and any call
/// to the socket takes that back: who was told must read until nothing is left, and who has sent
/// must look.
#[derive(Debug)]
pub(crate) struct Door {
    more: More,
    is_readable: bool,
    /// Nothing was left when it was last read: the next arrival is told.
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
    /// In the transport's own thread.
    pub(crate) fn note_arrival(&mut self) {
        if std::mem::take(&mut self.is_asleep) {
            self.is_readable = true;
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// The loop was awake, and found it readable or not.
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

    /// Something was received.
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

/// What happens by itself, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The transport's thread accepts a connection, or reads from it.
    Fetch(usize),
    /// It writes to it.
    Write(usize),
    /// It has done with bytes of a manager's batches.
    Release,
    /// It has done with bytes of a large result.
    ReleaseResult(usize),
    /// It closes a connection that another one has taken over.
    Close(usize),
    /// It reads tasks.
    FetchTasks,
    /// It tells what has become of connections.
    Tell,
    /// A manager reads.
    Read(usize),
    /// A manager beats.
    Beat(usize),
    /// A manager has done with a task.
    Answer(usize),
    /// The executor reads results.
    ReadResults,
    /// A manager whose connection was closed connects again.
    Reconnect(usize),
}

impl Event {
    /// Whether it is done by a thread of this process, which may be stopped.
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

    /// This process is gone, with all that it was about to do.
    pub(crate) fn forget_ours(&mut self) {
        self.by_time.retain(|_, event| !event.is_ours());
    }

    /// All that are due by then.
    pub(crate) fn take_until(&mut self, time: Duration) -> VecDeque<Event> {
        let taken = std::iter::from_fn(|| self.pop_until(time));
        taken.map(|(_, event)| event).collect()
    }
}
