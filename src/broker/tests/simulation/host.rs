//! The broker's host in the simulation: it reads messages, lets the broker decide, sends and waits,
//! and compares each effect with the model.

#[path = "host/sending.rs"]
mod sending;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use broker::{ConnectionId, Output};
use protocol::{BlockId, Command, FromManager, ManagerId, Report, Task, TaskId, ToManager};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tracing::Level;

use super::events::Events;
use super::model::{ANSWER_WITHIN, Account, Choice, Model, Seen, Verdict, weight_of};
use super::network::{Network, Unread};
use super::plot::Saying;
use super::words;
use super::world::{self, Body, World, manager_id};

/// Most messages that are read from managers in a turn: few, so that a backlog lasts.
const BUDGET_MESSAGES: usize = 6;

/// The pause before a user's selector is asked again after an answer that placed nothing.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Host {
    pub world: World,
    pub model: Model,
    pub tasks: VecDeque<(Task<Body>, i64, bool)>,
    pub commands: VecDeque<Command>,
    /// Questions to the user's own selector.
    pub questions: VecDeque<(u64, Vec<ManagerId>)>,
    pub results_stuck: bool,
    outputs: VecDeque<Output<Body>>,
    /// Messages that a manager's connection does not accept now.
    outboxes: BTreeMap<String, VecDeque<ToManager>>,
    /// Managers whose connection accepts no batch.
    clogged: BTreeSet<String>,
    /// Tasks that a connection accepted, each with the number of times its id was accepted until
    /// then.
    sent: BTreeSet<(i64, u32)>,
    /// Chooses how large batches may be, and what is sent first.
    random: SmallRng,
    events: Events,
    turns_with_deadline_due: u32,
    tells: bool,
    pub step: usize,
}

impl Host {
    pub(crate) fn new(seed: u64, world: World, model: Model, events: Events, tells: bool) -> Self {
        Self {
            world,
            model,
            tasks: VecDeque::new(),
            commands: VecDeque::new(),
            questions: VecDeque::new(),
            results_stuck: false,
            outputs: VecDeque::new(),
            outboxes: BTreeMap::new(),
            clogged: BTreeSet::new(),
            sent: BTreeSet::new(),
            random: SmallRng::seed_from_u64(!seed),
            events,
            turns_with_deadline_due: 0,
            tells,
            step: 0,
        }
    }

    /// Begins a turn in the model, before any event of the turn.
    fn begin_turn(&mut self) {
        let due = self.due();
        self.model.begin_turn(self.world.now.monotonic, due);
    }

    /// Returns the first deadline of a manager.
    pub(crate) fn due(&mut self) -> Option<Duration> {
        // While dispatching is off, no selector's answer is awaited; only managers' deadlines are
        // left.
        let broker = &mut self.world.broker;
        broker.handle_dispatching(false);
        let due = broker.next_deadline();
        broker.handle_dispatching(self.model.dispatching);
        due
    }

    /// Plays one turn of the loop. `skips_workers`: poll did not report anything to read.
    pub(crate) fn turn(&mut self, network: &mut Network, skips_workers: bool) -> Verdict {
        self.model.set_now(self.now());
        self.read_events(network)?;
        while let Some(command) = self.commands.pop_front() {
            self.command(command)?;
            self.send_words(network)?;
        }
        self.read_tasks()?;
        let now = self.world.now;
        let due = self.world.broker.next_deadline();
        let is_due = due.is_some_and(|due| due <= now.monotonic);
        if !skips_workers || is_due || self.world.broker.is_listening() {
            self.read_workers(network)?;
        }
        self.let_time_pass(network)?;
        self.model.dispatching = !self.results_stuck;
        self.world.broker.handle_dispatching(!self.results_stuck);
        self.let_leave(network)?;
        self.check_deadline()?;
        self.check_nothing_could_move()
    }

