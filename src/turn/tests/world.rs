//! A transport in memory with a virtual clock, and all peers around it. It wakes the loop no more
//! often than epoll and libzmq do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::books::Books;
use super::doors::{Agenda, Door, Event};
use super::host::TASKS_READ_AHEAD;
use super::messages;
use super::network::{Content, Incoming, Network, Parcel, Sizes, Told};
use super::peers::{Executor, Peer, Reading};
use broker::{ConnectionId, Now, Origin};
use interchange::Complaints;
use protocol::ManagerId;
use turn::{Arrived, Channel, NotTaken, Outgoing, Transport};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// After a stopped process continues, the transport's thread continues within this time.
const THREAD_GOES_ON_WITHIN: Duration = ms(150);

pub(crate) struct World {
    pub(crate) now: Duration,
    random: Option<SmallRng>,
    pub(crate) agenda: Agenda,
    /// The transport's thread does nothing before this time.
    pub(crate) stopped_until: Duration,
    pub(crate) was_stopped: bool,
    pub(crate) network: Network,
    pub(crate) peers: Vec<Peer>,
    pub(crate) executor: Executor,
    pub(crate) books: RefCell<Books>,
    /// Messages that the turn has read but not processed.
    pub(crate) unheard: RefCell<VecDeque<Incoming>>,
    /// Reported connections by descriptor: the connection, and the manager that has sent by it.
    pub(crate) known: Vec<Option<(usize, Option<String>)>>,
    pub(crate) workers: Door,
    pub(crate) tasks: Door,
    pub(crate) commands: Door,
    pub(crate) monitor: Door,
    /// Maximum number of tasks that the transport reads ahead.
    pub(crate) tasks_read_ahead: usize,
    pub(crate) tasks_here: VecDeque<(i64, Vec<u8>)>,
    pub(crate) are_results_stuck: bool,
    pub(crate) is_results_socket_readable: bool,
    pub(crate) results_in_transit: usize,
    /// How many bytes each byte of a result counts for; simulates large results without their
    /// memory.
    pub(crate) result_weight: usize,
    pub(crate) addressed: Option<usize>,
    /// Messages that were written or dropped, and that the transport releases soon.
    pub(crate) releasing: VecDeque<Parcel>,
    /// Bytes of each manager's batches in the transport, independent of the turn's own count.
    pub(crate) accounts: Vec<usize>,
    /// The maximum of the sum of `accounts` in this turn.
    pub(crate) owed_max: usize,
    pub(crate) account_of: BTreeMap<String, usize>,
    pub(crate) owes_nothing_since: BTreeMap<String, Duration>,
    pub(crate) is_release_awaited: bool,
    pub(crate) is_release_readable: bool,
    pub(crate) has_released: bool,
    pub(crate) heartbeat_period: Option<Duration>,
    pub(crate) task_takes: Duration,
    pub(crate) thread_takes: Duration,
    pub(crate) turn_takes: Duration,
    pub(crate) result_size: usize,
    /// Probability of events in the middle of a turn.
    pub(crate) sneaks: f64,
    /// Number of messages and events that the turn has handled.
    pub(crate) moved: u64,
    pub(crate) task_bytes_read: usize,
    /// The first broken guarantee.
    pub(crate) failure: RefCell<Option<String>>,
    /// The notice that this process owes the executor first: all tasks that were accepted, and all
    /// that it still has.
    pub(crate) owed_notice: Option<(BTreeSet<i64>, BTreeSet<i64>)>,
}

impl World {
    /// Creates a world. Without a seed everything happens at once and in order.
    pub(crate) fn new(seed: Option<u64>, sizes: Sizes, books: Books) -> Self {
        Self {
            now: Duration::from_secs(100),
            random: seed.map(SmallRng::seed_from_u64),
            agenda: Agenda::default(),
            stopped_until: Duration::ZERO,
            was_stopped: false,
            network: Network::new(sizes),
            peers: Vec::new(),
            executor: Executor {
                tasks: VecDeque::new(),
                is_fetch_due: false,
                reads: Reading::Fast,
                results: VecDeque::new(),
                results_max: 1000,
                is_read_due: false,
                answers: BTreeMap::new(),
                commands: VecDeque::new(),
                kept: BTreeMap::new(),
                died: BTreeSet::new(),
            },
            books: RefCell::new(books),
            unheard: RefCell::default(),
            known: Vec::new(),
            workers: Door::default(),
            tasks: Door::default(),
            commands: Door::default(),
            monitor: Door::default(),
            tasks_read_ahead: TASKS_READ_AHEAD,
            tasks_here: VecDeque::new(),
            are_results_stuck: false,
            is_results_socket_readable: false,
            results_in_transit: 0,
            result_weight: 1,
            addressed: None,
            releasing: VecDeque::new(),
            accounts: Vec::new(),
            owed_max: 0,
            account_of: BTreeMap::new(),
            owes_nothing_since: BTreeMap::new(),
            is_release_awaited: false,
            is_release_readable: false,
            has_released: false,
            heartbeat_period: None,
            task_takes: Duration::ZERO,
            thread_takes: Duration::ZERO,
            turn_takes: Duration::from_micros(50),
            result_size: 20,
            sneaks: 0.0,
            moved: 0,
            task_bytes_read: 0,
            failure: RefCell::default(),
            owed_notice: None,
        }
    }

