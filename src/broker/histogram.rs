//! How long things took, counted in classes of time: no list, no allocation, a few instructions.

use std::time::Duration;

use super::now::nanoseconds;

/// How many there were of each class, and beyond all of them.
pub(super) type Counts = [u64; CLASSES + 1];

/// Upper bounds of the classes: 1/8 ms, and twice the one before from there on, up to 37 hours.
/// What takes longer is counted in no class, only in all.
const CLASSES: usize = 31;
const FIRST_BOUND_US: u64 = 125;
/// The classes, and three numbers of all.
pub(super) const WORDS: usize = CLASSES + 3;

/// Durations by class. Bounds are inclusive, as OpenMetrics has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    counts: [u64; CLASSES],
    count: u64,
    /// Nanoseconds of 64 bits are five hundred years; an addition in them is one instruction.
    sum_ns: u64,
    longest_ns: u64,
}

impl Histogram {
    /// Counts one more.
    pub fn add(&mut self, took: Duration) {
        self.add_ns(nanoseconds(took));
    }

    pub(super) fn add_ns(&mut self, took_ns: u64) {
        if let Some(class) = self.counts.get_mut(class_of(took_ns)) {
            *class += 1;
        }
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(took_ns);
        self.longest_ns = self.longest_ns.max(took_ns);
    }

    /// For the journal: see [`Self::of_words`].
    pub(super) fn words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let all = [self.count, self.sum_ns, self.longest_ns];
        let values = self.counts.iter().chain(&all);
        words.iter_mut().zip(values).for_each(|(to, it)| *to = *it);
        words
    }

    /// Of words that may be a mixture of two moments.
    pub(super) fn of_words(words: &[u64; WORDS]) -> Self {
        let mut it = Self::default();
        let (counts, all) = words.split_at(CLASSES);
        it.counts.copy_from_slice(counts);
        if let [count, sum_ns, longest_ns] = all {
            it.count = (*count).max(counts.iter().fold(0, |sum, it| sum.saturating_add(*it)));
            (it.sum_ns, it.longest_ns) = (*sum_ns, *longest_ns);
        }
        it
    }

    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The same, of each class.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = [0; CLASSES + 1];
        for (count, (_, number)) in counts.iter_mut().zip(self.classes()) {
            *count = number;
        }
        counts
    }

    /// Of all of them.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Zero if there was none.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// Upper bound of each class and how many are in it; at the end those beyond every bound.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = (0..CLASSES).map(|class| Duration::from_micros(FIRST_BOUND_US << class));
        let beyond = self.count - self.counts.iter().sum::<u64>();
        let classes = bounds.map(Some).zip(self.counts.iter().copied());
        classes.chain([(None, beyond)])
    }
}

fn class_of(took_ns: u64) -> usize {
    // In units of the first bound, counted from below: up to one is the first class, up to two the
    // second, up to four the third.
    let units = took_ns.saturating_sub(1) / (FIRST_BOUND_US * 1000);
    (u64::BITS - units.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let mut histogram = Histogram::default();
        for micros in [0, 125, 126, 250, 251, 500, 501] {
            histogram.add(Duration::from_micros(micros));
        }
        let first: Vec<u64> = histogram
            .classes()
            .map(|(_, count)| count)
            .take(4)
            .collect();
        assert_eq!(first, [2, 2, 2, 1]);
        assert_eq!(histogram.count(), 7);
        assert_eq!(histogram.sum(), Duration::from_micros(1753));
        assert_eq!(histogram.longest(), Duration::from_micros(501));
    }

    #[test]
    fn what_takes_for_ever_is_counted() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_secs(1 << 20));
        histogram.add(Duration::MAX);
        let last_two: Vec<_> = histogram.classes().skip(CLASSES - 1).collect();
        let last_bound = Duration::from_micros(125 << 30);
        assert_eq!(last_two, [(Some(last_bound), 0), (None, 2)]);
        assert_eq!(histogram.count(), 2);
    }
}