    fn read_events(&mut self, network: &mut Network) -> Verdict {
        for connection in network.read_events() {
            self.begin_turn();
            self.model.disconnect(connection);
            let now = self.world.now;
            self.world
                .broker
                .handle_disconnected(ConnectionId(connection), now);
            self.expect(format_args!("connection {connection} closed"), Vec::new())?;
        }
        Ok(())
    }

    fn read_tasks(&mut self) -> Verdict {
        while let Some((task, priority, is_readable)) = self.tasks.pop_front() {
            let TaskId(id) = task.id;
            let is_alone = task.foreign_name.is_some();
            let expected = self.model.task(id, priority, is_readable, is_alone);
            let told =
                format!("task {id}, priority {priority}, readable {is_readable}, alone {is_alone}");
            match is_readable {
                true => {
                    let (weight, now) = (weight_of(id), self.world.now);
                    self.world.broker.handle_task(task, weight, now);
                }
                false => {
                    let broker = &mut self.world.broker;
                    broker.handle_unreadable_task(task.id, "why".to_owned(), self.world.now);
                }
            }
            self.expect(told, expected)?;
        }
        Ok(())
    }

    fn read_workers(&mut self, network: &mut Network) -> Verdict {
        let count = network.unread.len().min(BUDGET_MESSAGES);
        let inbox: Vec<Unread> = network.unread.drain(..count).collect();
        if count < BUDGET_MESSAGES {
            self.begin_turn();
            let heard_until = network.heard_until();
            self.model.workers_empty(heard_until);
            let now = self.world.now;
            self.world.broker.handle_workers_empty(heard_until, now);
            let told = format!("all is read that had come by {heard_until:?}");
            self.expect(told, Vec::new())?;
        }
        self.read_events(network)?;
        for unread in inbox {
            self.hear(network, unread)?;
        }
        Ok(())
    }