    pub(crate) fn time(&self) -> Now {
        Now {
            monotonic: self.now,
            wall_s: 1_790_000_000.0 + self.now.as_secs_f64(),
        }
    }

    pub(crate) fn random_below(&mut self, end: usize) -> usize {
        match &mut self.random {
            Some(random) if end > 0 => random.random_range(0..end),
            _ => 0,
        }
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        let random = self.random.as_mut();
        random.is_some_and(|random| random.random_bool(probability))
    }

    pub(crate) fn time_below(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.random_below(end.as_micros() as usize) as u64)
    }

    /// Returns the size of a result, usually a small one.
    pub(crate) fn result_size(&mut self) -> usize {
        match self.chance(0.1) {
            true => self.random_below(self.result_size * 100),
            false => self.random_below(self.result_size),
        }
    }

    /// Runs all events up to this time.
    pub(crate) fn run_to(&mut self, time: Duration) {
        while let Some((at, event)) = self.agenda.pop_until(time) {
            self.now = self.now.max(at);
            if event.is_ours() && self.now < self.stopped_until {
                self.agenda.add(self.stopped_until, event);
            } else {
                self.happen(event);
            }
        }
        self.now = self.now.max(time);
    }

    /// Stops the process for this long; the transport's thread continues a moment later.
    pub(crate) fn stop(&mut self, time: Duration) {
        let until = self.now + time;
        self.was_stopped = true;
        self.stopped_until = until + self.time_below(THREAD_GOES_ON_WITHIN);
        self.run_to(until);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fetch(connection) => self.fetch(connection),
            Event::Write(connection) => self.write(connection),
            Event::Close(connection) => self.close(connection),
            Event::Release => self.release(),
            Event::ReleaseResult(bytes) => {
                self.results_in_transit -= bytes * self.result_weight;
                self.note_release();
            }
            Event::FetchTasks => self.fetch_tasks(),
            Event::Tell => self.tell_what_is_late(),
            Event::Read(connection) => self.read(connection),
            Event::Beat(peer) => self.beat(peer),
            Event::Answer(peer) => self.answer(peer),
            Event::ReadResults => self.read_results(),
            Event::Reconnect(peer) => self.reconnect(peer),
        }
    }

    /// Runs some of the next events of other parts in the middle of a turn.
    fn sneak(&mut self) {
        let is_stopped = self.now < self.stopped_until;
        if is_stopped || self.sneaks == 0.0 || !self.chance(self.sneaks) {
            return;
        }
        for event in self.agenda.take_until(self.now + self.turn_takes) {
            self.happen(event);
        }
    }

    /// Releases the oldest message; those of one connection are released in their order.
    fn release(&mut self) {
        let Some(Parcel {
            account: Some(account),
            bytes,
            receipt,
            ..
        }) = self.releasing.pop_front()
        else {
            return;
        };
        drop(receipt);
        self.accounts[account] -= bytes;
        if self.accounts[account] == 0 {
            let of_account = self.account_of.iter().find(|(_, known)| **known == account);
            if let Some((name, _)) = of_account {
                self.owes_nothing_since.insert(name.clone(), self.now);
            }
        }
        self.note_release();
    }

    fn note_release(&mut self) {
        if std::mem::take(&mut self.is_release_awaited) {
            self.is_release_readable = true;
        }
    }

    /// Whether one of the sources that the loop waits for is ready.
    pub(crate) fn is_ready(&self, takes_tasks: bool, waits_for_results: bool) -> bool {
        self.workers.is_readable()
            || self.commands.is_readable()
            || self.monitor.is_readable()
            || takes_tasks && self.tasks.is_readable()
            || waits_for_results && self.is_results_socket_readable
            || self.is_release_readable
    }

    pub(crate) fn is_release_awaited(&self) -> bool {
        self.is_release_awaited
    }

    /// Wakes the loop, and marks each channel that is ready.
    pub(crate) fn wake(&mut self, takes_tasks: bool) {
        self.workers.wake();
        self.commands.wake();
        self.monitor.wake();
        if takes_tasks {
            self.tasks.wake();
        }
        if std::mem::take(&mut self.is_release_readable) {
            self.has_released = true;
            // The turn learns of this by the wake-up, without a periodic check.
            for since in self.owes_nothing_since.values_mut() {
                *since = Duration::ZERO;
            }
        }
    }

    /// Returns the bytes of this manager's batches in the transport.
    pub(crate) fn owed_to(&self, name: &str) -> usize {
        let account = self.account_of.get(name);
        account.map_or(0, |account| self.accounts[*account])
    }

    pub(crate) fn command(&mut self, command: Vec<u8>) {
        self.executor.commands.push_back(command);
        self.commands.note_arrival();
    }

    pub(crate) fn fail(&self, what: String) {
        self.failure.borrow_mut().get_or_insert(what);
    }

    /// Notes that the turn processes the oldest message that it has read.
    fn hear(&self, origin: Origin) {
        if let Some(incoming) = self.unheard.borrow_mut().pop_front() {
            let told = self.books.borrow_mut().hear(&incoming, origin, self.now);
            if let Err(failure) = told {
                self.fail(failure);
            }
        }
    }
}

