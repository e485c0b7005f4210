//! What the simulation compares a broker with: the promises, kept in the simplest way.
//!
//! A model is told every event before the broker is, and says what must come of it. Only the choice
//! of a manager for a task is the broker's; of that, the model says whether it was allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::words;

/// An effect of the broker, as far as the model looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Batch { to: String, ids: Vec<i64> },
    Other(String),
}

pub type Verdict = Result<(), String>;

/// Most tasks in one batch.
const BATCH_MAX: usize = 1024;

pub struct Model {
    threshold: Duration,
    now: Duration,
    /// How long the process slept in all.
    slept: Duration,
    workers_empty_at: Duration,
    pub waiting: BTreeSet<(i64, i64)>,
    pub managers: BTreeMap<String, Manager>,
    departed: BTreeSet<String>,
    pub history: Vec<String>,
    pub dispatching: bool,
    /// By id: how often it was accepted, and how often answered.
    books: BTreeMap<i64, (u32, u32)>,
    priorities: BTreeMap<i64, i64>,
}

pub struct Manager {
    capacity: usize,
    held: bool,
    draining: bool,
    suspect: bool,
    drain_at: Option<Duration>,
    connection: Option<u64>,
    registered_by: Option<u64>,
    heard: Duration,
    pub tasks: BTreeSet<i64>,
}

impl Manager {
    fn room(&self) -> usize {
        match self.held || self.draining || self.suspect {
            true => 0,
            false => self.capacity - self.tasks.len(),
        }
    }
}

impl Model {
    pub fn new(threshold: Duration) -> Self {
        Self {
            threshold,
            now: Duration::ZERO,
            slept: Duration::ZERO,
            workers_empty_at: Duration::ZERO,
            waiting: BTreeSet::new(),
            managers: BTreeMap::new(),
            departed: BTreeSet::new(),
            history: Vec::new(),
            dispatching: true,
            books: BTreeMap::new(),
            priorities: BTreeMap::new(),
        }
    }

    pub fn live(&self) -> usize {
        self.waiting.len() + self.in_flight()
    }

    pub fn in_flight(&self) -> usize {
        self.managers.values().map(|m| m.tasks.len()).sum()
    }

    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The process did not run for so long.
    pub fn sleep(&mut self, time: Duration) {
        self.slept += time;
    }

    fn awake(&self) -> Duration {
        self.now - self.slept
    }

    pub fn workers_empty(&mut self) {
        self.workers_empty_at = self.awake();
    }

    /// A task comes; `readable` or not.
    pub fn task(&mut self, id: i64, priority: i64, readable: bool) -> Vec<String> {
        let is_live = self
            .books
            .get(&id)
            .is_some_and(|(taken, answered)| taken > answered);
        if is_live {
            return Vec::new();
        }
        self.books.entry(id).or_default().0 += 1;
        if !readable {
            return vec![self.answered(id, format!("unreadable {id}: why"))];
        }
        self.priorities.insert(id, priority);
        self.waiting.insert((priority, id));
        Vec::new()
    }

    pub fn register(
        &mut self,
        name: &str,
        connection: Option<u64>,
        capacity: usize,
        drain_in: Option<Duration>,
    ) -> Vec<String> {
        let mut expected = Vec::new();
        let mut tasks = BTreeSet::new();
        if let Some(earlier) = self.managers.remove(name) {
            let by = (earlier.connection, earlier.registered_by);
            if by == (connection, connection) && connection.is_some() {
                tasks = earlier.tasks;
            } else {
                expected.push(format!("forgotten {name}"));
                expected.extend(self.lost(name, &earlier.tasks));
            }
        }
        self.departed.remove(name);
        self.history.push(name.to_owned());
        let manager = Manager {
            capacity,
            held: false,
            draining: false,
            suspect: false,
            drain_at: drain_in.map(|drain_in| self.now + drain_in),
            connection,
            registered_by: connection,
            heard: self.awake(),
            tasks,
        };
        self.managers.insert(name.to_owned(), manager);
        expected
    }

    /// A message other than a probe or a registration. False if the manager is not registered;
    /// then `expected` is all that comes of it.
    fn hear(&mut self, name: &str, connection: Option<u64>, expected: &mut Vec<String>) -> bool {
        let awake = self.awake();
        let Some(manager) = self.managers.get_mut(name) else {
            if self.departed.contains(name) {
                expected.push(format!("{name} < shutdown"));
            }
            return false;
        };
        manager.heard = awake;
        if connection.is_some() {
            manager.connection = connection;
            manager.suspect = false;
        }
        true
    }

    pub fn heartbeat(&mut self, name: &str, connection: Option<u64>) -> Vec<String> {
        let mut expected = Vec::new();
        if self.hear(name, connection, &mut expected) {
            expected.push(format!("{name} < heartbeat echo"));
        }
        expected
    }

    pub fn drain(&mut self, name: &str, connection: Option<u64>) -> Vec<String> {
        let mut expected = Vec::new();
        if self.hear(name, connection, &mut expected) {
            self.manager(name).draining = true;
            expected.extend(self.finish_draining(name));
        }
        expected
    }

