//! Decides whether another broker follows. A broker that ends again and again serves no task while
//! its users wait, so the number of restarts is limited.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::message::Message;

/// After this many ends within [`WITHIN`] without service in between, no broker follows.
const ENDS_MAX: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// A broker that has lived this long counts as having served, even without any message: busy
/// managers may be silent for long, and a broker that is killed from time to time is often idle
/// then.
const SERVES_AFTER: Duration = Duration::from_secs(1);
/// Pause before a restart that follows more than one end without progress.
const PAUSE: Duration = Duration::from_millis(100);
/// Number of ends whose messages are remembered; a message that ends the broker is soon sent again.
const MESSAGES_KEPT: usize = 4;
/// Smallest message that may be why the kernel kills a broker when memory runs out.
const MEMORY_TAKEN_BYTES: u64 = 64 << 20;

/// The features of a broker's end that decide about a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The progress that all brokers of the run have counted.
    pub(super) progress: u64,
    /// The time since the broker's start.
    pub(super) lived: Duration,
    /// The message that the broker was processing.
    pub(super) message: Option<Message>,
    /// Whether the broker was killed by SIGKILL. The message is then usually not the cause.
    pub(super) is_killed: bool,
}

/// The decision after a broker's end.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Start another broker after this pause.
    GoOn(Duration),
    /// Start no other broker.
    Stop(NoRestart),
}

/// Why a run that survives its broker was not continued.
#[derive(Debug)]
pub enum NoRestart {
    /// The broker has ended three times within a minute, each time without progress and without
    /// living for long.
    NoProgress,
    /// A broker has ended at this message before.
    SameMessage(Message),
    /// The system has no process for another broker.
    NoProcess(io::Error),
}

/// The history of the brokers' ends.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// The latest ends without progress since the last service; the newest first.
    ends: [Option<Instant>; ENDS_MAX - 1],
    progress: u64,
    /// The messages of the latest ends; the newest first.
    messages: [Option<Message>; MESSAGES_KEPT],
}

impl Restarts {
    /// Records a broker's end and decides whether another one follows.
    pub(super) fn may_go_on(&mut self, end: &End, now: Instant) -> Verdict {
        let has_served = end.progress != self.progress || end.lived >= SERVES_AFTER;
        let is_recent = |end: &Instant| now.saturating_duration_since(*end) <= WITHIN;
        let mut first_of_three = None;
        let mut follows_one = false;
        if has_served {
            self.progress = end.progress;
            self.ends = Default::default();
        } else {
            first_of_three = self.ends.last().copied().flatten();
            follows_one = self.ends.first().copied().flatten().is_some();
            push(&mut self.ends, now);
        }
        if let Some(message) = end.message {
            // A busy broker is usually processing a message when it is killed, so a small message
            // is not the cause.
            let may_be_why = !end.is_killed || message.bytes >= MEMORY_TAKEN_BYTES;
            if may_be_why && self.messages.contains(&Some(message)) {
                return Verdict::Stop(NoRestart::SameMessage(message));
            }
            if may_be_why {
                push(&mut self.messages, message);
            }
        }
        match first_of_three.filter(is_recent) {
            Some(_) => Verdict::Stop(NoRestart::NoProgress),
            None if follows_one => Verdict::GoOn(PAUSE),
            None => Verdict::GoOn(Duration::ZERO),
        }
    }
}

impl fmt::Display for NoRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgress => write!(
                f,
                "it has ended {ENDS_MAX} times within {} s, each time soon after its start and \
                 before it had read another message",
                WITHIN.as_secs()
            ),
            Self::SameMessage(message) => {
                write!(f, "it has ended again at the same message, {message}")
            }
            Self::NoProcess(error) => {
                write!(f, "the system could not start a process for it: {error}")
            }
        }
    }
}

