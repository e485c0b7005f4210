//! Limits the number of log lines about bad input. A peer that sends 100,000 bad messages must not
//! cause 100,000 lines. The first lines of a second are written in full, then one line counts the
//! rest.
//!
//! Errors in a user's own code repeat with the same text. Such an error is written in full when it
//! first occurs, and then counted, one line a minute, until a minute passes without it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tracing::info;

use broker::{Anomaly, AnomalyLog, Now};

/// A kind of log line that an unknown or misbehaving peer can cause as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// Bytes on the worker port that are not a manager's message.
    UnreadableMessage,
    /// A message from an identity that is not registered, or no longer registered.
    UnknownManager,
    /// A result for a task that its sender does not hold.
    ResultNotHeld,
    /// A registration from an identity that is registered already.
    Registration,
    /// A message of a manager from another address than before.
    AnotherAddress,
    /// A connection that failed in its handshake, because of another protocol or another key.
    HandshakeFailed,
    /// A client key that is not in the certificate directory (ZAP).
    PeerRefused,
    /// A new connection. This is no error, but every host that reaches the port can cause it.
    ConnectionOpened,
    /// The end of a connection, which its peer can cause at any time.
    ConnectionClosed,
    /// A connection that could not be accepted. A peer that opens many connections can cause this.
    ConnectionNotAccepted,
    /// SIGINT or SIGHUP, from any process that may send a signal.
    IgnoredSignal,
    /// A faulty answer of the user's own selector, or a missing one.
    SelectorFault,
}

/// Maximum numbers of lines.
struct Limits {
    /// Maximum number of lines about one peer in a span.
    of_one: u32,
    /// Maximum number of lines about all peers in a span. A peer can use a new identity every time,
    /// so this limit is what bounds the log. It is high enough for a cluster's managers that
    /// connect together.
    of_all: u32,
    span: Span,
}

/// The time over which lines of one kind are counted. A span begins with the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Second,
    /// A span of one minute. If any line was held back in it, the next span continues to hold lines
    /// back.
    Minute,
}

impl Span {
    fn length(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Second => "a second",
            Self::Minute => "a minute",
        }
    }
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
            Self::SelectorFault => "failures of the manager selector",
        }
    }

    fn limits(self) -> Limits {
        let (of_one, of_all, span) = match self {
            Self::ConnectionOpened | Self::ConnectionClosed => (1000, 1000, Span::Second),
            Self::UnreadableMessage
            | Self::UnknownManager
            | Self::ResultNotHeld
            | Self::Registration
            | Self::AnotherAddress
            | Self::HandshakeFailed
            | Self::PeerRefused
            | Self::ConnectionNotAccepted
            | Self::IgnoredSignal => (20, 100, Span::Second),
            Self::SelectorFault => (1, 5, Span::Minute),
        };
        Limits {
            of_one,
            of_all,
            span,
        }
    }

    fn tell_more(self, more: u64) {
        let (what, span) = (self.words(), self.limits().span.words());
        match (more, self.is_ordinary()) {
            (0, _) => {}
            (_, true) => info!("{more} more {what} within {span}"),
            (_, false) => codes::log!(
                LINES_LEFT_OUT,
                "{more} more {what} within {span}; only the first ones are logged"
            ),
        }
    }

    fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::ConnectionOpened | Self::ConnectionClosed | Self::IgnoredSignal
        )
    }
}

/// The counts of written and suppressed lines in the current spans. The broker and the code around
/// it share one account.
#[derive(Debug, Clone, Default)]
pub struct Complaints(Rc<RefCell<Account>>);

#[derive(Debug, Default)]
struct Account {
    /// The end of the span that ends first, on the monotonic clock.
    until: Option<Duration>,
    counts: BTreeMap<Complaint, Count>,
    /// Occurrences of each kind since the start, whether written or suppressed.
    totals: BTreeMap<Complaint, u64>,
}

#[derive(Debug, Default)]
struct Count {
    until: Duration,
    said: u32,
    /// Number of lines written about each peer. The map has at most as many peers as lines were
    /// written.
    said_of: BTreeMap<Vec<u8>, u32>,
    held_back: u64,
}

impl Complaints {
    /// Whether the line about `peer` is to be written. If not, it is counted.
    pub fn may_say(&self, complaint: Complaint, peer: &[u8], now: Now) -> bool {
        self.0.borrow_mut().may_say(complaint, peer, now)
    }

