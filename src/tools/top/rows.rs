//! Which managers the table lists, and in which order.

use std::cmp::Ordering;

use super::history::History;
use status::document::{Document, Manager};

/// A column of the table, by which the table can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Block,
    Host,
    Manager,
    State,
    InFlight,
    Done,
    Rate,
    Unheard,
    Idle,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Block,
        Self::Host,
        Self::Manager,
        Self::State,
        Self::InFlight,
        Self::Done,
        Self::Rate,
        Self::Unheard,
        Self::Idle,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Block => "BLOCK",
            Self::Host => "HOST",
            Self::Manager => "MANAGER",
            Self::State => "STATE",
            Self::InFlight => "IN FLIGHT",
            Self::Done => "DONE",
            Self::Rate => "/S",
            Self::Unheard => "SILENT",
            Self::Idle => "IDLE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) by: Column,
    pub(super) descending: bool,
}

/// Returns the indices of the managers that contain `filter` in any text, in order.
pub(super) fn listed(
    document: &Document,
    history: &History,
    order: Order,
    filter: &str,
) -> Vec<usize> {
    let managers = &document.managers;
    let filter = filter.to_lowercase();
    let is_wanted = |place: &usize| filter.is_empty() || matches(&managers[*place], &filter);
    let mut listed: Vec<usize> = (0..managers.len()).filter(is_wanted).collect();
    // Computes each manager's rate only once, not for each comparison.
    let rates: Vec<f64> = match order.by == Column::Rate {
        true => managers
            .iter()
            .map(|manager| history.rate_of(&manager.id))
            .collect(),
        false => Vec::new(),
    };
    listed.sort_by(|one, other| {
        let by = match order.by == Column::Rate {
            true => rates[*one].total_cmp(&rates[*other]),
            false => compare(&managers[*one], &managers[*other], order.by),
        };
        let by = if order.descending { by.reverse() } else { by };
        by.then(one.cmp(other))
    });
    listed
}

fn matches(manager: &Manager, filter: &str) -> bool {
    let block = format!("block {}", manager.block);
    [&manager.id, &manager.host, &block, manager.state().name()]
        .map(str::to_lowercase)
        .iter()
        .any(|text| text.contains(filter))
}

fn compare(one: &Manager, other: &Manager, column: Column) -> Ordering {
    let number = |block: &str| block.parse::<i64>().unwrap_or(i64::MAX);
    match column {
        Column::Block => number(&one.block)
            .cmp(&number(&other.block))
            .then_with(|| one.block.cmp(&other.block)),
        Column::Host => one.host.cmp(&other.host),
        Column::Manager => one.id.cmp(&other.id),
        Column::State => one.state().cmp(&other.state()),
        Column::InFlight => one.load().0.cmp(&other.load().0),
        Column::Done => one.tasks_done.cmp(&other.tasks_done),
        // `listed` itself compares rates.
        Column::Rate => Ordering::Equal,
        Column::Unheard => one.last_heard_s.total_cmp(&other.last_heard_s),
        Column::Idle => {
            let idle = |manager: &Manager| manager.idle_s.unwrap_or(-1.0);
            idle(one).total_cmp(&idle(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::sample;

    fn crew() -> Document {
        let mut document = sample::document();
        for (block, host, in_flight) in [("10", "b", 2), ("2", "a", 4), ("x", "c", 0)] {
            let mut manager = sample::manager(block, host);
            manager.in_flight = in_flight;
            document.managers.push(manager);
        }
        document
    }

    fn hosts(by: Column, descending: bool, filter: &str) -> String {
        let document = crew();
        let order = Order { by, descending };
        let listed = listed(&document, &History::default(), order, filter).into_iter();
        listed
            .map(|place| document.managers[place].host.as_str())
            .collect()
    }

    #[test]
    fn managers_are_sorted_by_any_column_in_both_directions() {
        assert_eq!(hosts(Column::Block, false, ""), "abc");
        assert_eq!(hosts(Column::Host, true, ""), "cba");
        assert_eq!(hosts(Column::InFlight, false, ""), "cba");
        // The states are full, busy and idle.
        assert_eq!(hosts(Column::State, false, ""), "abc");
        // Managers with equal rates keep their order.
        assert_eq!(hosts(Column::Rate, true, ""), "bac");
    }

    #[test]
    fn a_filter_matches_any_text() {
        assert_eq!(hosts(Column::Host, false, "C-MAN"), "c");
        assert_eq!(hosts(Column::Host, false, "block 1"), "b");
        assert_eq!(hosts(Column::Host, false, "full"), "a");
        assert_eq!(hosts(Column::Host, false, "nothing"), "");
    }
}