fn text(identity: &[u8]) -> String {
    String::from_utf8(identity.to_vec()).expect("names here are texts")
}

fn origin(connection: usize) -> Origin {
    Origin {
        connection: Some(ConnectionId(connection as u64)),
        address: None,
    }
}

impl Transport for World {
    type Frame = Vec<u8>;

    fn may_have_more(&mut self, channel: Channel) -> bool {
        match channel {
            Channel::Connections => self.monitor.may_have_more(self.network.told.is_empty()),
            Channel::Commands => {
                self.sneak();
                let is_empty = self.executor.commands.is_empty();
                self.commands.may_have_more(is_empty)
            }
            Channel::Tasks => self.tasks.may_have_more(self.tasks_here.is_empty()),
            Channel::Managers => {
                self.hear_news();
                self.workers.may_have_more(self.network.inbox.is_empty())
            }
        }
    }

    fn closed_connections(&mut self, _: &Complaints, _: Now) -> Vec<ConnectionId> {
        self.sneak();
        let mut closed = Vec::new();
        while let Some(told) = self.network.told.pop_front() {
            self.moved += 1;
            match told {
                Told::Opened {
                    descriptor,
                    connection,
                } => {
                    let place = descriptor as usize;
                    self.known.resize(self.known.len().max(place + 1), None);
                    self.known[place] = Some((connection, None));
                }
                Told::Closed { descriptor } => {
                    let known = self.known.get_mut(descriptor as usize);
                    if let Some((connection, _)) = known.and_then(Option::take) {
                        self.books.borrow_mut().closed(connection, self.now);
                        closed.push(ConnectionId(connection as u64));
                    }
                }
            }
        }
        self.monitor.note_look(true);
        closed
    }

    fn receive_command(&mut self) -> Option<Vec<u8>> {
        let command = self.executor.commands.pop_front();
        let Some(command) = command else {
            self.commands.note_look(true);
            return None;
        };
        self.commands.note_received();
        self.moved += 1;
        self.books.borrow_mut().command(&command);
        Some(command)
    }

    fn reply(&mut self, bytes: Vec<u8>) {
        self.commands.note_sending();
        self.moved += 1;
        let failure = self.books.borrow_mut().reply(&bytes);
        if let Err(failure) = failure {
            self.fail(failure);
        }
    }

    fn receive_task(&mut self) -> Option<(Vec<u8>, bool)> {
        self.sneak();
        let Some((task, bytes)) = self.tasks_here.pop_front() else {
            self.tasks.note_look(true);
            return None;
        };
        self.tasks.note_received();
        self.fetch_tasks_soon();
        self.moved += 1;
        self.task_bytes_read += bytes.len();
        self.books.borrow_mut().take_task(task, self.now);
        Some((bytes, true))
    }

    fn receive_from_manager(&mut self) -> Option<Arrived<Vec<u8>>> {
        self.sneak();
        self.hear_news();
        let Some(incoming) = self.network.inbox.pop_front() else {
            self.workers.note_look(true);
            return None;
        };
        self.workers.note_received();
        self.moved += 1;
        let arrived = Arrived {
            identity: incoming.name.clone().into_bytes(),
            via: Some(incoming.descriptor),
            first: incoming.saying.encode(&incoming.name),
            more: Vec::new(),
        };
        self.unheard.get_mut().push_back(incoming);
        Some(arrived)
    }

