//! The process is killed at any step, and another one continues with the journal.
//!
//! The messages in the transport's memory and the unread messages in the kernel's buffers are lost.
//! The executor compares its tasks with the notice that it receives, as the Python executor does.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::books::Verdict;
use super::doors::{Door, Event};
use super::host::{Beginning, Host};
use super::messages::{self, Notice, Runs};
use super::peers::Handed;
use super::world::{World, ms};
use broker::{
    BlockIdSelector, Broker, ConnectionId, Now, Origin, RandomSelector, Selector, Settings,
    StopReason, Versions, books,
};
use interchange::{Complaints, Interchange};
use journal::{Journal, Memory, Record};
use protocol::{ManagerId, VersionCheck};
use turn::{Arrived, Channel, NotTaken, Outgoing, Transport, Turn, read_ahead_tasks};

/// Maximum number of tasks in transit that are lost when the process is killed.
const ON_THEIR_WAY: usize = 4;

/// The sequence of processes.
pub(crate) struct Life {
    beginning: Beginning,
    is_random: bool,
    /// The memory that outlives a process, in runs that survive.
    memory: Option<Memory>,
    /// The next kill: after this many calls of the transport, with this much downtime.
    pub(crate) kill: Option<(usize, Duration)>,
    restarts: u32,
}

/// The result of a turn.
pub(crate) enum Taken {
    Wholly(Option<StopReason>),
    /// The process was killed in the turn; this is the downtime.
    Killed(Duration),
}

/// The tasks in the journal.
pub(crate) struct Written {
    pub(crate) waiting: BTreeSet<i64>,
    /// Tasks that managers hold.
    pub(crate) held: BTreeSet<i64>,
}

impl Beginning {
    pub(crate) fn turn(&self, interchange: Interchange<Vec<u8>>) -> Turn<Vec<u8>> {
        let read_ahead = read_ahead_tasks(self.bound_bytes);
        Turn::new(interchange, self.bound_bytes, read_ahead)
    }

    fn interchange(&self, is_random: bool, now: Now) -> Interchange<Vec<u8>> {
        let settings = Settings {
            heartbeat_threshold: self.threshold,
            disconnect_grace: self.grace,
            reconnect_patience: self.patience,
            version_check: VersionCheck::Off,
            monitoring: false,
            happenings: true,
            worker_port: 54321,
            placement: self.told,
        };
        let selector: Box<dyn Selector> = match self.seed.filter(|_| is_random) {
            Some(seed) => Box::new(RandomSelector::new(seed)),
            None => Box::new(BlockIdSelector::default()),
        };
        let broker = Broker::new(settings, selector, now);
        Interchange::new(broker, Box::new(Versions::default), None)
    }
}

impl Life {
    pub(crate) fn new(beginning: Beginning, is_random: bool) -> Self {
        Self {
            beginning,
            is_random,
            memory: beginning.survives.then(Memory::on_heap),
            kill: None,
            restarts: 0,
        }
    }

    pub(crate) fn survives(&self) -> bool {
        self.memory.is_some()
    }

    /// Starts the first process.
    pub(crate) fn begin(&mut self, now: Now) -> Interchange<Vec<u8>> {
        let mut interchange = self.beginning.interchange(self.is_random, now);
        if let Some(memory) = &self.memory {
            let (journal, left) = open(memory);
            interchange.take_over(journal, left, None, now);
        }
        interchange
    }

