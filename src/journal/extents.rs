//! The free units of the file. Neighbouring free extents are joined, and the smallest that fits is
//! used.

use std::collections::{BTreeMap, BTreeSet};

/// The free extents. Only the writer's memory holds them, not the file.
#[derive(Debug, Default)]
pub(crate) struct Extents {
    /// The number of free units by the extent's first unit.
    by_start: BTreeMap<u32, u32>,
    /// The same extents as pairs of length and first unit.
    by_units: BTreeSet<(u32, u32)>,
}

impl Extents {
    /// Takes this many free units and returns the first of them.
    pub(crate) fn take(&mut self, units: u32) -> Option<u32> {
        let &(free, start) = self.by_units.range((units, 0)..).next()?;
        self.remove(start, free);
        if free > units {
            self.insert(start + units, free - units);
        }
        Some(start)
    }

    /// Marks units as free. They are joined with a neighbouring extent if `may_join` accepts the
    /// unit where the two meet.
    pub(crate) fn give(&mut self, start: u32, units: u32, may_join: impl Fn(u32) -> bool) {
        let (mut first, mut end) = (start, start + units);
        if let Some((&before, &free)) = self.by_start.range(..start).next_back()
            && before + free == start
            && may_join(start)
        {
            self.remove(before, free);
            first = before;
        }
        if let Some(&free) = self.by_start.get(&end)
            && may_join(end)
        {
            self.remove(end, free);
            end += free;
        }
        self.insert(first, end - first);
    }

    /// Returns the start and the length of each free extent.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, u32)> {
        self.by_start.iter().map(|(start, units)| (*start, *units))
    }

    fn insert(&mut self, start: u32, units: u32) {
        self.by_start.insert(start, units);
        self.by_units.insert((units, start));
    }

    fn remove(&mut self, start: u32, units: u32) {
        self.by_start.remove(&start);
        self.by_units.remove(&(units, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_and_neighbours_join() {
        let mut extents = Extents::default();
        extents.give(0, 4, |_| true);
        extents.give(10, 2, |_| true);
        assert_eq!(
            [2, 2, 2, 2].map(|units| extents.take(units)),
            [Some(10), Some(0), Some(2), None]
        );
        extents.give(0, 2, |_| true);
        extents.give(3, 1, |_| true);
        extents.give(2, 1, |_| true);
        assert_eq!(extents.all().collect::<Vec<_>>(), [(0, 4)]);
        extents.give(4, 4, |unit| unit != 4);
        assert_eq!(extents.all().collect::<Vec<_>>(), [(0, 4), (4, 4)]);
        assert_eq!(extents.take(5), None);
    }
}