    pub fn result(&mut self, name: &str, connection: Option<u64>, id: i64) -> Vec<String> {
        let mut expected = Vec::new();
        if self.hear(name, connection, &mut expected) && self.manager(name).tasks.remove(&id) {
            expected.push(self.answered(id, format!("result {id} by {name}")));
            expected.extend(self.finish_draining(name));
        }
        expected
    }

    pub fn hold(&mut self, name: &str) -> Vec<String> {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.held = true;
        }
        vec!["reply none".to_owned()]
    }

    pub fn disconnect(&mut self, connection: u64) {
        for manager in self.managers.values_mut() {
            if manager.connection == Some(connection) {
                manager.connection = None;
                manager.suspect = true;
            }
        }
    }

    pub fn refuse(&mut self, name: &str, ids: &[i64]) -> Vec<String> {
        let Some(manager) = self.managers.get_mut(name) else {
            return Vec::new();
        };
        manager.suspect = true;
        for id in ids {
            if manager.tasks.remove(id) {
                self.waiting.insert((self.priorities[id], *id));
            }
        }
        self.finish_draining(name)
    }

    /// Time has come: who drains, who is lost.
    pub fn time(&mut self) -> Vec<String> {
        let mut expected = Vec::new();
        let names: Vec<String> = self.managers.keys().cloned().collect();
        for name in &names {
            let now = self.now;
            let manager = self.manager(name);
            if manager.drain_at.is_some_and(|at| at <= now) {
                manager.drain_at = None;
                manager.draining = true;
                expected.extend(self.finish_draining(name));
            }
        }
        let backlog_is_over = self.awake() >= self.workers_empty_at + self.threshold * 2;
        for name in &names {
            let Some(manager) = self.managers.get(name) else {
                continue;
            };
            let deadline = manager.heard + self.threshold;
            let was_heard_out = self.workers_empty_at >= deadline || backlog_is_over;
            if deadline <= self.awake() && was_heard_out {
                let tasks = self.depart(name).tasks;
                expected.push(format!("forgotten {name}"));
                expected.extend(self.lost(name, &tasks));
            }
        }
        expected
    }

    /// What was handed out: to somebody with room, the first in the queue, as much as goes; and
    /// nothing stays behind that could go.
    pub fn check_dispatch(&mut self, seen: &[Seen]) -> Verdict {
        for effect in seen {
            let Seen::Batch { to, ids } = effect else {
                return Err(format!("{effect:?} comes of a dispatch"));
            };
            if !self.dispatching {
                return Err("tasks leave while nothing may leave".to_owned());
            }
            let room = self.managers.get(to).map_or(0, Manager::room);
            let count = room.min(BATCH_MAX).min(self.waiting.len());
            let first: Vec<i64> = self.waiting.iter().take(count).map(|(_, id)| *id).collect();
            if *ids != first || ids.is_empty() {
                return Err(format!(
                    "{to} has room for {room} and got [{}], where [{}] come first",
                    words::fold(ids),
                    words::fold(&first),
                ));
            }
            for _ in ids {
                let (_, id) = self.waiting.pop_first().expect("counted");
                self.manager(to).tasks.insert(id);
            }
        }
        let is_room = self.managers.values().any(|manager| manager.room() > 0);
        if self.dispatching && is_room && !self.waiting.is_empty() {
            return Err("tasks wait although there is room".to_owned());
        }
        Ok(())
    }

    /// Each accepted task has been answered once, except those that live.
    pub fn check_books(&self) -> Verdict {
        let live = self
            .books
            .iter()
            .filter(|(_, (taken, answered))| taken != answered);
        let live: BTreeSet<i64> = live.map(|(id, _)| *id).collect();
        let mut here: BTreeSet<i64> = self.waiting.iter().map(|(_, id)| *id).collect();
        here.extend(self.managers.values().flat_map(|manager| &manager.tasks));
        match live == here {
            true => Ok(()),
            false => Err(format!("live {live:?}, here {here:?}")),
        }
    }

    fn manager(&mut self, name: &str) -> &mut Manager {
        self.managers.get_mut(name).expect("registered")
    }

    fn finish_draining(&mut self, name: &str) -> Vec<String> {
        let manager = self.manager(name);
        if !manager.draining || !manager.tasks.is_empty() {
            return Vec::new();
        }
        self.depart(name);
        vec![format!("{name} < shutdown"), format!("forgotten {name}")]
    }

    fn depart(&mut self, name: &str) -> Manager {
        self.departed.insert(name.to_owned());
        self.managers.remove(name).expect("registered")
    }

    fn lost(&mut self, name: &str, tasks: &BTreeSet<i64>) -> Vec<String> {
        let text = |id: &i64| (*id, format!("lost {id} with {name} on host-{name}"));
        let texts: Vec<_> = tasks.iter().map(text).collect();
        texts
            .into_iter()
            .map(|(id, text)| self.answered(id, text))
            .collect()
    }

    fn answered(&mut self, id: i64, text: String) -> String {
        let (taken, answered) = self.books.get_mut(&id).expect("accepted");
        *answered += 1;
        assert!(answered <= taken, "task {id} would be answered twice");
        text
    }
}
