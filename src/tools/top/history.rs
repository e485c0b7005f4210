//! Values over time. An answer of the interchange has only current values and totals since its
//! start.

use std::collections::{HashMap, VecDeque};

use status::document::Document;

/// Maximum number of points: as many as a wide terminal has columns.
const POINTS_MAX: usize = 400;
/// Period over which a manager's rate is measured, in seconds.
const RATE_OVER_S: f64 = 5.0;

#[derive(Debug, Default)]
pub(super) struct History {
    /// Results per second between two answers, rounded; the newest last.
    pub(super) done_a_second: VecDeque<u64>,
    /// Number of waiting tasks in each answer.
    pub(super) queued: VecDeque<u64>,
    /// Tasks done by each manager, in the answers of the last seconds.
    looks: VecDeque<(f64, HashMap<String, u64>)>,
    last: Option<(f64, u64)>,
}

impl History {
    pub(super) fn add(&mut self, document: &Document) {
        let at_s = document.interchange.uptime_s;
        let done = document.totals.tasks_done;
        // An answer that is not newer adds nothing.
        if self.last.is_some_and(|(last_s, _)| at_s <= last_s) {
            return;
        }
        if let Some((last_s, last_done)) = self.last {
            let rate = done.saturating_sub(last_done) as f64 / (at_s - last_s);
            push(&mut self.done_a_second, rate.round() as u64);
        }
        self.last = Some((at_s, done));
        push(&mut self.queued, document.queue.tasks as u64);
        let managers = document.managers.iter();
        let look = managers.map(|manager| (manager.id.clone(), manager.tasks_done));
        self.looks.push_back((at_s, look.collect()));
        while self
            .looks
            .get(1)
            .is_some_and(|(then, _)| at_s - then >= RATE_OVER_S)
        {
            self.looks.pop_front();
        }
    }

    /// Returns a manager's results per second, over the last seconds.
    pub(super) fn rate_of(&self, manager: &str) -> f64 {
        let done_at = |look: &(f64, HashMap<String, u64>)| Some((look.0, *look.1.get(manager)?));
        let first = self.looks.iter().find_map(done_at);
        let last = self.looks.back().and_then(done_at);
        match (first, last) {
            (Some((then, before)), Some((now, after))) if now > then => {
                after.saturating_sub(before) as f64 / (now - then)
            }
            _ => 0.0,
        }
    }
}

fn push(points: &mut VecDeque<u64>, point: u64) {
    if points.len() == POINTS_MAX {
        points.pop_front();
    }
    points.push_back(point);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::sample;

    #[test]
    fn rates_are_taken_over_some_seconds() {
        let mut history = History::default();
        let mut document = sample::document();
        document.managers = vec![sample::manager("0", "n1")];
        for second in 0..20 {
            document.interchange.uptime_s = f64::from(second);
            document.totals.tasks_done = u64::from(second as u32) * 10;
            document.managers[0].tasks_done = u64::from(second as u32) * 3;
            history.add(&document);
            history.add(&document);
        }
        assert_eq!(history.done_a_second, vec![10; 19]);
        assert_eq!(history.queued.len(), 20);
        assert_eq!(history.rate_of("n1-manager"), 3.0);
        assert_eq!(history.rate_of("nobody"), 0.0);
        assert!(history.looks.len() <= 7);
    }
}
