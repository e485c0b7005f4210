//! Counters: tasks and managers since the start, and the current rates of tasks.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::{self, Histogram};

/// The longest time over which rates are averaged.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// The span of the current rates: short enough to follow changes, long enough for a steady number.
const LATELY: Duration = Duration::from_secs(5);
/// The shortest time between samples, so that there are about sixty of them.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// All counters since the start. None ever decreases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Tasks accepted from the submit side.
    pub tasks_received: u64,
    /// Tasks refused: a second task under a live id, or a task that arrived after the end.
    pub tasks_rejected: u64,
    /// Number of times that a task was put into a batch for a manager.
    pub tasks_dispatched: u64,
    /// Batches that were sent to managers.
    pub batches: u64,
    /// Tasks that ended with a result of their own.
    pub tasks_done: u64,
    /// Tasks that ended with a failure of the interchange, because their manager was lost.
    pub tasks_lost: u64,
    /// Tasks that ended with a failure of the interchange, because the task or its result was
    /// unreadable.
    pub tasks_unreadable: u64,
    /// Results that arrived after their task was given up.
    pub late_results: u64,
    /// Registrations that were accepted.
    pub managers_registered: u64,
    /// Managers that were given up as lost.
    pub managers_lost: u64,
    /// Lost managers that were held and had no task.
    pub managers_lost_held: u64,
    /// Managers that left after their last task.
    pub managers_drained: u64,
    /// Number of times that a manager was found to fail every task.
    pub managers_failing: u64,
    /// Number of times that a registered manager's connection closed.
    pub disconnects: u64,
    /// Times from a task's acceptance (or its return unsent) to its dispatch.
    pub queued_for: Histogram,
    /// Times from a task's dispatch to its result.
    pub in_flight_for: Histogram,
}

/// The totals, and the words of both histograms.
const WORDS: usize = 14 + 2 * histogram::WORDS;

impl Tally {
    /// Encodes the counters for the journal: see [`Self::of_bytes`].
    pub(super) fn to_bytes(&self) -> [u8; 8 * WORDS] {
        let mut bytes = [0; 8 * WORDS];
        let mut this = self.clone();
        let totals = this.totals().map(|total| *total);
        let [queued, flights] = [&self.queued_for, &self.in_flight_for].map(Histogram::words);
        let words = totals.into_iter().chain(queued).chain(flights);
        let (chunks, _) = bytes.as_chunks_mut();
        (chunks.iter_mut().zip(words)).for_each(|(to, word)| *to = word.to_ne_bytes());
        bytes
    }

    /// Decodes the counters of an earlier process. The words may be from two moments.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let (chunks, _) = bytes.as_chunks();
        let mut words = chunks.iter().map(|word| u64::from_ne_bytes(*word));
        let mut it = Self::default();
        for total in it.totals() {
            *total = words.next().unwrap_or(0);
        }
        for histogram in [&mut it.queued_for, &mut it.in_flight_for] {
            let of_one = std::array::from_fn(|_| words.next().unwrap_or(0));
            *histogram = Histogram::of_words(&of_one);
        }
        it
    }

    fn totals(&mut self) -> [&mut u64; 14] {
        [
            &mut self.tasks_received,
            &mut self.tasks_rejected,
            &mut self.tasks_dispatched,
            &mut self.batches,
            &mut self.tasks_done,
            &mut self.tasks_lost,
            &mut self.tasks_unreadable,
            &mut self.late_results,
            &mut self.managers_registered,
            &mut self.managers_lost,
            &mut self.managers_lost_held,
            &mut self.managers_drained,
            &mut self.managers_failing,
            &mut self.disconnects,
        ]
    }
}

/// Tasks per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Tasks accepted from the submit side.
    pub received: f64,
    /// Tasks dispatched to managers; a task that was returned counts again.
    pub dispatched: f64,
    /// Tasks that ended with a result of their own.
    pub done: f64,
}

/// The totals at one time, for later ones to be compared with.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    received: u64,
    dispatched: u64,
    done: u64,
}

/// The totals of the last minute: one sample for each second with activity.
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: VecDeque<Sample>,
    next_at: Duration,
}