    pub(crate) fn take_turn(
        &mut self,
        turn: &mut Turn<Vec<u8>>,
        world: &mut World,
        now: Now,
    ) -> Taken {
        let Some((calls, down)) = self.kill.take() else {
            return Taken::Wholly(turn.take(world, now));
        };
        let mut mortal = Mortal {
            world,
            calls_left: Cell::new(calls),
        };
        match catch_unwind(AssertUnwindSafe(|| turn.take(&mut mortal, now))) {
            Ok(reason) => {
                self.kill = Some((mortal.calls_left.get(), down));
                Taken::Wholly(reason)
            }
            Err(panic) if panic.is::<Killed>() => Taken::Killed(down),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Host {
    /// Kills the process; another one continues after the downtime.
    pub(crate) fn restart(&mut self, down: Duration) -> Verdict {
        let Some(memory) = self.life.memory.clone() else {
            return Ok(());
        };
        self.life.restarts += 1;
        let (addressed, cut) = self.world.die();
        self.world.run_to(self.world.now + down);
        let now = self.world.time();
        let (journal, left) = open(&memory);
        let world = &mut self.world;
        let books = world.books.get_mut();
        books.tell(now.monotonic, format_args!("another process goes on"));
        let written = Written::of(&left);
        let ended = books.follow(&written, addressed.as_deref(), now.monotonic)?;
        let answers = &world.executor.answers;
        let unsaid = ended.iter().filter(|task| !answers.contains_key(task));
        world.executor.died.extend(unsaid);
        let mut interchange = self.life.beginning.interchange(self.life.is_random, now);
        let taken = interchange.take_over(journal, left, None, now);
        let broker = interchange.broker_mut();
        broker.tell_restart(self.life.restarts, "was killed", down.as_secs_f64());
        books.agree(&broker.snapshot(now).managers)?;
        let turn = self.life.beginning.turn(interchange);
        mem::forget(mem::replace(&mut self.turn, turn));
        world.owed_notice = Some((books.accepted.clone(), written.all()));
        if (taken.queued, taken.in_flight) != (written.waiting.len(), written.held.len()) {
            return Err(format!("{taken:?} are taken over"));
        }
        world.come_back(cut);
        self.begin_anew();
        self.check_books()
    }
}

fn open(memory: &Memory) -> (Journal, Vec<Record>) {
    Journal::open(memory).expect("there is memory")
}

impl Written {
    fn of(records: &[Record]) -> Self {
        let of_kind = |kind: u8| records.iter().filter(move |record| record.kind() == kind);
        let waiting = of_kind(books::TASK).map(|it| messages::task_of_message(it.bytes()));
        let waiting: BTreeSet<i64> = waiting.collect();
        let held = of_kind(books::IN_FLIGHT).map(|it| it.field(0).cast_signed());
        let held = held.filter(|task| !waiting.contains(task)).collect();
        Self { waiting, held }
    }

    fn all(&self) -> BTreeSet<i64> {
        self.waiting.union(&self.held).copied().collect()
    }
}

impl World {
    /// Ends the process. Returns the manager to which a message was begun, and the peers whose
    /// connections were closed.
    fn die(&mut self) -> (Option<String>, Vec<usize>) {
        let addressed = self.addressed.take();
        let addressed = addressed.map(|number| self.network.connections[number].name.clone());
        let cut = self.close_all();
        self.agenda.forget_ours();
        self.stopped_until = Duration::ZERO;
        self.was_stopped = false;
        self.unheard.get_mut().clear();
        self.known.clear();
        for door in [
            &mut self.workers,
            &mut self.tasks,
            &mut self.commands,
            &mut self.monitor,
        ] {
            *door = Door::default();
        }
        self.lose_messages_in_transit();
        self.releasing.clear();
        self.accounts.clear();
        self.account_of.clear();
        self.owes_nothing_since.clear();
        self.owed_max = 0;
        self.is_release_awaited = false;
        self.is_release_readable = false;
        self.has_released = false;
        (addressed, cut)
    }

    /// Drops some of the messages in transit to and from the executor.
    fn lose_messages_in_transit(&mut self) {
        self.tasks_here.clear();
        let gone = self.random_below(ON_THEIR_WAY.min(self.executor.tasks.len()) + 1);
        self.executor.tasks.drain(..gone);
        self.executor.is_fetch_due = false;
        if self.chance(0.5) {
            self.executor.commands.clear();
        }
        let arrived = self.random_below(self.executor.results.len() + 1);
        for (handed, _) in self.executor.results.drain(arrived..) {
            if let Handed::Answer(task) = handed {
                self.executor.answers.remove(&task);
                self.executor.died.insert(task);
            }
        }
        for (_, bytes) in &mut self.executor.results {
            *bytes = 0;
        }
        self.results_in_transit = 0;
        self.are_results_stuck = false;
        self.is_results_socket_readable = false;
    }

    /// Makes the peers reconnect; a few of them do not.
    fn come_back(&mut self, cut: Vec<usize>) {
        const WITHIN: Duration = ms(400);
        for peer in cut {
            if self.chance(0.9) {
                let at = self.now + self.time_below(WITHIN);
                self.agenda.add(at, Event::Reconnect(peer));
            }
        }
        self.fetch_tasks_soon();
        self.read_results_soon();
    }

    /// Checks and records a message that is sent to the executor.
    pub(crate) fn note_handed(&mut self, frame: &[u8]) -> Handed {
        let notice = messages::notice_of(frame);
        if let Some((accepted, live)) = self.owed_notice.take() {
            let is_as_owed = matches!(&notice, Some(Notice::Restarted { accepted: a, live: l })
                if *a == runs_of(&accepted) && *l == runs_of(&live));
            if !is_as_owed {
                self.fail(format!(
                    "{notice:?} leaves, accepted are {accepted:?}, live {live:?}"
                ));
            }
        }
        if let Some(notice) = notice {
            return Handed::Notice(notice);
        }
        let (task, is_failure) = messages::task_of_result(frame);
        let answers = self.executor.answers.entry(task).or_default();
        *answers += 1;
        if *answers > 1 || self.executor.died.contains(&task) {
            self.fail(format!("task {task} is answered twice"));
        }
        if let Err(failure) = self.books.get_mut().pass_result(task, is_failure) {
            self.fail(failure);
        }
        Handed::Answer(task)
    }

    /// Processes a notice that the executor reads.
    pub(crate) fn heed(&mut self, notice: &Notice) {
        match notice {
            Notice::Accepted(runs) => {
                let accepted = &self.books.get_mut().accepted;
                let mut told = runs.iter().flat_map(|(first, last)| *first..=*last);
                if let Some(task) = told.find(|task| !accepted.contains(task)) {
                    self.fail(format!("task {task} is said to be accepted"));
                }
                let kept = &mut self.executor.kept;
                kept.retain(|task, _| !is_in(*task, runs));
            }
            Notice::Restarted { accepted, live } => self.compare(accepted, live),
        }
    }

    /// Compares the executor's tasks with a notice: tasks in transit are sent again, and accepted
    /// tasks that are no longer live have lost their result.
    fn compare(&mut self, accepted: &Runs, live: &Runs) {
        let submitted = self.books.get_mut().tasks.submitted();
        for task in 1..=submitted {
            if self.is_answered(task) || is_in(task, live) {
                continue;
            }
            let executor = &mut self.executor;
            if !is_in(task, accepted) {
                match executor.kept.get(&task).cloned() {
                    Some(message) => executor.tasks.push_back((task, message)),
                    None => self.fail(format!("task {task} is to be sent again, and not kept")),
                }
            } else if executor.died.contains(&task) {
                executor.answers.insert(task, 1);
            } else {
                self.fail(format!("task {task} is said to have lost its result"));
            }
        }
        self.fetch_tasks_soon();
    }
}

fn is_in(task: i64, runs: &Runs) -> bool {
    let mut runs = runs.iter();
    runs.any(|(first, last)| (*first..=*last).contains(&task))
}

fn runs_of(tasks: &BTreeSet<i64>) -> Runs {
    let mut runs = Runs::new();
    for task in tasks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *task => *last = *task,
            _ => runs.push((*task, *task)),
        }
    }
    runs
}

/// The panic that ends a turn in the middle.
struct Killed;

/// The transport of a process that is killed after a number of calls.
struct Mortal<'a> {
    world: &'a mut World,
    calls_left: Cell<usize>,
}

