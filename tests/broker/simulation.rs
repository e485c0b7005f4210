//! Random events from a seed, against a model of what a broker promises.
//!
//! `HTEX_SIM_SEED=17 cargo test --test broker simulation` plays one seed again and tells each step;
//! `HTEX_SIM_SEEDS=100000` plays more of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{env, fmt};

use htex_interchange::broker::{
    BlockIdSelector, ConnectionId, Origin, Output, RandomSelector, Selector, Settings, StopReason,
};
use htex_interchange::protocol::{
    BlockId, Command, FromManager, Priority, Reply, Report, Task, TaskId,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::events::Events;
use super::model::{Model, Seen, Verdict};
use super::tamper::Tamper;
use super::words;
use super::world::{self, Body, World, manager_id};

const SEEDS: u64 = 300;
const STEPS: usize = 200;
const THRESHOLD: Duration = Duration::from_secs(10);
const NAMES: [&str; 5] = ["m0", "m1", "m2", "m3", "m4"];

#[test]
fn the_broker_keeps_its_promises() {
    if let Some(seed) = number_in_env("HTEX_SIM_SEED") {
        let told = play(seed, Tamper::Nothing, true);
        assert_eq!(told, Ok(()), "seed {seed}");
        return;
    }
    for seed in 0..number_in_env("HTEX_SIM_SEEDS").unwrap_or(SEEDS) {
        if let Err(failure) = play(seed, Tamper::Nothing, false) {
            panic!("{failure}\nplay it again with HTEX_SIM_SEED={seed}");
        }
    }
}

/// A simulation that cannot fail shows nothing: each of these faults must be found.
#[test]
fn faults_are_found() {
    for fault in [
        Tamper::LoseAnAnswer,
        Tamper::AnswerTwice,
        Tamper::LoseATask,
        Tamper::Misdirect,
        Tamper::Reorder,
        Tamper::SayTooMuch,
    ] {
        let found = (0..50).any(|seed| play(seed, fault, false).is_err());
        assert!(found, "{fault:?} is not found");
    }
}

fn number_in_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// # Errors
/// What was not as promised, and when.
fn play(seed: u64, tamper: Tamper, tells: bool) -> Verdict {
    let mut simulation = Simulation::new(seed, tamper, tells);
    let played = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let step = simulation.step;
    // Dropping a broker with live tasks panics, and says nothing new.
    simulation
        .world
        .broker
        .handle_stop(StopReason::SubmitSideGone);
    match played {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(format!("seed {seed}, step {step}: {failure}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("seed {seed}, step {step}: panic: {text:?}"))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Task,
    TaskAgain,
    UnreadableTask,
    Register,
    RegisterAgain,
    Heartbeat,
    Result,
    OddResult,
    Record,
    Drain,
    Probe,
    Hold,
    Disconnect,
    Reconnect,
    Refuse,
    Advance,
    Sleep,
    WorkersEmpty,
    Dispatching,
    Ask,
}

/// With how often each happens, where it happens at all.
const EVENTS: [(Event, usize); 20] = [
    (Event::Task, 12),
    (Event::TaskAgain, 2),
    (Event::UnreadableTask, 1),
    (Event::Register, 5),
    (Event::RegisterAgain, 1),
    (Event::Heartbeat, 6),
    (Event::Result, 14),
    (Event::OddResult, 3),
    (Event::Record, 1),
    (Event::Drain, 1),
    (Event::Probe, 2),
    (Event::Hold, 1),
    (Event::Disconnect, 2),
    (Event::Reconnect, 2),
    (Event::Refuse, 3),
    (Event::Advance, 6),
    (Event::Sleep, 1),
    (Event::WorkersEmpty, 2),
    (Event::Dispatching, 1),
    (Event::Ask, 3),
];

struct Simulation {
    random: SmallRng,
    menu: Vec<Event>,
    world: World,
    model: Model,
    events: Events,
    next_task: i64,
    last_turn: Duration,
    tamper: Tamper,
    tells: bool,
    step: usize,
}

impl Simulation {
    fn new(seed: u64, tamper: Tamper, tells: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        // Whole kinds of events are absent from some runs, so that others go further.
        let mut menu = vec![Event::Task, Event::Register];
        for (event, weight) in EVENTS {
            if random.random_bool(0.8) {
                menu.extend(std::iter::repeat_n(event, weight));
            }
        }
        let selector: Box<dyn Selector> = match random.random_bool(0.5) {
            true => Box::new(RandomSelector::new(seed)),
            false => Box::new(BlockIdSelector::default()),
        };
        let settings = Settings {
            heartbeat_threshold: THRESHOLD,
            monitoring: random.random_bool(0.5),
            ..world::settings()
        };
        Self {
            random,
            menu,
            world: World::new(settings, selector),
            model: Model::new(THRESHOLD),
            events: Events::capture(LevelFilter::ERROR),
            next_task: 1,
            last_turn: Duration::ZERO,
            tamper,
            tells,
            step: 0,
        }
    }

    fn run(&mut self) -> Verdict {
        for step in 0..STEPS {
            self.step = step;
            let event = self.menu[self.random.random_range(0..self.menu.len())];
            self.happen(event)?;
            if self.random.random_bool(0.6) {
                self.dispatch()?;
            }
            self.model.check_books()?;
        }
        self.settle()
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Task | Event::TaskAgain | Event::UnreadableTask => self.submit(event),
            Event::Advance => {
                let time = Duration::from_millis(self.random.random_range(0..15_000));
                let is_busy = self.random.random_bool(0.3);
                self.advance(time, is_busy)
            }
            Event::Sleep => self.sleep(),
            Event::WorkersEmpty => {
                self.model.workers_empty();
                self.world.broker.handle_workers_empty(self.world.now);
                self.expect("the worker socket is empty", Vec::new())
            }
            Event::Dispatching => {
                self.model.dispatching = !self.model.dispatching;
                self.world.broker.handle_dispatching(self.model.dispatching);
                self.expect("dispatching", Vec::new())
            }
            Event::Refuse => self.refuse(),
            Event::Ask => self.ask(),
            Event::Hold => {
                let name = self.name();
                let expected = self.model.hold(name);
                let command = Command::Hold(name.to_owned());
                self.world.broker.handle_command(command, self.world.now);
                self.expect(format_args!("hold {name}"), expected)
            }
            Event::Disconnect => {
                let name = self.name();
                let origin = self.world.origin(name);
                let Some(ConnectionId(connection)) = origin.connection else {
                    return Ok(());
                };
                self.model.disconnect(connection);
                self.world
                    .broker
                    .handle_disconnected(ConnectionId(connection), self.world.now);
                let closed = Origin {
                    connection: None,
                    ..origin
                };
                self.world.set_origin(name, closed);
                self.expect(format_args!("disconnect {name}"), Vec::new())
            }
            Event::Reconnect => {
                let name = self.name();
                self.world.reconnect(name);
                Ok(())
            }
            _ => self.say(event),
        }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.random.random_range(0..NAMES.len())]
    }

    fn submit(&mut self, event: Event) -> Verdict {
        let id = match event {
            Event::TaskAgain => self.random.random_range(0..=self.next_task),
            _ => self.next_task,
        };
        self.next_task = self.next_task.max(id + 1);
        let priority = match self.random.random_bool(0.7) {
            true => 5,
            false => self.random.random_range(0..10),
        };
        let is_readable = event != Event::UnreadableTask;
        let expected = self.model.task(id, priority, is_readable);
        if is_readable {
            self.world.broker.handle_task(Task {
                id: TaskId(id),
                priority: Priority::from_i64(priority),
                body: Body::Task(id),
            });
        } else {
            let broker = &mut self.world.broker;
            broker.handle_unreadable_task(TaskId(id), "why".to_owned());
        }
        self.expect(
            format_args!("{event:?} {id}, priority {priority}"),
            expected,
        )
    }

    /// A manager, or somebody by its name, says something.
    fn say(&mut self, event: Event) -> Verdict {
        let name = self.name();
        let origin = match event {
            Event::Register => self.world.reconnect(name),
            _ => self.world.origin(name),
        };
        let connection = origin.connection.map(|ConnectionId(number)| number);
        let mut task = self.random.random_range(0..=self.next_task);
        let held: Vec<i64> = match self.model.managers.get(name) {
            Some(manager) => manager.tasks.iter().copied().collect(),
            None => Vec::new(),
        };
        if event == Event::Result && !held.is_empty() {
            task = held[self.random.random_range(0..held.len())];
        }
        let (message, expected) = match event {
            Event::Heartbeat => (
                FromManager::Heartbeat,
                self.model.heartbeat(name, connection),
            ),
            Event::Drain => (FromManager::Drain, self.model.drain(name, connection)),
            Event::Probe => {
                let expected = vec![format!("{name} < probe answer")];
                (FromManager::ConnectionProbe, expected)
            }
            // Not more than a sign of life, here: reports are looked at elsewhere.
            Event::Record => {
                let mut expected = self.model.heartbeat(name, connection);
                expected.retain(|text| !text.ends_with("echo"));
                let message = Body::Record(0);
                (FromManager::Monitoring { message }, expected)
            }
            Event::Register | Event::RegisterAgain => self.registration(name, connection),
            _ => {
                let expected = self.model.result(name, connection, task);
                let is_spoilt = self.random.random_bool(0.1);
                self.result(name, task, is_spoilt, expected)
            }
        };
        let told = format!("{event:?} {name} by {connection:?}, task {task}");
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
        self.expect(told, expected)
    }

    fn result(
        &self,
        name: &str,
        task: i64,
        is_spoilt: bool,
        mut expected: Vec<String>,
    ) -> (FromManager<Body>, Vec<String>) {
        let (manager, id) = (name.to_owned(), TaskId(task));
        if !is_spoilt {
            let frame = Body::Result { manager, task };
            return (FromManager::Result { task: id, frame }, expected);
        }
        let spoilt = format!("unreadable {task}: the result of task {task} could not be passed on");
        for text in expected
            .iter_mut()
            .filter(|text| text.starts_with("result"))
        {
            *text = format!("{spoilt}: why");
        }
        let reason = "why".to_owned();
        (FromManager::SpoiltResult { task: id, reason }, expected)
    }

    fn registration(
        &mut self,
        name: &str,
        connection: Option<u64>,
    ) -> (FromManager<Body>, Vec<String>) {
        let mut registration = world::registration(name);
        registration.block = BlockId::Text(format!("{}", self.random.random_range(0..3)).into());
        // Never less than it holds: a process does not shrink.
        let held = self
            .model
            .managers
            .get(name)
            .map_or(0, |manager| manager.tasks.len());
        registration.max_capacity = held + self.random.random_range(0..6);
        let drain_in = match self.random.random_bool(0.2) {
            true => Some(Duration::from_secs(self.random.random_range(0..20))),
            false => None,
        };
        if let Some(drain_in) = drain_in {
            // An eighth of a second is exact in a float of this size.
            registration.drain_time_s = self.world.now.wall_s + drain_in.as_secs_f64();
        }
        let capacity = registration.max_capacity;
        let expected = self.model.register(name, connection, capacity, drain_in);
        (FromManager::Registration(Box::new(registration)), expected)
    }

    fn refuse(&mut self) -> Verdict {
        let Some((to, shipment)) = self.world.shipments.pop() else {
            return Ok(());
        };
        let name = to.to_text();
        let expected = self.model.refuse(&name, &shipment.ids());
        let told = format!("refuse {name} {:?}", shipment.ids());
        self.world
            .broker
            .handle_refused(&to, shipment, self.world.now);
        self.expect(told, expected)
    }

    fn ask(&mut self) -> Verdict {
        let (model, broker) = (&self.model, &mut self.world.broker);
        let (live, managers) = (model.live(), model.managers.len());
        let history = model.history.len();
        for command in [
            Command::Outstanding,
            Command::Managers,
            Command::ConnectedBlocks,
        ] {
            broker.handle_command(command, self.world.now);
            let answer = match broker.poll_output() {
                Some(Output::Reply(Reply::Number(number))) => (number as usize, live),
                Some(Output::Reply(Reply::Managers(statuses))) => {
                    let tasks: usize = statuses.iter().map(|status| status.tasks).sum();
                    if tasks != model.in_flight() {
                        return Err(format!("{tasks} tasks are listed"));
                    }
                    (statuses.len(), managers)
                }
                Some(Output::Reply(Reply::Blocks(blocks))) => (blocks.len(), history),
                other => return Err(format!("{other:?} for an answer")),
            };
            if answer.0 != answer.1 {
                return Err(format!("{} is told where it is {}", answer.0, answer.1));
            }
        }
        self.expect("commands", Vec::new())
    }

    /// As the loop does: it wakes for every deadline, and is never late.
    fn advance(&mut self, time: Duration, is_busy: bool) -> Verdict {
        let until = self.world.now.monotonic + time;
        loop {
            let now = self.world.now.monotonic;
            let deadline = self.world.broker.next_deadline();
            let next = deadline.map_or(until, |at| at.clamp(now, until));
            self.world.pass(next - now);
            self.turn(is_busy)?;
            if next == until {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, is_busy: bool) -> Verdict {
        let now = self.world.now;
        self.last_turn = now.monotonic;
        self.model.set_now(now.monotonic);
        if !is_busy {
            self.model.workers_empty();
            self.world.broker.handle_workers_empty(now);
        }
        let expected = self.model.time();
        self.world.broker.handle_time(now);
        self.expect(
            format_args!("time {:?}, busy {is_busy}", now.monotonic),
            expected,
        )?;
        match self.world.broker.next_deadline() {
            Some(at) if at <= now.monotonic => Err("a deadline that does not go away".to_owned()),
            None if !self.model.managers.is_empty() => {
                Err("nobody watches the managers".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The process is stopped for longer than anybody may be silent.
    fn sleep(&mut self) -> Verdict {
        self.turn(false)?;
        let time = THRESHOLD * self.random.random_range(3..20);
        self.world.pass(time);
        if self.world.broker.next_deadline().is_some() {
            self.model.sleep(time);
        }
        self.model.set_now(self.world.now.monotonic);
        Ok(())
    }

    fn dispatch(&mut self) -> Verdict {
        self.world.broker.dispatch(self.world.now);
        let seen = self.seen()?;
        self.tell("dispatch", &seen);
        self.model.check_dispatch(&seen)
    }

    /// Everybody goes home: in the end each accepted task has been answered.
    fn settle(&mut self) -> Verdict {
        self.model.dispatching = true;
        self.world.broker.handle_dispatching(true);
        self.advance(THRESHOLD * 3, false)?;
        if !self.model.managers.is_empty() {
            return Err("silent managers are there after three thresholds".to_owned());
        }
        while !self.model.waiting.is_empty() {
            let name = "last";
            let expected = self.model.register(name, Some(u64::MAX), 7, None);
            let mut registration = world::registration(name);
            registration.max_capacity = 7;
            let origin = Origin {
                connection: Some(ConnectionId(u64::MAX)),
                address: None,
            };
            let message = FromManager::Registration(Box::new(registration));
            let (id, now) = (manager_id(name), self.world.now);
            self.world.broker.handle_manager(&id, message, origin, now);
            self.expect("the last manager", expected)?;
            self.dispatch()?;
            self.advance(THRESHOLD, false)?;
        }
        self.model.check_books()?;
        let left = (self.world.broker.queued(), self.world.broker.in_flight());
        match left {
            (0, 0) => Ok(()),
            left => Err(format!("{left:?} are left when everything is answered")),
        }
    }

    /// What has come of an event, in any order, against what must.
    fn expect(&mut self, event: impl fmt::Display, mut expected: Vec<String>) -> Verdict {
        let seen = self.seen()?;
        self.tell(&event, &seen);
        let mut got = Vec::new();
        for seen in seen {
            match seen {
                Seen::Other(text) => got.push(text),
                Seen::Batch { .. } => return Err(format!("tasks leave at '{event}'")),
            }
        }
        expected.sort_unstable();
        got.sort_unstable();
        match expected == got {
            true => Ok(()),
            false => Err(format!("at '{event}' expected {expected:?}, got {got:?}")),
        }
    }

    fn tell(&self, event: impl fmt::Display, seen: &[Seen]) {
        if self.tells {
            println!(
                "{:4} {:?} {event}: {seen:?}",
                self.step, self.world.now.monotonic
            );
        }
    }

    fn seen(&mut self) -> Result<Vec<Seen>, String> {
        let outputs = self.world.outputs();
        if let Some(line) = self
            .events
            .take()
            .iter()
            .find(|line| line.level == Level::ERROR)
        {
            return Err(format!("an error in the log: {}", line.text));
        }
        let mut seen = Vec::new();
        for output in outputs {
            match output {
                // Records stand in the scenarios; here it is enough that they change nothing.
                Output::Report(Report::NodeInfo(_) | Report::Relayed(_)) => {}
                Output::Batch { to, shipment } => {
                    words::check_bodies(&shipment);
                    let ids = shipment.ids();
                    seen.push(Seen::Batch {
                        to: to.to_text(),
                        ids,
                    });
                    self.world.shipments.push((to, shipment));
                }
                other => {
                    let lines = words::of(&other, self.world.now);
                    seen.extend(lines.into_iter().map(Seen::Other));
                }
            }
        }
        self.tamper.apply(&mut seen);
        Ok(seen)
    }
}
