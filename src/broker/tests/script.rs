//! The commands of a scenario.
//!
//! `> register m1 block=0 capacity=2`: a verb, its objects, and options. An option that the command
//! does not use fails the scenario as a typing error, and so does a verb that is not in the list of
//! [`Player::play`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use broker::{
    BatchRoom, BlockIdSelector, Candidate, ConnectionId, Origin, Output, PackSelector, Patience,
    RandomSelector, Selector, Settings, Slot, SpreadSelector, StopReason, Versions,
};
use protocol::{
    BlockId, Command, FromManager, ManagerId, Priority, SelectorAnswer, Task, TaskId, VersionCheck,
};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::events::Events;
use super::needs;
use super::words;
use super::world::{self, ANY_ROOM, Body, Departure, Way, World, manager_id};
use restart::Kept;

#[path = "script/restart.rs"]
mod restart;
#[path = "script/work.rs"]
mod work;

/// A line of a scenario, parsed.
pub(crate) struct Line {
    pub verb: String,
    pub objects: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Line {
    pub(crate) fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let verb = words.next().expect("a verb").to_owned();
        let mut line = Self {
            verb,
            objects: Vec::new(),
            options: BTreeMap::new(),
        };
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => {
                    line.options.insert(key.to_owned(), value.to_owned());
                }
                None => line.objects.push(word.to_owned()),
            }
        }
        line
    }

    fn object(&self, place: usize) -> &str {
        let object = self.objects.get(place);
        object.unwrap_or_else(|| panic!("'{}' wants more words", self.verb))
    }

    fn number<T: FromStr<Err: Debug>>(&self, place: usize) -> T {
        let object = self.object(place);
        object.parse().unwrap_or_else(|_| panic!("{object}"))
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.options.remove(key)
    }

    pub(crate) fn option<T: FromStr<Err: Debug>>(&mut self, key: &str) -> Option<T> {
        let value = self.text(key)?;
        Some(value.parse().unwrap_or_else(|_| panic!("{key}={value}")))
    }

    fn finish(self) {
        assert!(
            self.options.is_empty(),
            "nobody reads {:?} of '{}'",
            self.options,
            self.verb
        );
    }
}

/// Plays one scenario.
pub(crate) struct Player {
    world: World,
    events: Events,
    shows_warnings: bool,
    /// Managers that the transport has no connection to.
    unreachable: BTreeSet<String>,
    /// Managers whose connection accepts nothing.
    full: BTreeSet<String>,
    /// Tasks that managers have begun by [`work`].
    begun: BTreeMap<String, VecDeque<i64>>,
    /// The selector's name in the scenario.
    selector: Option<String>,
    kept: Option<Kept>,
}

impl Player {
    /// Creates a player from the `with` line: `with threshold=10 grace=2 patience=3 check=off
    /// monitoring=on selector=block warnings=shown walltime=60 cores_per_worker=2 routing=hard
    /// failing=held journal=kept`.
    pub(crate) fn new(mut with: Line) -> Self {
        let mut settings = Settings {
            monitoring: with.text("monitoring").as_deref() == Some("on"),
            happenings: with.text("happenings").as_deref() == Some("told"),
            ..world::settings()
        };
        if let Some(seconds) = with.option("threshold") {
            settings.heartbeat_threshold = Duration::from_secs_f64(seconds);
        }
        settings.disconnect_grace = with.option("grace").map(Duration::from_secs_f64);
        settings.reconnect_patience = match with.text("patience").as_deref() {
            None => Patience::Measured,
            Some("none") => Patience::Endless,
            Some(text) => Patience::Fixed(seconds(number(text) as f64)),
        };
        if let Some(check) = with.text("check") {
            settings.version_check = match check.as_str() {
                "both" => VersionCheck::PythonAndParsl,
                "parsl" => VersionCheck::ParslOnly,
                _ => panic!("check={check}"),
            };
        }
        settings.placement = needs::placement(&mut with);
        settings.placement.exact_capacity = with.text("capacity").as_deref() == Some("exact");
        settings.placement.hold_failing_managers = with.text("failing").as_deref() == Some("held");
        let wanted = with.text("selector");
        let shows_warnings = with.text("warnings").is_some();
        let is_kept = with.text("journal").is_some();
        with.finish();
        let mut kept = is_kept.then(|| Kept::new(settings.clone()));
        let mut world = World::new(settings, selector(wanted.as_deref()));
        if let Some(kept) = &mut kept {
            kept.open(&mut world);
        }
        if wanted.as_deref() == Some("asked") {
            world.broker.ask_for_order(1, world.now);
        }
        Self {
            world,
            events: Events::capture(LevelFilter::WARN),
            shows_warnings,
            unreachable: BTreeSet::new(),
            full: BTreeSet::new(),
            begun: BTreeMap::new(),
            selector: wanted,
            kept,
        }
    }