impl Mortal<'_> {
    fn call(&self) {
        match self.calls_left.get() {
            0 => resume_unwind(Box::new(Killed)),
            left => self.calls_left.set(left - 1),
        }
    }

    fn world(&mut self) -> &mut World {
        self.call();
        self.world
    }
}

impl Transport for Mortal<'_> {
    type Frame = Vec<u8>;

    fn may_have_more(&mut self, channel: Channel) -> bool {
        self.world().may_have_more(channel)
    }

    fn closed_connections(&mut self, complaints: &Complaints, now: Now) -> Vec<ConnectionId> {
        self.world().closed_connections(complaints, now)
    }

    fn receive_command(&mut self) -> Option<Vec<u8>> {
        self.world().receive_command()
    }

    fn reply(&mut self, bytes: Vec<u8>) {
        self.world().reply(bytes);
    }

    fn receive_task(&mut self) -> Option<(Vec<u8>, bool)> {
        self.world().receive_task()
    }

    fn receive_from_manager(&mut self) -> Option<Arrived<Vec<u8>>> {
        self.world().receive_from_manager()
    }

    fn known_sender(&self, via: Option<i32>, identity: &[u8]) -> Option<(ManagerId, Origin)> {
        self.call();
        self.world.known_sender(via, identity)
    }

    fn sender(&mut self, via: Option<i32>, identity: &[u8]) -> (ManagerId, Origin) {
        self.world().sender(via, identity)
    }

    fn address(&mut self, to: &ManagerId) -> Result<(), NotTaken> {
        self.world().address(to)
    }

    fn send(&mut self, to: &ManagerId, what: Outgoing) {
        self.world().send(to, what);
    }

    fn frame_of(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn send_result(&mut self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        self.world().send_result(frame)
    }

    fn results_in_transit(&self) -> usize {
        self.call();
        self.world.results_in_transit()
    }

    fn await_release(&mut self) {
        self.world().await_release();
    }

    fn has_released(&mut self) -> bool {
        self.world().has_released()
    }

    fn report(&mut self, record: Vec<u8>) {
        self.world().report(record);
    }

    fn tell_event(&mut self, line: &[u8]) {
        self.world().tell_event(line);
    }

    fn ask_selector(&mut self, question: &[u8]) {
        self.world().ask_selector(question);
    }
}
