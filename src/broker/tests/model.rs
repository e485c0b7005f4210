//! The model that the simulation compares a broker with: it keeps the broker's promises in the
//! simplest way.
//!
//! The model gets every event before the broker does, and returns the exact effects that the broker
//! must produce. Only the choice of a manager for a task is left to the broker; the model checks
//! whether the choice was allowed.

#[path = "model/batches.rs"]
mod batches;
#[path = "model/choice.rs"]
mod choice;
#[path = "model/doubt.rs"]
mod doubt;
#[path = "model/grace.rs"]
mod grace;
#[path = "model/vanished.rs"]
mod vanished;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::words;
use choice::Round;
use doubt::Held;
use grace::Suspect;

pub(crate) use batches::weight_of;
pub(crate) use choice::{ANSWER_WITHIN, Choice};

/// An effect of the broker, as far as the model checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A question for the user's own selector, with the managers to choose from.
    Rank {
        number: u64,
        among: BTreeSet<String>,
    },
    Other(String),
}

pub(crate) type Verdict = Result<(), String>;

/// A turn that is later than its due time by this much means that the process was suspended
/// (guide/design).
const STALL_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Model {
    pub threshold: Duration,
    pub grace: Option<Duration>,
    /// How long tasks in doubt are waited for; None: three times the longest flight (guide/design).
    patience: Option<Duration>,
    longest_flight: Duration,
    pub choice: Choice,
    round: Round,
    now: Duration,
    last_turn: Duration,
    /// How long the process was suspended in total.
    slept: Duration,
    /// When nothing was left to read (awake clock).
    workers_empty_at: Duration,
    /// All messages that arrived by this time were read (awake clock).
    heard_until: Duration,
    pub waiting: BTreeSet<(i64, i64)>,
    pub managers: BTreeMap<String, Manager>,
    departed: BTreeSet<String>,
    /// Block, name and time (awake clock) of each manager that vanished.
    vanished: Vec<(String, String, Duration)>,
    pub history: Vec<String>,
    pub dispatching: bool,
    registrations: u64,
    pub late_results: u64,
    /// How often each id was accepted, and how often answered.
    books: BTreeMap<i64, (u32, u32)>,
    /// Live tasks that share no batch with others.
    alone: BTreeSet<i64>,
}

/// What a manager reports in its registration.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub block: String,
    pub capacity: usize,
    pub workers: i64,
    /// Start time by the manager's own clock, which may be off by years.
    pub started_s: f64,
    pub drain_in: Option<Duration>,
}

pub(crate) struct Manager {
    pub account: Account,
    order: u64,
    held: bool,
    /// Whether the manager's connection accepts nothing more.
    clogged: bool,
    draining: bool,
    suspect: Option<Suspect>,
    /// Whether the manager has not spoken since others of its block vanished.
    awaited: bool,
    drain_at: Option<Duration>,
    connection: Option<u64>,
    registered_by: Option<u64>,
    heard: Duration,
    idle_since: Option<Duration>,
    pub tasks: BTreeMap<i64, Held>,
    spoke_by: Option<u64>,
    given_up: BTreeSet<i64>,
}

impl Manager {
    fn room(&self) -> usize {
        let is_kept_away = self.held || self.draining || self.clogged || self.awaited;
        match is_kept_away || self.suspect.is_some() {
            true => 0,
            false => self.account.capacity - self.tasks.len(),
        }
    }
}