    /// Plays one command, and returns its effects.
    pub(crate) fn play(&mut self, mut line: Line) -> Vec<String> {
        let mut seen = self.carry_out(&mut line);
        line.finish();
        seen.extend(self.seen(""));
        seen
    }

    /// Ends the scenario. Stopping the broker must settle all tasks.
    pub(crate) fn finish(mut self) {
        self.world.broker.handle_stop(StopReason::SubmitSideGone);
        drop(self.world.outputs());
        let left = (self.world.broker.queued(), self.world.broker.in_flight());
        assert_eq!(left, (0, 0), "a stopped broker has settled everything");
    }

    fn carry_out(&mut self, line: &mut Line) -> Vec<String> {
        match line.verb.as_str() {
            "register" | "heartbeat" | "drain" | "probe" | "result" | "raised" | "spoilt"
            | "record" => {
                self.say_by_manager(line);
            }
            "task" | "tasks" | "unreadable" => self.submit(line),
            "dispatching" => self.world.broker.handle_dispatching(line.object(0) == "on"),
            "dispatch" => return self.dispatch(line),
            "written" | "killed" | "unsent" => return self.survive(line),
            "advance" => return self.advance(line),
            "sleep" => self.world.pass(seconds(line.number(0))),
            "wall" => self.world.now.wall_s += line.number::<f64>(0),
            "time" => self.world.broker.handle_time(self.world.now),
            "workers-empty" => {
                let now = self.world.now;
                let heard_until = line.option("until").map_or(now.monotonic, seconds);
                self.world.broker.handle_workers_empty(heard_until, now);
            }
            "raises" | "works" | "spoils" | "begins" | "ends" => return self.work(line),
            "oldest" => return vec![self.oldest()],
            "listening" => return vec![self.world.broker.is_listening().to_string()],
            "deadline" => {
                let deadline = self.world.broker.next_deadline();
                return vec![deadline.map_or("none".to_owned(), show)];
            }
            "observe" => self.world.broker.begin_observations(self.world.now),
            "books" => return vec![self.books()],
            "unmet" => return needs::unmet(&self.world),
            "reserved" => return vec![needs::reserved(&self.world)],
            "slots" => return needs::slots(&self.world),
            "unfinished" => return vec![self.world.broker.unfinished()],
            "versions" => self.world.broker.handle_versions(Versions {
                python: line.text("python"),
                parsl: line.text("parsl"),
            }),
            "command" => {
                let command = command(line);
                let reply = self.world.broker.handle_command(command, self.world.now);
                let mut seen = self.seen("");
                seen.extend(words::of_reply(&reply));
                return seen;
            }
            "disconnect" => {
                let connection = ConnectionId(line.number(0));
                let now = self.world.now;
                self.unreachable.extend(self.world.speakers_by(connection));
                self.world.broker.handle_disconnected(connection, now);
            }
            // Only the transport changes; the broker is not notified.
            "reconnect" => drop(self.unreachable.remove(line.object(0))),
            "cut" => drop(self.unreachable.insert(line.object(0).to_owned())),
            "full" => drop(self.full.insert(line.object(0).to_owned())),
            "clogged" => self.clog(line),
            "loaded" | "answer" | "answer-failed" | "asked-again" | "give-up" => {
                self.answer_question(line);
            }
            "stop" => self.world.broker.handle_stop(StopReason::SubmitSideGone),
            "gone" => {
                let now = self.world.now;
                self.world.broker.handle_submit_side_gone(now);
            }
            verb => panic!("no such command: {verb}"),
        }
        Vec::new()
    }

