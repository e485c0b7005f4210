//! Durations counted in classes: no list, no allocation, a few instructions.

use std::time::Duration;

use super::now::nanoseconds;

/// The number of durations in each class and, last, beyond all classes.
pub(super) type Counts = [u64; CLASSES + 1];

/// Number of classes. The upper bound of the first is 1/8 ms, and each bound is twice the one
/// before, up to 37 hours. Longer durations are counted only in the total.
const CLASSES: usize = 31;
const FIRST_BOUND_US: u64 = 125;
/// The classes, and three numbers over all durations.
pub(super) const WORDS: usize = CLASSES + 3;

/// Durations by class. Bounds are inclusive, as in OpenMetrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    counts: [u64; CLASSES],
    count: u64,
    /// 64 bits of nanoseconds last for five hundred years, and adding them is one instruction.
    sum_ns: u64,
    longest_ns: u64,
}

impl Histogram {
    /// Counts one duration.
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

    /// Encodes the histogram for the journal: see [`Self::of_words`].
    pub(super) fn words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let all = [self.count, self.sum_ns, self.longest_ns];
        let values = self.counts.iter().chain(&all);
        words.iter_mut().zip(values).for_each(|(to, it)| *to = *it);
        words
    }

    /// Decodes a histogram. The words may be from two moments.
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

    /// Returns the number of all durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of durations in each class and beyond all classes.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = [0; CLASSES + 1];
        for (count, (_, number)) in counts.iter_mut().zip(self.classes()) {
            *count = number;
        }
        counts
    }

    /// Returns the sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Returns the longest duration; zero if there was none.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// Returns the upper bound of each class and its count; last, the count beyond all bounds.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = (0..CLASSES).map(|class| Duration::from_micros(FIRST_BOUND_US << class));
        let beyond = self.count - self.counts.iter().sum::<u64>();
        let classes = bounds.map(Some).zip(self.counts.iter().copied());
        classes.chain([(None, beyond)])
    }
}

fn class_of(took_ns: u64) -> usize {
    // `units` counts in multiples of the first bound, rounded down. Durations up to one bound are
    // in the first class, up to two bounds in the second, up to four in the third.
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
    fn durations_beyond_every_bound_are_counted() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_secs(1 << 20));
        histogram.add(Duration::MAX);
        let last_two: Vec<_> = histogram.classes().skip(CLASSES - 1).collect();
        let last_bound = Duration::from_micros(125 << 30);
        assert_eq!(last_two, [(Some(last_bound), 0), (None, 2)]);
        assert_eq!(histogram.count(), 2);
    }
}
