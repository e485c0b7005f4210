//! How many lines bad input may cost. Whoever sends 100,000 bad messages must not write 100,000
//! lines: the first ones of a second are written in full, then one line says how many more came.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use broker::{Anomaly, AnomalyLog, Now};

/// Lines of one kind are counted over a span of this length, which begins with the first of any.
const SPAN: Duration = Duration::from_secs(1);

/// What a stranger or a bad peer can cause a line with, as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// Bytes on the worker port that are no message of a manager.
    UnreadableMessage,
    /// A message of an identity that is not registered, or not any more.
    UnknownManager,
    /// A result of a task that its sender does not hold.
    ResultNotHeld,
    /// A registration behind an identity that is registered.
    Registration,
    /// A manager speaks from another address than before.
    AnotherAddress,
    /// A connection that ended in its handshake: another protocol, or another key.
    HandshakeFailed,
    /// A key that is not in the certificate directory (ZAP).
    PeerRefused,
    /// Not bad by itself, but free for everybody who reaches the port.
    ConnectionOpened,
    /// The end of one, which whoever opened it may bring about.
    ConnectionClosed,
    /// Whoever opens many may bring about that one fails.
    ConnectionNotAccepted,
    /// SIGINT or SIGHUP, from whoever may send one.
    IgnoredSignal,
}

impl Complaint {
    fn words(self) -> &'static str {
        match self {
            Self::UnreadableMessage => "manager messages that cannot be read",
            Self::UnknownManager => "messages of managers that are not registered",
            Self::ResultNotHeld => "results from managers that do not hold the task",
            Self::Registration => "registrations of known managers",
            Self::AnotherAddress => "changes of a manager's address",
            Self::HandshakeFailed => "failed handshakes",
            Self::PeerRefused => "refused peers",
            Self::ConnectionOpened => "accepted connections",
            Self::ConnectionClosed => "closed connections",
            Self::ConnectionNotAccepted => "connections that could not be accepted",
            Self::IgnoredSignal => "ignored signals",
        }
    }

    /// Lines in a span: of one peer, and of all together. A peer may call itself differently
    /// every time, so the second one is what bounds the log; a cluster's managers connect together.
    fn limits(self) -> (u32, u32) {
        match self {
            Self::ConnectionOpened | Self::ConnectionClosed => (1000, 1000),
            Self::UnreadableMessage
            | Self::UnknownManager
            | Self::ResultNotHeld
            | Self::Registration
            | Self::AnotherAddress
            | Self::HandshakeFailed
            | Self::PeerRefused
            | Self::ConnectionNotAccepted
            | Self::IgnoredSignal => (20, 100),
        }
    }

    fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::ConnectionOpened | Self::ConnectionClosed | Self::IgnoredSignal
        )
    }
}

/// What was said in the span at hand, and what was not: one account, for the broker and the rings
/// around it alike.
#[derive(Debug, Clone, Default)]
pub struct Complaints(Rc<RefCell<Account>>);

#[derive(Debug, Default)]
struct Account {
    /// On the monotonic clock; None if nothing was said since the last span.
    until: Option<Duration>,
    counts: BTreeMap<Complaint, Count>,
    /// Of each kind since the start, said or not.
    totals: BTreeMap<Complaint, u64>,
}

#[derive(Debug, Default)]
struct Count {
    said: u32,
    /// At most as many peers as lines were said.
    said_of: BTreeMap<Vec<u8>, u32>,
    held_back: u64,
}

impl Complaints {
    /// Whether the line about `peer` is to be written. Otherwise it is counted.
    pub fn may_say(&self, complaint: Complaint, peer: &[u8], now: Now) -> bool {
        self.0.borrow_mut().may_say(complaint, peer, now)
    }

    /// How often there was reason for a line since the start.
    pub fn total(&self, complaint: Complaint) -> u64 {
        let account = self.0.borrow();
        account.totals.get(&complaint).copied().unwrap_or_default()
    }

    /// When a line about what was held back is due, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.0.borrow().next_deadline()
    }

    /// Time has passed.
    pub fn handle_time(&self, now: Now) {
        self.0.borrow_mut().handle_time(now);
    }

    /// Tells what was held back, and begins anew. At the end nothing is left untold.
    pub fn tell(&self) {
        self.0.borrow_mut().tell();
    }
}

impl AnomalyLog for Complaints {
    fn note(&mut self, anomaly: &Anomaly<'_>, now: Now) -> bool {
        let complaint = match anomaly {
            Anomaly::NotRegistered { .. } => Complaint::UnknownManager,
            Anomaly::ResultNotHeld { .. } => Complaint::ResultNotHeld,
            Anomaly::RegisteredAgain { .. } => Complaint::Registration,
            Anomaly::AnotherAddress { .. } => Complaint::AnotherAddress,
        };
        let may_say = self.may_say(complaint, anomaly.manager().as_bytes(), now);
        if may_say {
            anomaly.log();
        }
        may_say
    }
}

impl Account {
    fn may_say(&mut self, complaint: Complaint, peer: &[u8], now: Now) -> bool {
        self.handle_time(now);
        *self.totals.entry(complaint).or_default() += 1;
        self.until.get_or_insert(now.monotonic + SPAN);
        let (of_one, of_all) = complaint.limits();
        let count = self.counts.entry(complaint).or_default();
        let before = count.said_of.get(peer).copied().unwrap_or_default();
        if count.said >= of_all || before >= of_one {
            count.held_back += 1;
            return false;
        }
        count.said += 1;
        count.said_of.insert(peer.to_vec(), before + 1);
        true
    }

    fn next_deadline(&self) -> Option<Duration> {
        let until = self.until?;
        let waiting = self.counts.values().any(|count| count.held_back > 0);
        waiting.then_some(until)
    }

    fn handle_time(&mut self, now: Now) {
        if self.until.is_some_and(|until| until <= now.monotonic) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.until = None;
        for (complaint, count) in std::mem::take(&mut self.counts) {
            let (more, what) = (count.held_back, complaint.words());
            if more == 0 {
                continue;
            }
            match complaint.is_ordinary() {
                true => info!("{more} more {what} within a second"),
                false => warn!("{more} more {what} within a second; the first ones stand above"),
            }
        }
    }
}