impl Pace {
    /// Takes a sample if one is due. Call it at the beginning of a turn: what was counted by then
    /// happened before.
    #[inline]
    pub(super) fn turn(&mut self, tally: &Tally, now: Duration) {
        if now >= self.next_at {
            self.take_sample(tally, now);
        }
    }

    #[cold]
    fn take_sample(&mut self, tally: &Tally, now: Duration) {
        self.next_at = now.saturating_add(SAMPLE_EVERY);
        // One sample older than a minute stays, because nothing happened until the next one was
        // taken.
        let is_old = |sample: &Sample| sample.at.saturating_add(LOOK_BACK) <= now;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample(tally, now));
    }

    /// Returns the rates over the last five seconds and over the last minute.
    pub(super) fn rates(&self, tally: &Tally, now: Duration) -> (Rates, Rates) {
        let current = sample(tally, now);
        (
            self.rates_over(LATELY, current),
            self.rates_over(LOOK_BACK, current),
        )
    }

    fn rates_over(&self, span: Duration, current: Sample) -> Rates {
        let begin = current.at.saturating_sub(span);
        // The totals at `begin` are those of the first turn after it.
        let Some(then) = self.samples.iter().find(|sample| sample.at >= begin) else {
            return Rates::default();
        };
        // If that turn came long after the one before it, nothing was counted in between.
        let begin = match self.samples.front() {
            Some(first) if first.at < begin => begin,
            _ => then.at,
        };
        let seconds = current.at.saturating_sub(begin).as_secs_f64();
        let a_second = |before: u64, after: u64| match seconds > 0.0 {
            true => after.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        };
        Rates {
            received: a_second(then.received, current.received),
            dispatched: a_second(then.dispatched, current.dispatched),
            done: a_second(then.done, current.done),
        }
    }
}

fn sample(tally: &Tally, at: Duration) -> Sample {
    Sample {
        at,
        received: tally.tasks_received,
        dispatched: tally.tasks_dispatched,
        done: tally.tasks_done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_steady_stream_has_a_steady_rate() {
        let (mut tally, mut pace) = (Tally::default(), Pace::default());
        for turn in 0..1000 {
            pace.turn(&tally, at(f64::from(turn) / 10.0));
            tally.tasks_received += 3;
        }
        let (lately, minute) = pace.rates(&tally, at(100.0));
        assert!((lately.received - 30.0).abs() < 1.0, "{lately:?}");
        assert!((minute.received - 30.0).abs() < 1.0, "{minute:?}");
        assert_eq!(minute.done, 0.0);
        assert!(pace.samples.len() < 70, "{}", pace.samples.len());
    }

    #[test]
    fn rates_fall_to_zero_after_a_burst() {
        let (mut tally, mut pace) = (Tally::default(), Pace::default());
        pace.turn(&tally, at(0.0));
        pace.turn(&tally, at(10.0));
        tally.tasks_received = 600;
        // The turn at 40 s is also the one that reads the rates.
        pace.turn(&tally, at(40.0));
        let (lately, minute) = pace.rates(&tally, at(40.0));
        assert_eq!(lately.received, 0.0);
        assert!((minute.received - 15.0).abs() < 0.1, "{minute:?}");
        pace.turn(&tally, at(200.0));
        let (_, minute) = pace.rates(&tally, at(200.0));
        assert_eq!(minute.received, 0.0);
    }

    #[test]
    fn counters_survive_encoding_and_decoding() {
        let mut tally = Tally::default();
        for (n, total) in tally.totals().into_iter().enumerate() {
            *total = n as u64 + 1;
        }
        tally.queued_for.add(at(1.0));
        tally.in_flight_for.add(at(1e9));
        assert_eq!(Tally::of_bytes(&tally.to_bytes()), tally);
        assert_eq!(Tally::of_bytes(b"short"), Tally::default());
    }

    #[test]
    fn rates_are_zero_before_the_first_turn() {
        let (lately, minute) = Pace::default().rates(&Tally::default(), at(3.0));
        assert_eq!((lately, minute), (Rates::default(), Rates::default()));
    }
}