    /// Returns the number of occurrences since the start, whether written or suppressed.
    pub fn total(&self, complaint: Complaint) -> u64 {
        let account = self.0.borrow();
        account.totals.get(&complaint).copied().unwrap_or_default()
    }

    /// Returns when a line about suppressed lines is due, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.0.borrow().next_deadline()
    }

    /// Ends the spans that are over, and logs how many lines each suppressed.
    pub fn handle_time(&self, now: Now) {
        self.0.borrow_mut().handle_time(now);
    }

    /// Logs how many lines were suppressed so far, and resets the counts. Called at the end, so
    /// that no suppressed line stays unreported.
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
            Anomaly::Selector { .. } => Complaint::SelectorFault,
        };
        let may_say = self.may_say(complaint, anomaly.source(), now);
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
        let limits = complaint.limits();
        let count = self.counts.entry(complaint).or_insert_with(|| {
            let until = now.monotonic + limits.span.length();
            self.until = Some(self.until.map_or(until, |first| first.min(until)));
            Count {
                until,
                ..Count::default()
            }
        });
        let before = count.said_of.get(peer).copied().unwrap_or_default();
        if count.said >= limits.of_all || before >= limits.of_one {
            count.held_back += 1;
            return false;
        }
        count.said += 1;
        count.said_of.insert(peer.to_vec(), before + 1);
        true
    }

    fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.counts.values().filter(|count| count.held_back > 0);
        waiting.map(|count| count.until).min()
    }

    fn handle_time(&mut self, now: Now) {
        if self.until.is_some_and(|until| until <= now.monotonic) {
            self.end_spans(now.monotonic);
        }
    }

    fn end_spans(&mut self, now: Duration) {
        self.counts.retain(|complaint, count| {
            if count.until > now {
                return true;
            }
            let span = complaint.limits().span;
            let goes_on = span == Span::Minute && count.held_back > 0;
            complaint.tell_more(std::mem::take(&mut count.held_back));
            count.until = now + span.length();
            goes_on
        });
        self.until = self.counts.values().map(|count| count.until).min();
    }

    fn tell(&mut self) {
        self.until = None;
        for (complaint, count) in std::mem::take(&mut self.counts) {
            complaint.tell_more(count.held_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;

    use support::events::Events;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(seconds),
            wall_s: 0.0,
        }
    }

    #[test]
    fn repeated_selector_errors_are_written_once_and_counted_each_minute() {
        let events = Events::capture(LevelFilter::INFO);
        let texts = || -> Vec<String> { events.take().into_iter().map(|it| it.text).collect() };
        let account = Complaints::default();
        let mut log = account.clone();
        let mut raise = |fault: &str, seconds: u64| {
            log.note(&Anomaly::Selector { fault }, at(seconds));
        };
        raise("it raised", 10);
        raise("it raised otherwise", 11);
        assert_eq!(texts(), ["it raised", "it raised otherwise"]);
        assert_eq!(account.next_deadline(), None);
        (12..70).for_each(|second| raise("it raised", second));
        assert_eq!(account.next_deadline(), Some(at(70).monotonic));
        assert!(texts().is_empty());
        account.handle_time(at(70));
        let more = |count: u32| {
            [format!(
                "{count} more failures of the manager selector within a minute; only the first \
                 ones are logged"
            )]
        };
        assert_eq!(texts(), more(58));
        // The span continues, whatever lines of other kinds are written in it.
        raise("it raised", 100);
        assert!(account.may_say(Complaint::IgnoredSignal, b"SIGHUP", at(100)));
        account.handle_time(at(102));
        assert_eq!(account.next_deadline(), Some(at(130).monotonic));
        account.handle_time(at(130));
        assert_eq!(texts(), more(1));
        // After a minute without the error, it is written in full again.
        account.handle_time(at(190));
        raise("it raised", 191);
        assert_eq!(texts(), ["it raised"]);
        // An error whose text changes every time is limited too.
        (0..100).for_each(|number| raise(&format!("fault {number}"), 192));
        assert_eq!(texts().len(), 4);
        account.tell();
        assert_eq!(texts(), more(96));
        assert_eq!(account.total(Complaint::SelectorFault), 162);
    }
}
