//! Sums over managers: over all of them, or over those of one block.

use std::collections::{BTreeMap, HashSet};

use crate::shared::words::{duration, some};
use status::document::{Document, Manager, ManagerState};

/// Sums over some of the managers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ManagerCounts<'a> {
    pub(crate) managers: usize,
    pub(crate) hosts: HashSet<&'a str>,
    pub(crate) workers: i64,
    /// Tasks that the managers can hold.
    pub(crate) capacity: usize,
    pub(crate) in_flight: usize,
    /// Slots: tasks that the workers can run at a time. `busy_slots` of them have a task.
    pub(crate) slots: usize,
    pub(crate) busy_slots: usize,
    /// One-slot tasks that the managers could still accept. Managers that take no tasks, and the
    /// reserved manager, do not count.
    pub(crate) room: usize,
    /// Whether a task occupies several slots.
    pub(crate) has_wide_tasks: bool,
    in_state: [usize; ManagerState::ALL.len()],
    /// The longest silence of a manager, in seconds.
    pub(crate) silent_s: f64,
    /// Age in seconds of the task that any of the managers has had for the longest time.
    pub(crate) oldest_task_s: Option<f64>,
}

impl<'a> ManagerCounts<'a> {
    pub(crate) fn of(managers: impl IntoIterator<Item = &'a Manager>) -> Self {
        let mut counts = Self::default();
        for manager in managers {
            counts.add(manager);
        }
        counts
    }

    pub(crate) fn add(&mut self, manager: &'a Manager) {
        self.managers += 1;
        self.hosts.insert(&manager.host);
        self.workers = self.workers.saturating_add(manager.workers);
        self.capacity = self.capacity.saturating_add(manager.capacity);
        self.in_flight += manager.in_flight;
        self.slots = self.slots.saturating_add(manager.slots);
        self.busy_slots = self.busy_slots.saturating_add(manager.busy_slots);
        self.has_wide_tasks |= manager.has_wide_tasks();
        if manager.takes_tasks() && !manager.reserved {
            self.room = self.room.saturating_add(manager.room());
        }
        self.in_state[manager.state() as usize] += 1;
        self.silent_s = self.silent_s.max(manager.last_heard_s);
        let oldest = [self.oldest_task_s, manager.oldest_task_s];
        self.oldest_task_s = oldest.into_iter().flatten().reduce(f64::max);
    }

    /// Returns ` on 8 slots` if a task occupies several slots. Follows a number of tasks in a
    /// sentence.
    pub(crate) fn slots_in_hand(&self) -> String {
        match self.has_wide_tasks {
            true => format!(" on {}", some(self.busy_slots, "slot")),
            false => String::new(),
        }
    }

    /// Returns ` (the longest for 5 s)`. Follows a number of tasks in a sentence.
    pub(crate) fn longest_in_hand(&self) -> String {
        let told = |age| format!(" (the longest for {})", duration(age));
        self.oldest_task_s.map_or_else(String::new, told)
    }

    /// Returns how many managers would accept a task that fits.
    pub(crate) fn taking(&self) -> usize {
        let states = [
            ManagerState::Reserved,
            ManagerState::Busy,
            ManagerState::Idle,
        ];
        states.into_iter().map(|state| self.count(state)).sum()
    }

    pub(crate) fn count(&self, state: ManagerState) -> usize {
        self.in_state[state as usize]
    }
}

/// Returns the sums for each block: blocks with numbers in their order, then other names.
pub(crate) fn by_block(document: &Document) -> Vec<(&str, ManagerCounts<'_>)> {
    let mut blocks: BTreeMap<(Option<i64>, &str), ManagerCounts<'_>> = BTreeMap::new();
    for manager in &document.managers {
        let block = manager.block.as_str();
        let number = block.parse().ok();
        blocks.entry((number, block)).or_default().add(manager);
    }
    let (names, numbers): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|((number, _), _)| number.is_none());
    numbers
        .into_iter()
        .chain(names)
        .map(|((_, block), counts)| (block, counts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::sample;

    #[test]
    fn blocks_are_ordered_by_number() {
        let mut document = sample::document();
        for block in ["10", "2", "a", "2"] {
            document.managers.push(sample::manager(block, "n1"));
        }
        let blocks = by_block(&document);
        let names: Vec<&str> = blocks.iter().map(|(block, _)| *block).collect();
        assert_eq!(names, ["2", "10", "a"]);
        assert_eq!(blocks[0].1.managers, 2);
        assert_eq!(blocks[0].1.hosts.len(), 1);
        assert_eq!(blocks[0].1.capacity, 8);
    }

    #[test]
    fn only_managers_that_take_tasks_have_room() {
        let mut held = sample::manager("0", "n1");
        held.held = true;
        let mut busy = sample::manager("0", "n2");
        busy.in_flight = 3;
        let managers = [held, busy];
        let counts = ManagerCounts::of(&managers);
        assert_eq!((counts.room, counts.in_flight, counts.capacity), (1, 3, 8));
        assert_eq!(counts.count(ManagerState::Held), 1);
        assert_eq!(counts.count(ManagerState::Busy), 1);
    }

    #[test]
    fn a_task_of_several_slots_takes_their_room() {
        let mut wide = sample::manager("0", "n1");
        (wide.in_flight, wide.busy_slots, wide.capacity) = (1, 4, 8);
        let mut half = sample::manager("0", "n2");
        (half.in_flight, half.busy_slots, half.capacity) = (2, 3, 8);
        let mut reserved = sample::manager("0", "n3");
        (reserved.in_flight, reserved.busy_slots, reserved.reserved) = (1, 1, true);
        let managers = [wide, half, reserved];
        let counts = ManagerCounts::of(&managers);
        assert_eq!((counts.room, counts.slots, counts.busy_slots), (1, 12, 8));
        assert_eq!(counts.slots_in_hand(), " on 8 slots");
        for state in [
            ManagerState::Full,
            ManagerState::Busy,
            ManagerState::Reserved,
        ] {
            assert_eq!(counts.count(state), 1, "{state:?}");
        }
    }
}