    fn known_sender(&self, via: Option<i32>, identity: &[u8]) -> Option<(ManagerId, Origin)> {
        let (connection, spoke) = self.known.get(via? as usize)?.as_ref()?;
        let is_known = spoke
            .as_ref()
            .is_some_and(|name| name.as_bytes() == identity);
        is_known.then(|| {
            self.hear(origin(*connection));
            (ManagerId::new(identity), origin(*connection))
        })
    }

    fn sender(&mut self, via: Option<i32>, identity: &[u8]) -> (ManagerId, Origin) {
        if !self.network.told.is_empty() {
            self.fail(format!(
                "{} is asked for, and {:?} is not known",
                text(identity),
                self.network.told
            ));
        }
        let known = via.and_then(|via| self.known.get_mut(via as usize)?.as_mut());
        let origin = known.map_or(Origin::default(), |(connection, spoke)| {
            *spoke = Some(text(identity));
            origin(*connection)
        });
        self.hear(origin);
        (ManagerId::new(identity), origin)
    }

    fn address(&mut self, to: &ManagerId) -> Result<(), NotTaken> {
        self.sneak();
        self.hear_news();
        self.workers.note_sending();
        let name = to.to_text();
        if self.addressed.is_some() {
            self.fail(format!(
                "{name} is addressed in the middle of another message"
            ));
        }
        let route = self.route_with_room(&name);
        if route.is_some() {
            self.books.get_mut().reachable(&name, self.now);
        }
        match route {
            Some(Ok(connection)) => {
                self.addressed = Some(connection);
                Ok(())
            }
            Some(Err(_)) => Err(NotTaken::Full),
            None => {
                self.books.borrow_mut().unreachable(&name, self.now);
                Err(NotTaken::NoConnection)
            }
        }
    }

    fn send(&mut self, to: &ManagerId, what: Outgoing) {
        let (name, now) = (to.to_text(), self.now);
        self.moved += 1;
        self.workers.note_sending();
        let Some(connection) = self.addressed.take() else {
            return self.fail(format!("{name} is sent what was not begun"));
        };
        if self.network.connections[connection].name != name {
            self.fail(format!("what was begun for another one is sent to {name}"));
        }
        let parcel = match what {
            Outgoing::Word(word) => {
                self.books.get_mut().send_word(&name, word);
                Parcel {
                    content: Content::Word(word),
                    bytes: word.encode().len(),
                    account: None,
                    receipt: None,
                }
            }
            Outgoing::Batch(bytes, receipt) => {
                let tasks = messages::tasks_of(&bytes);
                if let Err(failure) = self.books.get_mut().send_batch(&name, &tasks, now) {
                    self.fail(failure);
                }
                let accounts = &mut self.accounts;
                let account = *self.account_of.entry(name).or_insert_with(|| {
                    accounts.push(0);
                    accounts.len() - 1
                });
                self.accounts[account] += bytes.len();
                self.owed_max = self.owed_max.max(self.accounts.iter().sum());
                Parcel {
                    content: Content::Batch(tasks),
                    bytes: bytes.len(),
                    account: Some(account),
                    receipt: Some(receipt),
                }
            }
        };
        self.put(connection, parcel);
    }

    fn frame_of(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn send_result(&mut self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        const LARGE_RESULT_BYTES: usize = 512;
        self.sneak();
        self.is_results_socket_readable = false;
        if self.are_results_stuck || self.executor.results.len() >= self.executor.results_max {
            self.are_results_stuck = true;
            return Err(frame);
        }
        self.moved += 1;
        let handed = self.note_handed(&frame);
        let large = match frame.len() < LARGE_RESULT_BYTES {
            true => 0,
            false => frame.len(),
        };
        self.results_in_transit += large * self.result_weight;
        self.executor.results.push_back((handed, large));
        self.read_results_soon();
        Ok(())
    }

    fn results_in_transit(&self) -> usize {
        self.results_in_transit
    }

    fn await_release(&mut self) {
        self.is_release_awaited = true;
    }

    fn has_released(&mut self) -> bool {
        std::mem::take(&mut self.has_released)
    }

    fn report(&mut self, _: Vec<u8>) {}

    fn tell_event(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if let Err(failure) = self.note_event(&line) {
            self.fail(failure);
        }
    }

    fn ask_selector(&mut self, _: &[u8]) {}
}