/// Adds an element at the front and drops the last one.
fn push<T: Copy>(kept: &mut [Option<T>], newest: T) {
    kept.rotate_right(1);
    if let Some(first) = kept.first_mut() {
        *first = Some(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageKind;

    const NO_MESSAGE: End = End {
        progress: 0,
        lived: Duration::ZERO,
        message: None,
        is_killed: false,
    };

    fn message(digest: u64) -> Option<Message> {
        let kind = MessageKind::Task;
        Some(Message {
            kind,
            bytes: 1234,
            digest,
        })
    }

    /// Simulates ends at these seconds with this progress. Returns the pauses in ms before the
    /// restarts, and why no other broker follows, if so.
    fn of(ends: &[(f64, u64)]) -> (Vec<u128>, Option<String>) {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        let mut pauses = Vec::new();
        for (seconds, progress) in ends.iter().copied() {
            let now = begin + Duration::from_secs_f64(seconds);
            let end = End {
                progress,
                ..NO_MESSAGE
            };
            match restarts.may_go_on(&end, now) {
                Verdict::GoOn(pause) => pauses.push(pause.as_millis()),
                Verdict::Stop(why) => return (pauses, Some(why.to_string())),
            }
        }
        (pauses, None)
    }

    #[test]
    fn the_third_end_within_a_minute_without_progress_is_the_last() {
        let why = "it has ended 3 times within 60 s, each time soon after its start and before it \
                   had read another message";
        let stopped = (vec![0, 100], Some(why.to_owned()));
        assert_eq!(of(&[(0.0, 0), (0.1, 0), (60.0, 0)]), stopped);
        // The end of a broker that has served is not one of the three.
        let (pauses, why) = of(&[(0.0, 7), (0.1, 7), (0.2, 7), (0.3, 7)]);
        assert_eq!(
            (pauses.as_slice(), why.is_some()),
            ([0, 0, 100].as_slice(), true)
        );
        assert_eq!(
            of(&[(0.0, 0), (30.0, 0), (60.1, 0)]),
            (vec![0, 100, 100], None)
        );
        let slow = [(0.0, 0), (40.0, 0), (80.0, 0), (120.0, 0), (160.0, 0)];
        assert_eq!(of(&slow), (vec![0, 100, 100, 100, 100], None));
        let (pauses, why) = of(&[(0.0, 0), (40.0, 0), (80.0, 0), (90.0, 0)]);
        assert!(pauses.len() == 3 && why.is_some());
    }

    #[test]
    fn a_broker_that_has_served_is_followed_by_another() {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        let mut goes_on = |lived| {
            let end = End {
                lived,
                ..NO_MESSAGE
            };
            matches!(restarts.may_go_on(&end, begin), Verdict::GoOn(_))
        };
        assert!((0..9).all(|_| goes_on(SERVES_AFTER)));
        let soon = SERVES_AFTER - Duration::from_millis(1);
        assert_eq!([soon; 3].map(&mut goes_on), [true, true, false]);
    }

    #[test]
    fn with_progress_there_is_always_another() {
        let ends: Vec<(f64, u64)> = (1..100).map(|number| (0.0, number)).collect();
        let (pauses, why) = of(&ends);
        assert_eq!((pauses.len(), why), (ends.len(), None));
        assert!(pauses.iter().all(|pause| *pause == 0));
        assert_eq!(
            of(&[(0.0, 1), (0.1, 1), (0.2, 2), (0.3, 2)]).0,
            [0, 0, 0, 0]
        );
    }

    #[test]
    fn the_second_end_at_the_same_message_is_the_last() {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        let mut stops = |progress, message| {
            let end = End {
                progress,
                message,
                ..NO_MESSAGE
            };
            match restarts.may_go_on(&end, begin) {
                Verdict::GoOn(_) => None,
                Verdict::Stop(why) => Some(why.to_string()),
            }
        };
        // Two messages alternate, and there is progress between the ends.
        assert_eq!(stops(1, message(1)), None);
        assert_eq!(stops(2, None), None);
        assert_eq!(stops(3, message(2)), None);
        let why = "it has ended again at the same message, a task message of 1,234 bytes";
        assert_eq!(stops(4, message(1)).as_deref(), Some(why));
    }

    #[test]
    fn only_large_messages_are_blamed_for_a_kill() {
        for (bytes, goes_on) in [(1234, [true; 9].as_slice()), (1 << 30, &[true, false])] {
            let mut restarts = Restarts::default();
            for (progress, goes_on) in goes_on.iter().enumerate() {
                let message = message(1).map(|message| Message { bytes, ..message });
                let end = End {
                    progress: progress as u64 + 1,
                    message,
                    is_killed: true,
                    ..NO_MESSAGE
                };
                let verdict = restarts.may_go_on(&end, Instant::now());
                assert_eq!(matches!(verdict, Verdict::GoOn(_)), *goes_on, "{bytes}");
            }
        }
    }

    #[test]
    fn messages_of_long_ago_are_forgotten() {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        for number in 0..20 {
            let end = End {
                progress: number,
                message: message(number % (MESSAGES_KEPT as u64 + 1)),
                ..NO_MESSAGE
            };
            let verdict = restarts.may_go_on(&end, begin);
            assert!(matches!(verdict, Verdict::GoOn(_)), "{number}");
        }
    }
}