    fn say_by_manager(&mut self, line: &mut Line) {
        let name = line.object(0).to_owned();
        let message = match line.verb.as_str() {
            "register" => FromManager::Registration(Box::new(registration(&name, line, self))),
            "heartbeat" => FromManager::Heartbeat,
            "drain" => FromManager::Drain,
            "probe" => FromManager::ConnectionProbe,
            "result" | "raised" => FromManager::Result {
                is_exception: line.verb == "raised"
                    || line.objects.get(2).is_some_and(|word| word == "exception"),
                task: TaskId(line.number(1)),
                frame: Body::Result {
                    manager: name.clone(),
                    task: line.number(1),
                },
            },
            "spoilt" => FromManager::SpoiltResult {
                task: TaskId(line.number(1)),
                reason: line.objects[2..].join(" "),
            },
            _ => FromManager::Monitoring {
                message: Body::Record(line.number(1)),
            },
        };
        if let (Some(kept), FromManager::Registration(it)) = (&mut self.kept, &message) {
            kept.write_registration(&name, it, self.world.now);
        }
        let origin = self.origin(&name, line);
        let (id, now) = (manager_id(&name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
    }

    fn submit(&mut self, line: &mut Line) {
        // The memory that one task takes.
        let weight = line.option("weight").unwrap_or(1);
        match line.verb.as_str() {
            "task" => {
                let mut task = task(line.number(0), line.text("priority").as_deref());
                task.needs = needs::of(line).map(Box::new);
                task.foreign_name = line.text("names").map(String::into_boxed_str);
                self.submit_one(task, weight);
            }
            "tasks" => {
                let needs = needs::of(line).map(Box::new);
                let priority = line.text("priority");
                let (first, last) = line.object(0).split_once('-').expect("first-last");
                for id in number(first)..=number(last) {
                    let mut task = task(id, priority.as_deref());
                    task.needs = needs.clone();
                    self.submit_one(task, weight);
                }
            }
            _ => {
                let reason = line.objects[1..].join(" ");
                let (id, now) = (TaskId(line.number(0)), self.world.now);
                self.world.broker.handle_unreadable_task(id, reason, now);
            }
        }
    }

    /// `> dispatch tasks=2 weight=5`: dispatches to the managers that have a connection which
    /// accepts something, in batches of at most this size.
    fn dispatch(&mut self, line: &mut Line) -> Vec<String> {
        let room = BatchRoom {
            tasks: line.option("tasks").unwrap_or(ANY_ROOM.tasks),
            weight: line.option("weight").unwrap_or(ANY_ROOM.weight),
        };
        let (unreachable, full) = (&self.unreachable, &self.full);
        let departures = self.world.dispatch(|to| match &to.to_text() {
            to if unreachable.contains(to) => Way::None,
            to if full.contains(to) => Way::Full,
            _ => Way::Open(room),
        });
        if let Some(kept) = &mut self.kept {
            kept.note_departures(&departures);
        }
        let in_words = |departure: &Departure| match departure {
            Departure::Output(output) => words::of(output, self.world.now),
            Departure::Batch(to, shipment) => words::of_batch(to, shipment),
        };
        departures.iter().map(in_words).collect()
    }

    /// `> clogged m1 on`: the manager's connection accepts nothing any more (or again, with `off`),
    /// and the transport reports that.
    fn clog(&mut self, line: &Line) {
        let (name, is_clogged) = (line.object(0), line.object(1) == "on");
        match is_clogged {
            true => drop(self.full.insert(name.to_owned())),
            false => drop(self.full.remove(name)),
        }
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_clogged(&id, is_clogged, now);
    }

    /// Plays a message of the process that runs a user's selector, or the end of that process.
    fn answer_question(&mut self, line: &Line) {
        let (broker, now) = (&mut self.world.broker, self.world.now);
        let answer = match line.verb.as_str() {
            "asked-again" => return broker.handle_asked_again(now),
            "give-up" => return broker.give_up_asking(&line.objects.join(" ")),
            "loaded" => SelectorAnswer::Loaded,
            "answer" => SelectorAnswer::Order {
                number: line.number(0),
                managers: line.objects[1..]
                    .iter()
                    .map(|name| manager_id(name))
                    .collect(),
            },
            _ => SelectorAnswer::Failed {
                number: line.number(0),
                traceback: line.objects[1..].join(" "),
            },
        };
        broker.handle_answer(answer, now);
    }

    /// Lets time pass as the loop does: the loop wakes at every deadline and, unless the command
    /// says `busy`, has read all messages that arrived by then.
    fn advance(&mut self, line: &Line) -> Vec<String> {
        let until = self.world.now.monotonic + seconds(line.number(0));
        let is_busy = line.objects.get(1).is_some_and(|word| word == "busy");
        let mut seen = Vec::new();
        for _ in 0..1000 {
            let deadline = self.world.broker.next_deadline();
            let now = self.world.now.monotonic;
            let next = match self.world.broker.is_listening() && !is_busy {
                true => now,
                false => deadline.map_or(until, |at| at.clamp(now, until)),
            };
            self.world.pass(next - now);
            if !is_busy {
                let now = self.world.now;
                self.world.broker.handle_workers_empty(now.monotonic, now);
            }
            self.world.broker.handle_time(self.world.now);
            let at = format!("[{}] ", show(next));
            seen.extend(self.seen(&at));
            let is_due = |at: Duration| at <= next;
            if next == until && !self.world.broker.next_deadline().is_some_and(is_due) {
                return seen;
            }
        }
        panic!("a deadline that does not go away");
    }

    /// Returns the broker's effects and log lines since the last call.
    fn seen(&mut self, prefix: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let mut outputs = VecDeque::from(self.world.outputs());
        while let Some(output) = outputs.pop_front() {
            seen.push(format!("{prefix}{}", words::of(&output, self.world.now)));
            if let Output::ToManager { to, .. } = output {
                self.carry_word(&to);
                outputs.extend(self.world.outputs());
            }
        }
        for line in self.events.take() {
            match line.level {
                Level::ERROR => seen.push(format!("{prefix}error {}", line.text)),
                _ if self.shows_warnings => seen.push(format!("{prefix}warning {}", line.text)),
                _ => {}
            }
        }
        seen
    }

    /// The transport accepts a message, or reports that it has no connection.
    fn carry_word(&mut self, to: &ManagerId) {
        let (broker, now) = (&mut self.world.broker, self.world.now);
        match self.unreachable.contains(&to.to_text()) {
            true => broker.handle_unreachable(to, now),
            false => broker.handle_reachable(to, now),
        }
    }

    /// Returns how long the oldest queued task has waited.
    fn oldest(&self) -> String {
        let oldest = self.world.broker.snapshot(self.world.now).queue.oldest;
        oldest.map_or("none".to_owned(), show)
    }

    fn books(&self) -> String {
        let broker = &self.world.broker;
        format!(
            "queued {}, in flight {}, managers {}",
            broker.queued(),
            broker.in_flight(),
            broker.snapshot(self.world.now).managers.len()
        )
    }

    /// `conn=7`, `conn=none`, `addr=10.9.9.9`: sets the manager's connection for this and later
    /// messages.
    fn origin(&mut self, name: &str, line: &mut Line) -> Origin {
        let mut origin = self.world.origin(name);
        match line.text("conn").as_deref() {
            None => {}
            Some("none") => {
                self.unreachable.insert(name.to_owned());
                origin = Origin::default();
            }
            Some(text) => origin.connection = Some(ConnectionId(number(text).unsigned_abs())),
        }
        if let Some(address) = line.option::<IpAddr>("addr") {
            origin.address = Some(address);
        }
        if origin.connection.is_some() {
            self.unreachable.remove(name);
            self.world.set_origin(name, origin);
        }
        origin
    }
}

fn selector(name: Option<&str>) -> Box<dyn Selector> {
    match name {
        None | Some("asked") => Box::new(BlockIdSelector::default()),
        Some("random") => Box::new(RandomSelector::new(1)),
        Some("spread") => Box::new(SpreadSelector::default()),
        Some("pack") => Box::new(PackSelector::default()),
        Some("longest-waiting") => Box::new(LongestWaiting::default()),
        Some(other) => panic!("selector={other}"),
    }
}

fn registration(name: &str, line: &mut Line, player: &Player) -> protocol::Registration<Body> {
    let mut registration = world::registration(name);
    if let Some(block) = line.text("block") {
        registration.block = match block.strip_prefix('#') {
            Some(block) => BlockId::Number(number(block)),
            None => BlockId::Text(block.into()),
        };
    }
    if let Some(capacity) = line.option("capacity") {
        registration.max_capacity = capacity;
    }
    if let Some(workers) = line.option("workers") {
        registration.worker_count = workers;
    }
    needs::tell_site(&mut registration, line);
    if let Some(drain_in) = line.option::<f64>("drain_in") {
        registration.drain_time_s = player.world.now.wall_s + drain_in;
        registration.start_time_s = player.world.now.wall_s;
    }
    // The manager's clock may be off, and the manager may not report when it started.
    if let Some(off_by) = line.option::<f64>("clock") {
        registration.drain_time_s += off_by;
        registration.start_time_s += off_by;
    }
    match line.text("start").as_deref() {
        None => {}
        Some("untold") => registration.start_time_s = 0.0,
        // The start time of the scenario.
        Some("first") => registration.start_time_s -= player.world.now.monotonic.as_secs_f64(),
        Some(other) => panic!("start={other}"),
    }
    if let Some(python) = line.text("python") {
        registration.python_version = python;
    }
    if let Some(parsl) = line.text("parsl") {
        registration.parsl_version = parsl;
    }
    if let Some(host) = line.text("host") {
        registration.hostname = host;
    }
    registration.has_packages = line.text("packages").as_deref() != Some("no");
    registration
}

fn task(id: i64, priority: Option<&str>) -> Task<Body> {
    let priority = match priority {
        None => Priority::LOWEST,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Priority::from_i64(number),
            Err(_) => Priority::from_f64(text.parse().expect("a number")).expect("not NaN"),
        },
    };
    Task {
        id: TaskId(id),
        priority,
        foreign_name: None,
        needs: None,
        body: Body::Task(id),
    }
}

fn command(line: &Line) -> Command {
    match line.object(0) {
        "WORKER_BINDS" => Command::WorkerBinds,
        "CONNECTED_BLOCKS" => Command::ConnectedBlocks,
        "MANAGERS" => Command::Managers,
        "MANAGERS_PACKAGES" => Command::ManagersPackages,
        "WORKERS" => Command::Workers,
        "OUTSTANDING_C" => Command::Outstanding,
        "WORKER_PORTS" => Command::WorkerPorts,
        "HOLD" => Command::Hold(ManagerId::new(line.object(1).as_bytes())),
        other => Command::Unknown(other.to_owned()),
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn seconds(number: f64) -> Duration {
    Duration::from_millis((number * 1000.0).round() as u64)
}

fn show(at: Duration) -> String {
    words::rounded(at.as_secs_f64()).to_string()
}

/// A selector for tests: the manager that has been offered for longest comes first.
#[derive(Default)]
struct LongestWaiting(Vec<Slot>);

impl Selector for LongestWaiting {
    fn offer(&mut self, candidate: Candidate<'_>) {
        if !self.0.contains(&candidate.slot) {
            self.0.push(candidate.slot);
        }
    }

    fn withdraw(&mut self, slot: Slot) {
        self.0.retain(|offered| *offered != slot);
    }

    fn best(&mut self) -> Option<Slot> {
        self.0.first().copied()
    }

    fn best_of(&mut self, holds: &mut dyn FnMut(Slot) -> bool) -> Option<(Slot, usize)> {
        let best = self.0.iter().copied().find(|slot| holds(*slot))?;
        Some((best, usize::MAX))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn another(&self) -> Box<dyn Selector> {
        Box::new(Self::default())
    }
}
