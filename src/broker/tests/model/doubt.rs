//! Tasks that a broken connection may have lost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Manager, Model};

/// The least patience, whatever three flights amount to.
const FLIGHTS_MIN: Duration = Duration::from_secs(30);
const QUEUED_RESULTS_GET: Duration = Duration::from_secs(5);

/// A task that a manager holds; times are on the awake clock.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(super) dispatched: Duration,
    /// When the task is given up without a result, if it may be lost.
    pub(super) doubt: Option<Duration>,
    /// Whether a connection broke when the task had run for longer than any other: the task is
    /// assumed to be running.
    pub is_old: bool,
}

impl Held {
    pub(super) fn since(dispatched: Duration) -> Self {
        Self {
            dispatched,
            doubt: None,
            is_old: false,
        }
    }
}

impl Manager {
    /// Returns when the first task in doubt is given up; None while the manager has no connection.
    pub(super) fn first_doubt(&self) -> Option<Duration> {
        let doubts = self.tasks.values().filter_map(|held| held.doubt);
        doubts.min().filter(|_| self.suspect.is_none())
    }
}

impl Model {
    /// Handles a message on this connection from a manager last heard at `heard`: puts its tasks in
    /// doubt if the manager has come back.
    pub(super) fn doubt(&mut self, name: &str, connection: Option<u64>, heard: Duration) {
        let awake = self.awake();
        let flights = (self.longest_flight * 3).max(FLIGHTS_MIN);
        let patience = self.patience.unwrap_or(flights.max(self.threshold));
        let more = self.threshold.min(QUEUED_RESULTS_GET);
        let manager = self.manager(name);
        let is_another = manager.spoke_by != connection;
        let since = manager.suspect.map(|suspect| suspect.since);
        if !is_another && since.is_none() {
            return;
        }
        let last_word = since.unwrap_or(heard).min(heard);
        for held in manager.tasks.values_mut() {
            match held.doubt {
                Some(at) if at <= awake => held.doubt = Some(awake + more),
                None if is_another => {
                    held.is_old = last_word.saturating_sub(held.dispatched) > flights;
                    held.doubt = (!held.is_old).then_some(awake + patience);
                }
                _ => {}
            }
        }
    }

    /// Returns when all tasks now in doubt are decided (monotonic clock).
    pub(crate) fn last_doubt(&self) -> Option<Duration> {
        let held = self.managers.values().flat_map(|m| m.tasks.values());
        let last = held.filter_map(|held| held.doubt).max();
        last.map(|at| at + self.slept)
    }

    /// Gives up the tasks of a connected manager whose doubt is over and whose messages up to then
    /// were all read.
    pub(super) fn give_up_doubts(&mut self, name: &str) -> Vec<String> {
        let heard_out = match self.backlog_is_over() {
            true => self.awake(),
            false => self.heard_until,
        };
        let now = self.now;
        let manager = self.manager(name);
        if manager.suspect.is_some() {
            return Vec::new();
        }
        let is_over = |held: &Held| held.doubt.is_some_and(|at| at <= heard_out);
        let held = std::mem::take(&mut manager.tasks).into_iter();
        let (tasks, kept): (BTreeMap<_, _>, _) = held.partition(|(_, held)| is_over(held));
        manager.tasks = kept;
        if tasks.is_empty() {
            return Vec::new();
        }
        manager.given_up.extend(tasks.keys());
        if manager.tasks.is_empty() {
            manager.idle_since = Some(now);
        }
        let mut expected = self.lost(name, &tasks);
        expected.extend(self.finish_draining(name));
        expected
    }
}
