//! A model that keeps every result and applies the rules as they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const IN_A_ROW_MIN: usize = 10;
const CHANCE: f64 = 1e-6;
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Done,
    Raised,
    Spoilt,
}

struct Result {
    by: String,
    kind: Kind,
    flight: Duration,
    /// Whether the manager was already known to fail every task.
    is_known: bool,
}

struct Manager {
    workers: usize,
    held: bool,
    draining: bool,
    connected: bool,
    /// Tasks that the manager was sent, and when.
    tasks: BTreeMap<i64, Duration>,
    is_failing: bool,
    /// The count of results by which the others will have finished what they had in flight.
    others_done_at: usize,
}

pub(super) struct Model {
    holds: bool,
    results: Vec<Result>,
    managers: BTreeMap<String, Manager>,
    undecided: BTreeSet<String>,
    pub(super) look_at: Option<Duration>,
    pub(super) found: usize,
    pub(super) found_and_held: usize,
}

impl Manager {
    fn gets_tasks(&self) -> bool {
        !self.held && !self.draining && self.connected
    }
}

impl Model {
    pub(super) fn new(holds: bool) -> Self {
        Self {
            holds,
            results: Vec::new(),
            managers: BTreeMap::new(),
            undecided: BTreeSet::new(),
            look_at: None,
            found: 0,
            found_and_held: 0,
        }
    }

    pub(super) fn join(&mut self, name: &str, workers: usize) {
        let manager = Manager {
            workers,
            held: false,
            draining: false,
            connected: true,
            tasks: BTreeMap::new(),
            is_failing: false,
            others_done_at: 0,
        };
        self.managers.insert(name.to_owned(), manager);
    }

    pub(super) fn is_here(&self, name: &str) -> bool {
        self.managers.contains_key(name)
    }

    pub(super) fn is_connected(&self, name: &str) -> bool {
        self.managers
            .get(name)
            .is_some_and(|manager| manager.connected)
    }

    pub(super) fn connect(&mut self, name: &str, connected: bool) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.connected = connected;
        }
    }

    pub(super) fn hold(&mut self, name: &str) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.held = true;
        }
    }

    pub(super) fn drain(&mut self, name: &str) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.draining = true;
        }
        self.end_drained();
    }

    fn end_drained(&mut self) {
        let is_done = |manager: &Manager| manager.draining && manager.tasks.is_empty();
        self.managers.retain(|_, manager| !is_done(manager));
    }

    pub(super) fn dispatch(&mut self, name: &str, task: i64, now: Duration) {
        let manager = self.managers.get_mut(name).expect("it is here");
        assert!(manager.gets_tasks(), "{name} gets {task}, and should not");
        manager.tasks.insert(task, now);
    }

    /// Handles a result. Returns the manager that is thereby found to fail every task, if any.
    pub(super) fn result(
        &mut self,
        name: &str,
        task: i64,
        kind: Kind,
        now: Duration,
    ) -> Vec<(String, u64)> {
        let manager = self.managers.get_mut(name).expect("it is here");
        let sent = manager.tasks.remove(&task).expect("it has it");
        manager.is_failing &= kind != Kind::Done;
        let is_known = manager.is_failing && kind == Kind::Raised;
        self.results.push(Result {
            by: name.to_owned(),
            kind,
            flight: now - sent,
            is_known,
        });
        self.end_drained();
        if kind != Kind::Raised || !self.has_a_long_row(name) {
            return Vec::new();
        }
        let others = self.managers.iter().filter(|(other, _)| *other != name);
        let elsewhere: usize = others.map(|(_, manager)| manager.tasks.len()).sum();
        let done = self.done();
        let manager = self.managers.get_mut(name).expect("it is here");
        manager.others_done_at = done + elsewhere;
        self.undecided.insert(name.to_owned());
        self.look_at.get_or_insert(now + LOOK_EVERY);
        self.look_at_it(name).into_iter().collect()
    }

    pub(super) fn time(&mut self, now: Duration) -> Vec<(String, u64)> {
        if self.look_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for name in std::mem::take(&mut self.undecided) {
            found.extend(self.look_at_it(&name));
            if self.has_a_long_row(&name) && self.done() < self.managers[&name].others_done_at {
                self.undecided.insert(name);
            }
        }
        self.look_at = (!self.undecided.is_empty()).then_some(now + LOOK_EVERY);
        found
    }

    /// Returns how many tasks raised in a row, if the manager is known to fail every task, and
    /// whether it is held.
    pub(super) fn known(&self, name: &str) -> (Option<u64>, bool) {
        let manager = &self.managers[name];
        let count = || self.row(name).len() as u64;
        (manager.is_failing.then(count), manager.held)
    }

    fn done(&self) -> usize {
        let done = self
            .results
            .iter()
            .filter(|result| result.kind != Kind::Spoilt);
        done.count()
    }

    /// Returns the indexes of the manager's last consecutive exceptions, the latest first.
    fn row(&self, name: &str) -> Vec<usize> {
        let own = self.results.iter().enumerate().rev();
        let own = own.filter(|(_, result)| result.by == name && result.kind != Kind::Spoilt);
        let row = own.take_while(|(_, result)| result.kind == Kind::Raised);
        row.map(|(place, _)| place).collect()
    }

    fn has_a_long_row(&self, name: &str) -> bool {
        self.managers.get(name).is_some_and(|manager| {
            let needed = IN_A_ROW_MIN.max(2 * manager.workers);
            !manager.is_failing && self.row(name).len() >= needed
        })
    }

    fn look_at_it(&mut self, name: &str) -> Option<(String, u64)> {
        if !self.has_a_long_row(name) || !self.fails_everything(name) {
            return None;
        }
        let holds = self.holds;
        let manager = self.managers.get_mut(name)?;
        manager.is_failing = true;
        manager.held |= holds;
        self.found += 1;
        self.found_and_held += usize::from(holds);
        Some((name.to_owned(), self.row(name).len() as u64))
    }

    fn fails_everything(&self, name: &str) -> bool {
        let mut others = self.managers.iter().filter(|(other, _)| *other != name);
        if !self.managers[name].gets_tasks() || !others.any(|(_, other)| other.gets_tasks()) {
            return false;
        }
        let row = self.row(name);
        let first = *row.last().expect("a long row");
        let since = &self.results[first..];
        let theirs = || since.iter().filter(|result| result.by != name);
        let done = theirs().filter(|result| result.kind == Kind::Done).count();
        let raised = theirs().filter(|result| result.kind == Kind::Raised && !result.is_known);
        let raised = raised.count();
        let rate = (raised + 1) as f64 / (done + raised + 2) as f64;
        if done == 0 || rate.powi(row.len() as i32) > CHANCE {
            return false;
        }
        let unraised = since.iter().filter(|result| result.kind != Kind::Raised);
        let mut classes: Vec<u32> = unraised.map(|result| class(result.flight)).collect();
        classes.sort_unstable();
        let median = classes[(classes.len() - 1) / 2];
        let faster = |place: &&usize| class(self.results[**place].flight) < median;
        2 * row.iter().filter(faster).count() > row.len()
    }
}

/// Returns the class of a duration: durations whose classes differ by more than one differ by more
/// than a factor of two.
fn class(flight: Duration) -> u32 {
    let bounds = (0..).map(|class| Duration::from_micros(125) * (1 << class));
    bounds.take_while(|bound| *bound < flight).count() as u32
}
