//! Whether there is another broker. One that ends again and again is of no use to anybody, and its
//! users wait for it.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::message::Message;

/// So many ends within [`WITHIN`], each before its broker had served, are the last.
const ENDS_MAX: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// A broker that has lived for so long has served, though nothing came: managers that work say
/// nothing for long, and whoever kills a broker now and then finds it idle.
const SERVES_AFTER: Duration = Duration::from_secs(1);
/// Before a broker is started that follows one which brought nothing about.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages of so many ends are remembered: one that ends the broker comes again soon.
const MESSAGES_KEPT: usize = 4;
/// A smaller message is not why the kernel kills a broker for want of memory.
const MEMORY_TAKEN_BYTES: u64 = 64 << 20;

/// What counts of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// As the broker has counted it, over all the run.
    pub(super) progress: u64,
    /// From its start on.
    pub(super) lived: Duration,
    /// What it had in hand.
    pub(super) message: Option<Message>,
    /// It was killed: by somebody, as a rule, whatever it had in hand.
    pub(super) is_killed: bool,
}

/// What follows an end.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Another broker, after this much.
    GoOn(Duration),
    /// None.
    Stop(NoRestart),
}

/// Why a broker that could have survived was not started again.
#[derive(Debug)]
pub enum NoRestart {
    /// It has ended three times within a minute, and before none of these ends had it brought
    /// anything about or lived for long.
    NoProgress,
    /// It has ended at this one before.
    SameMessage(Message),
    /// The system has no process for another one.
    NoProcess(io::Error),
}

/// The ends that there were.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Of those without any progress since the last progress, the latest ones; the newest first.
    ends: [Option<Instant>; ENDS_MAX - 1],
    progress: u64,
    /// The newest first.
    messages: [Option<Message>; MESSAGES_KEPT],
}

impl Restarts {
    /// The broker has ended so.
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
            // Whoever kills a broker finds it with something in hand.
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
                 without any message read between them",
                WITHIN.as_secs()
            ),
            Self::SameMessage(message) => {
                write!(f, "it has ended again at the same message, {message}")
            }
            Self::NoProcess(error) => write!(f, "the system has no process for it: {error}"),
        }
    }
}

/// The last one falls off.
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

    /// The pauses in ms of those that are followed by another broker, at these seconds and with
    /// this progress; and why there is no other.
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
        let why = "it has ended 3 times within 60 s, each time soon after its start and without \
                   any message read between them";
        let stopped = (vec![0, 100], Some(why.to_owned()));
        assert_eq!(of(&[(0.0, 0), (0.1, 0), (60.0, 0)]), stopped);
        // The end of one that has served is none of the three.
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
        // Two take turns, and others bring something about.
        assert_eq!(stops(1, message(1)), None);
        assert_eq!(stops(2, None), None);
        assert_eq!(stops(3, message(2)), None);
        let why = "it has ended again at the same message, a task message of 1,234 bytes";
        assert_eq!(stops(4, message(1)).as_deref(), Some(why));
    }

    #[test]
    fn a_kill_is_the_fault_of_large_messages_alone() {
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