    fn hear(&mut self, network: &Network, unread: Unread) -> Verdict {
        self.begin_turn();
        let origin = network.origin(&unread);
        let connection = origin.connection.map(|ConnectionId(number)| number);
        let Unread {
            from: name, saying, ..
        } = unread;
        let told = format!("{name} by {connection:?}: {saying:?}");
        let (message, expected) = match saying {
            Saying::Probe => {
                let expected = vec![format!("{name} < probe answer")];
                (FromManager::ConnectionProbe, expected)
            }
            Saying::Register(account) => self.registration(&name, connection, account),
            Saying::Heartbeat => {
                let expected = self.model.heartbeat(&name, connection);
                (FromManager::Heartbeat, expected)
            }
            Saying::Drain => (FromManager::Drain, self.model.drain(&name, connection)),
            Saying::Record => {
                let message = Body::Record(0);
                let expected = self.model.record(&name, connection);
                (FromManager::Monitoring { message }, expected)
            }
            Saying::Result(task) => {
                let expected = self.model.result(&name, connection, task, false);
                let manager = name.clone();
                let frame = Body::Result { manager, task };
                let task = TaskId(task);
                (
                    FromManager::Result {
                        task,
                        is_exception: false,
                        frame,
                    },
                    expected,
                )
            }
            Saying::Spoilt(task) => {
                let expected = self.model.result(&name, connection, task, true);
                let (task, reason) = (TaskId(task), "why".to_owned());
                (FromManager::SpoiltResult { task, reason }, expected)
            }
        };
        let (id, now) = (manager_id(&name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
        self.expect(told, expected)
    }

    fn registration(
        &mut self,
        name: &str,
        connection: Option<u64>,
        mut account: Account,
    ) -> (FromManager<Body>, Vec<String>) {
        // A process does not shrink: its capacity is never less than the tasks that it holds.
        if let Some(known) = self.model.managers.get(name) {
            account.capacity = account.capacity.max(known.tasks.len());
        }
        let mut registration = world::registration(name);
        registration.block = BlockId::Text(account.block.as_str().into());
        registration.max_capacity = account.capacity;
        registration.worker_count = account.workers;
        // By the manager's own clock.
        registration.start_time_s = account.started_s;
        if let Some(drain_in) = account.drain_in {
            registration.drain_time_s = account.started_s + drain_in.as_secs_f64();
        }
        let expected = self.model.register(name, connection, account);
        (FromManager::Registration(Box::new(registration)), expected)
    }

    fn let_time_pass(&mut self, network: &Network) -> Verdict {
        self.begin_turn();
        let now = self.world.now.monotonic;
        let deadlines = self.model.deadlines();
        let expected = self.model.time();
        self.world.broker.handle_time(self.world.now);
        let lost: Vec<String> = expected
            .iter()
            .filter_map(|text| text.strip_prefix("forgotten ").map(str::to_owned))
            // A drained manager is told to exit, a lost one is not.
            .filter(|name| !expected.contains(&format!("{name} < shutdown")))
            .collect();
        let answered = expected.clone();
        self.expect(format_args!("time {now:?}"), expected)?;
        self.check_nothing_unread_is_lost(network, &answered)?;
        for name in lost.iter().filter(|_| !self.model.backlog_is_over()) {
            if let Some(since) = network.oldest_of(name)
                && since < deadlines[name]
            {
                return Err(format!(
                    "{name} is given up, its word of {since:?} is unread"
                ));
            }
        }
        Ok(())
    }

    /// Checks that no task is given up while its result can be read.
    fn check_nothing_unread_is_lost(&self, network: &Network, answered: &[String]) -> Verdict {
        if self.model.backlog_is_over() {
            return Ok(());
        }
        for unread in &network.unread {
            let (name, Saying::Result(task)) = (&unread.from, &unread.saying) else {
                continue;
            };
            let text = format!("lost {task} with {name} on host-{name}");
            if answered.contains(&text) && self.model.managers.contains_key(name) {
                return Err(format!("{text}, while its result is unread"));
            }
        }
        Ok(())
    }

    fn check_deadline(&mut self) -> Verdict {
        let now = self.now();
        let deadline = self.world.broker.next_deadline();
        let is_due = deadline.is_some_and(|at| at <= now);
        self.turns_with_deadline_due = if is_due {
            self.turns_with_deadline_due + 1
        } else {
            0
        };
        match (deadline, self.model.due()) {
            _ if self.turns_with_deadline_due > 3 => {
                Err("a deadline that does not go away".to_owned())
            }
            (at, Some(due)) if at.is_none_or(|at| at > due.max(now)) => Err(format!(
                "the next deadline is {at:?}, someone is due at {due:?}"
            )),
            _ if !is_due && self.model.is_listening() != self.world.broker.is_listening() => {
                Err("somebody who is overdue is not listened to".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks that the loop does not wait while something could be dispatched.
    fn check_nothing_could_move(&self) -> Verdict {
        let broker = &self.world.broker;
        if broker.can_dispatch() {
            return Err("a batch could be handed out, and was not".to_owned());
        }
        // A wait for the selector ends, whether it answers or not.
        let wait = match self.model.is_asked() {
            true => ANSWER_WITHIN,
            false => PAUSE,
        };
        let ends = self.now() + wait;
        let is_asked = self.model.choice == Choice::Asked
            && broker.next_deadline().is_some_and(|at| at <= ends);
        match self.model.could_dispatch() && !is_asked {
            true => Err("tasks wait although there is room".to_owned()),
            false => Ok(()),
        }
    }

    fn command(&mut self, command: Command) -> Verdict {
        let told = format!("{command:?}");
        let model = &mut self.model;
        let list = |texts: Vec<String>| texts.join(", ");
        let expected = match &command {
            Command::Outstanding => vec![format!("reply {}", model.live())],
            Command::Workers => vec![format!("reply {}", model.workers())],
            Command::WorkerBinds => vec!["reply 54321".to_owned()],
            Command::Managers => model.statuses(),
            Command::ConnectedBlocks => {
                let blocks = model.history.iter().map(|block| format!("{block:?}"));
                vec![format!("reply [{}]", list(blocks.collect()))]
            }
            Command::ManagersPackages => {
                vec![format!("reply packages [{}]", list(model.names_in_order()))]
            }
            Command::Hold(name) => {
                model.hold(&name.to_text());
                vec!["reply none".to_owned()]
            }
            Command::WorkerPorts | Command::Unknown(_) => vec!["reply none".to_owned()],
        };
        let reply = self.world.broker.handle_command(command, self.world.now);
        let mut seen = self.seen()?;
        seen.extend(words::of_reply(&reply).into_iter().map(Seen::Other));
        self.tell(&told, &seen);
        let expected: Vec<Seen> = expected.into_iter().map(Seen::Other).collect();
        match seen == expected {
            true => Ok(()),
            false => Err(format!(
                "{told} is answered {seen:?}, and {expected:?} is so"
            )),
        }
    }

    /// Compares the effects of an event, in any order, with the expected ones.
    pub(crate) fn expect(
        &mut self,
        event: impl fmt::Display,
        mut expected: Vec<String>,
    ) -> Verdict {
        let seen = self.seen()?;
        self.tell(&event, &seen);
        let mut got = Vec::new();
        for seen in seen {
            match seen {
                Seen::Other(text) => got.push(text),
                other => return Err(format!("{other:?} at '{event}'")),
            }
        }
        expected.sort_unstable();
        got.sort_unstable();
        if expected != got {
            return Err(format!("at '{event}' expected {expected:?}, got {got:?}"));
        }
        let waiting = self.model.waiting.iter();
        let weight: usize = waiting.map(|(_, id)| weight_of(*id)).sum();
        let broker = &self.world.broker;
        match broker.queued_weight() {
            seen if seen == weight => Ok(()),
            // At the end the queue is emptied.
            0 if broker.queued() == 0 => Ok(()),
            seen => Err(format!(
                "at '{event}' the queue weighs {weight}, not {seen}"
            )),
        }
    }

    #[expect(clippy::print_stdout, reason = "one seed is played to be read")]
    pub(crate) fn tell(&self, event: impl fmt::Display, seen: &[Seen]) {
        if self.tells {
            let now = self.world.now.monotonic;
            println!("{:4} {now:?} {event}: {seen:?}", self.step);
        }
    }

    /// Returns the broker's effects for the comparison with the model, and keeps them to be carried
    /// out.
    pub(crate) fn seen(&mut self) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        for output in self.world.outputs() {
            match &output {
                // Scenarios test the records; here it is enough that they change nothing.
                Output::Report(Report::NodeInfo(_) | Report::Relayed(_)) => {}
                Output::Rank(question) => {
                    let names = question.candidates.iter().map(ManagerId::to_text);
                    let among = names.collect();
                    let number = question.number;
                    seen.push(Seen::Rank { number, among });
                    let asked = (number, question.candidates.clone());
                    self.questions.push_back(asked);
                }
                other => seen.push(Seen::Other(words::of(other, self.world.now))),
            }
            self.outputs.push_back(output);
        }
        let lines = self.events.take();
        match lines.iter().find(|line| line.level == Level::ERROR) {
            Some(line) => Err(format!("an error in the log: {}", line.text)),
            None => Ok(seen),
        }
    }

    /// Checks that no task is left unanswered.
    pub(crate) fn check_nothing_is_left(&self) -> Verdict {
        let broker = &self.world.broker;
        let told = broker.unfinished();
        let late = match self.model.late_results {
            0 => "in flight 0 []".to_owned(),
            number => format!("dropped because they came too late: {number} results"),
        };
        match (broker.queued(), broker.in_flight()) {
            (0, 0) if told.contains(&late) => Ok(()),
            (0, 0) => Err(format!("'{told}', and {late}")),
            left => Err(format!("{left:?} are left when everything is answered")),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.world.now.monotonic
    }
}