impl Model {
    pub(crate) fn new(
        threshold: Duration,
        grace: Option<Duration>,
        patience: Option<Duration>,
        choice: Choice,
    ) -> Self {
        Self {
            threshold,
            grace,
            patience,
            longest_flight: Duration::ZERO,
            choice,
            round: Round::default(),
            now: Duration::ZERO,
            last_turn: Duration::ZERO,
            slept: Duration::ZERO,
            workers_empty_at: Duration::ZERO,
            heard_until: Duration::ZERO,
            waiting: BTreeSet::new(),
            managers: BTreeMap::new(),
            departed: BTreeSet::new(),
            vanished: Vec::new(),
            history: Vec::new(),
            dispatching: true,
            registrations: 0,
            late_results: 0,
            books: BTreeMap::new(),
            alone: BTreeSet::new(),
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.waiting.len() + self.in_flight()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.managers.values().map(|m| m.tasks.len()).sum()
    }

    pub(crate) fn is_live(&self, id: i64) -> bool {
        let books = self.books.get(&id);
        books.is_some_and(|(taken, answered)| taken > answered)
    }

    /// Returns how often a task with this id was accepted.
    pub(crate) fn times_taken(&self, id: i64) -> u32 {
        self.books.get(&id).map_or(0, |(taken, _)| *taken)
    }

    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// Begins a turn at `now`; the process meant to run at `due`.
    pub(crate) fn begin_turn(&mut self, now: Duration, due: Option<Duration>) {
        self.now = now;
        let due = due.unwrap_or(now).max(self.last_turn);
        let late = now.saturating_sub(due);
        if late >= STALL_MIN {
            self.slept += now - self.last_turn;
        }
        self.last_turn = now;
    }

    fn awake(&self) -> Duration {
        self.now - self.slept
    }

    pub(crate) fn workers_empty(&mut self, heard_until: Duration) {
        self.workers_empty_at = self.awake();
        let heard_until = heard_until.saturating_sub(self.slept);
        self.heard_until = self.heard_until.max(heard_until);
    }

    /// Whether some deadline has passed while messages from before it may be unread.
    pub(crate) fn is_listening(&self) -> bool {
        let awake = self.awake();
        let is_over = |manager: &Manager| {
            self.deadline(manager) <= awake || manager.first_doubt().is_some_and(|at| at <= awake)
        };
        self.managers.values().any(is_over)
    }

    /// Returns the latest time by which the broker must wake up for some manager.
    pub(crate) fn due(&self) -> Option<Duration> {
        let backlog_end = self.backlog_end();
        let awake = self.managers.values().flat_map(|manager| {
            let deadlines = [Some(self.deadline(manager)), manager.first_doubt()];
            let deadlines = deadlines.into_iter().flatten();
            let heard_out = deadlines.map(|at| if at <= self.awake() { backlog_end } else { at });
            heard_out.chain(manager.suspect.and_then(|suspect| suspect.ask_at))
        });
        let awake = awake.min().map(|at| at + self.slept);
        let drain = self.managers.values().filter_map(|m| m.drain_at).min();
        [awake, drain].into_iter().flatten().min()
    }

    /// Submits a task, readable or not. If `alone`, the task shares no batch with others.
    pub(crate) fn task(
        &mut self,
        id: i64,
        priority: i64,
        readable: bool,
        alone: bool,
    ) -> Vec<String> {
        if self.is_live(id) {
            return Vec::new();
        }
        self.books.entry(id).or_default().0 += 1;
        if !readable {
            return vec![self.answered(id, format!("unreadable {id}: why"))];
        }
        match alone {
            true => self.alone.insert(id),
            false => self.alone.remove(&id),
        };
        self.waiting.insert((priority, id));
        Vec::new()
    }

    pub(crate) fn register(
        &mut self,
        name: &str,
        connection: Option<u64>,
        account: Account,
    ) -> Vec<String> {
        let mut expected = Vec::new();
        let mut tasks = BTreeMap::new();
        let mut given_up = BTreeSet::new();
        self.registrations += 1;
        let mut order = self.registrations;
        if let Some(earlier) = self.managers.remove(name) {
            order = earlier.order;
            self.forget_block(&earlier.account.block);
            let by = (earlier.connection, earlier.registered_by);
            if by == (connection, connection) && connection.is_some() {
                tasks = earlier.tasks;
                given_up = earlier.given_up;
            } else {
                expected.push(format!("forgotten {name}"));
                expected.extend(self.lost(name, &earlier.tasks));
            }
        }
        self.departed.remove(name);
        self.forget_in_order(name);
        self.history.push(account.block.clone());
        let suspect = match connection {
            Some(connection) => {
                expected.extend(self.take_connection(name, connection));
                None
            }
            None => Some(self.suspect()),
        };
        let manager = Manager {
            order,
            held: false,
            clogged: false,
            draining: false,
            suspect,
            awaited: false,
            drain_at: account.drain_in.map(|drain_in| self.now + drain_in),
            connection,
            registered_by: connection,
            heard: self.awake(),
            idle_since: tasks.is_empty().then_some(self.now),
            tasks,
            spoke_by: connection,
            given_up,
            account,
        };
        self.managers.insert(name.to_owned(), manager);
        if connection.is_none() {
            self.vanish(name);
        }
        expected
    }

    /// Handles a message other than a probe or a registration. Returns false if the manager is not
    /// registered; `expected` then has all effects.
    fn hear(&mut self, name: &str, connection: Option<u64>, expected: &mut Vec<String>) -> bool {
        let awake = self.awake();
        if !self.managers.contains_key(name) {
            if self.departed.contains(name) {
                expected.push(format!("{name} < shutdown"));
            }
            return false;
        }
        let heard = std::mem::replace(&mut self.manager(name).heard, awake);
        match connection {
            Some(number) => {
                expected.extend(self.take_connection(name, number));
                self.doubt(name, connection, heard);
                let manager = self.manager(name);
                manager.connection = connection;
                manager.spoke_by = connection;
                manager.suspect = None;
                manager.awaited = false;
            }
            // The message was sent before the connection closed.
            None => self.begin_anew(name, Duration::ZERO),
        }
        true
    }

    pub(crate) fn heartbeat(&mut self, name: &str, connection: Option<u64>) -> Vec<String> {
        let mut expected = Vec::new();
        if self.hear(name, connection, &mut expected) {
            expected.push(format!("{name} < heartbeat echo"));
        }
        expected
    }

    /// Handles a monitoring record, which is only a sign of life here.
    pub(crate) fn record(&mut self, name: &str, connection: Option<u64>) -> Vec<String> {
        let mut expected = Vec::new();
        self.hear(name, connection, &mut expected);
        expected
    }

    pub(crate) fn drain(&mut self, name: &str, connection: Option<u64>) -> Vec<String> {
        let mut expected = Vec::new();
        if self.hear(name, connection, &mut expected) {
            self.manager(name).draining = true;
            expected.extend(self.finish_draining(name));
        }
        expected
    }

    pub(crate) fn result(
        &mut self,
        name: &str,
        connection: Option<u64>,
        id: i64,
        is_spoilt: bool,
    ) -> Vec<String> {
        let mut expected = Vec::new();
        if !self.hear(name, connection, &mut expected) {
            self.late_results += u64::from(self.departed.contains(name));
            return expected;
        }
        let (now, awake) = (self.now, self.awake());
        let manager = self.manager(name);
        if let Some(held) = manager.tasks.remove(&id) {
            if manager.tasks.is_empty() {
                manager.idle_since = Some(now);
            }
            let text = match is_spoilt {
                true => {
                    format!("unreadable {id}: the result of task {id} could not be forwarded: why")
                }
                false => format!("result {id} by {name}"),
            };
            self.longest_flight = self.longest_flight.max(awake - held.dispatched);
            expected.push(self.answered(id, text));
            expected.extend(self.finish_draining(name));
        } else if manager.given_up.remove(&id) {
            self.late_results += 1;
        }
        expected
    }

    pub(crate) fn hold(&mut self, name: &str) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.held = true;
        }
    }

    /// Sets whether the manager's connection accepts nothing more.
    pub(crate) fn clog(&mut self, name: &str, is_clogged: bool) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.clogged = is_clogged;
        }
    }

    /// After two thresholds of backlog without a break, an overdue manager is lost even so
    /// (guide/design).
    fn backlog_end(&self) -> Duration {
        self.workers_empty_at + self.threshold * 2
    }

    /// Whether a manager may be given up while its messages are unread.
    pub(crate) fn backlog_is_over(&self) -> bool {
        self.awake() >= self.backlog_end()
    }

    /// Handles the passing of time: managers drain or are lost.
    pub(crate) fn time(&mut self) -> Vec<String> {
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
        for name in &names {
            expected.extend(self.ask(name));
        }
        for name in &names {
            let Some(manager) = self.managers.get(name) else {
                continue;
            };
            match manager.heard + self.threshold <= self.heard_out_until() {
                true => expected.extend(self.lose(name)),
                false => expected.extend(self.ask_for_the_last_time(name)),
            }
        }
        for name in &names {
            if self.managers.contains_key(name) {
                expected.extend(self.give_up_doubts(name));
            }
        }
        expected
    }

    /// Handles the end of the submit side: all managers are told to exit, and nothing else is sent.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        let names = self
            .managers
            .keys()
            .map(|name| format!("{name} < shutdown"));
        let mut expected: Vec<String> = names.collect();
        expected.push("stop: submit side gone".to_owned());
        expected
    }

    /// Checks that each accepted task was answered once, except the live ones.
    pub(crate) fn check_books(&self) -> Verdict {
        let live = self
            .books
            .iter()
            .filter(|(_, (taken, answered))| taken != answered);
        let live: BTreeSet<i64> = live.map(|(id, _)| *id).collect();
        let mut here: BTreeSet<i64> = self.waiting.iter().map(|(_, id)| *id).collect();
        here.extend(
            self.managers
                .values()
                .flat_map(|manager| manager.tasks.keys()),
        );
        match live == here {
            true => Ok(()),
            false => Err(format!("live {live:?}, here {here:?}")),
        }
    }

    /// Returns the reply to MANAGERS, in the format of `words.rs`.
    pub(crate) fn statuses(&self) -> Vec<String> {
        let of_one = |(name, manager): &(&String, &Manager)| {
            let idle = manager
                .idle_since
                .map_or(Duration::ZERO, |at| self.now - at);
            format!(
                "- {name} block={:?} workers={} tasks={} idle={} {}{} parsl=2026.10.26 \
                 python=3.11.7",
                manager.account.block,
                manager.account.workers,
                manager.tasks.len(),
                words::rounded(idle.as_secs_f64()),
                if manager.held { "inactive" } else { "active" },
                if manager.draining { " draining" } else { "" },
            )
        };
        let head = format!("reply {} managers", self.managers.len());
        let lines = self.in_order();
        std::iter::once(head)
            .chain(lines.iter().map(of_one))
            .collect()
    }

    pub(crate) fn names_in_order(&self) -> Vec<String> {
        let in_order = self.in_order();
        in_order.iter().map(|(name, _)| (*name).clone()).collect()
    }

    fn in_order(&self) -> Vec<(&String, &Manager)> {
        let mut managers: Vec<_> = self.managers.iter().collect();
        managers.sort_by_key(|(_, manager)| manager.order);
        managers
    }

    pub(crate) fn workers(&self) -> i64 {
        self.managers.values().map(|m| m.account.workers).sum()
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
        let manager = self.managers.remove(name).expect("registered");
        self.forget_block(&manager.account.block);
        manager
    }

    /// Returns the time up to which deadlines have been heard out.
    fn heard_out_until(&self) -> Duration {
        match self.backlog_is_over() {
            true => self.awake(),
            false => self.heard_until.min(self.awake()),
        }
    }

    fn lose(&mut self, name: &str) -> Vec<String> {
        if self.managers[name].suspect.is_none() {
            self.vanish(name);
        }
        let tasks = self.depart(name).tasks;
        let mut expected = vec![format!("forgotten {name}")];
        expected.extend(self.lost(name, &tasks));
        expected
    }

    fn lost(&mut self, name: &str, tasks: &BTreeMap<i64, Held>) -> Vec<String> {
        let text = |id: &i64| (*id, format!("lost {id} with {name} on host-{name}"));
        let texts: Vec<_> = tasks.keys().map(text).collect();
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
