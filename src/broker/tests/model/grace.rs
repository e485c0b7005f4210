//! Managers without a connection, and the transport that is asked about them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Manager, Model};

/// A manager that gets nothing because it has no connection; times are on the awake clock.
#[derive(Clone, Copy)]
pub(super) struct Suspect {
    pub(super) since: Duration,
    /// None if there is no grace, or if the transport was asked for the last time.
    pub(super) grace_ends: Option<Duration>,
    /// When the transport is asked next: at each quarter of the grace, until the grace has been
    /// heard out.
    pub(super) ask_at: Option<Duration>,
    is_last_question: bool,
}

impl Model {
    /// Returns the state of a manager that has just lost its connection.
    pub(super) fn suspect(&self) -> Suspect {
        let since = self.awake();
        let grace_ends = self.grace.map(|grace| since + grace);
        Suspect {
            since,
            grace_ends,
            ask_at: self.grace.map(|grace| since + grace / 4),
            is_last_question: false,
        }
    }

    /// Assigns a connection to the manager that spoke on it last. The transport is asked which of
    /// the two managers has none.
    pub(super) fn take_connection(&mut self, name: &str, connection: u64) -> Vec<String> {
        let mut expected = Vec::new();
        for (other, manager) in &mut self.managers {
            if other != name && manager.connection == Some(connection) {
                manager.connection = None;
                expected = vec![
                    format!("{other} < heartbeat echo"),
                    format!("{name} < heartbeat echo"),
                ];
            }
        }
        expected
    }

    pub(crate) fn disconnect(&mut self, connection: u64) {
        let by = |(_, manager): &(&String, &Manager)| manager.connection == Some(connection);
        let names: Vec<String> = self
            .managers
            .iter()
            .filter(by)
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            self.cut_off(&name);
        }
    }

    /// Handles the transport's report that it has no connection to this manager.
    pub(crate) fn unreachable(&mut self, name: &str) -> Vec<String> {
        self.cut_off(name);
        let suspect = self.managers.get(name).and_then(|manager| manager.suspect);
        match suspect.is_some_and(|suspect| suspect.is_last_question) {
            true => self.lose(name),
            false => Vec::new(),
        }
    }

    /// Handles the transport's report that it has one: the grace restarts at the next question.
    pub(crate) fn reachable(&mut self, name: &str) {
        let quarter = self.grace.map_or(Duration::ZERO, |grace| grace / 4);
        self.begin_anew(name, quarter);
    }

    /// Restarts the grace: the manager was not lost by now plus `later`. A later end that was set
    /// before stays.
    pub(super) fn begin_anew(&mut self, name: &str, later: Duration) {
        let mut anew = self.suspect();
        anew.grace_ends = anew.grace_ends.map(|ends| ends + later);
        let manager = self.managers.get_mut(name);
        if let Some(suspect) = manager.and_then(|manager| manager.suspect.as_mut()) {
            *suspect = Suspect {
                since: suspect.since,
                grace_ends: anew.grace_ends.max(suspect.grace_ends),
                ..anew
            };
        }
    }

    pub(super) fn cut_off(&mut self, name: &str) {
        let suspect = self.suspect();
        if let Some(manager) = self.managers.get_mut(name) {
            manager.connection = None;
            if manager.suspect.is_none() {
                manager.suspect = Some(suspect);
                manager.awaited = false;
                self.vanish(name);
            }
        }
    }

    /// Returns by when each manager must have been heard (monotonic clock).
    pub(crate) fn deadlines(&self) -> BTreeMap<String, Duration> {
        let managers = self.managers.iter();
        managers
            .map(|(name, manager)| (name.clone(), self.deadline(manager) + self.slept))
            .collect()
    }

    /// Returns the manager's next deadline that must be heard out.
    pub(super) fn deadline(&self, manager: &Manager) -> Duration {
        let silent = manager.heard + self.threshold;
        let grace_ends = manager.suspect.and_then(|suspect| suspect.grace_ends);
        grace_ends.map_or(silent, |at| at.min(silent))
    }

    /// Asks the transport, if a quarter of the grace has passed.
    pub(super) fn ask(&mut self, name: &str) -> Option<String> {
        let (awake, quarter) = (self.awake(), self.grace.map(|grace| grace / 4));
        let suspect = self.managers.get_mut(name)?.suspect.as_mut()?;
        suspect.ask_at.take_if(|at| *at <= awake)?;
        suspect.ask_at = quarter.map(|quarter| awake + quarter);
        Some(format!("{name} < heartbeat echo"))
    }

    /// Asks the transport for the last time, if the grace has been heard out.
    pub(super) fn ask_for_the_last_time(&mut self, name: &str) -> Option<String> {
        let until = self.heard_out_until();
        let suspect = self.managers.get_mut(name)?.suspect.as_mut()?;
        suspect.grace_ends.take_if(|ends| *ends <= until)?;
        suspect.ask_at = None;
        suspect.is_last_question = true;
        Some(format!("{name} < heartbeat echo"))
    }
}
