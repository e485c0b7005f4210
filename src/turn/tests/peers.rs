//! The peers at both ends of the network: manager processes and the executor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::doors::Event;
use super::messages::{Notice, Saying};
use super::needs::Site;
use super::network::Content;
use super::world::{World, ms};
use protocol::ToManager;

/// A manager process.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) site: Site,
    pub(crate) is_running: bool,
    /// Whether the process is stopped: it neither reads nor sends.
    pub(crate) is_frozen: bool,
    pub(crate) beats: bool,
    pub(crate) answers: bool,
    pub(crate) reads: Reading,
    pub(crate) connection: Option<usize>,
    /// Tasks that the manager has read.
    pub(crate) in_hand: VecDeque<i64>,
    /// Messages that the manager sent while it had no connection.
    unsent: VecDeque<Saying>,
    is_answer_due: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Fast,
    Slowly,
    Not,
}

/// The executor's side.
#[derive(Debug)]
pub(crate) struct Executor {
    /// Tasks in the executor's socket or in transit.
    pub(crate) tasks: VecDeque<(i64, Vec<u8>)>,
    pub(crate) is_fetch_due: bool,
    pub(crate) reads: Reading,
    /// Results in the transport.
    pub(crate) results: VecDeque<(Handed, usize)>,
    pub(crate) results_max: usize,
    pub(crate) is_read_due: bool,
    /// How often each task was answered.
    pub(crate) answers: BTreeMap<i64, u32>,
    pub(crate) commands: VecDeque<Vec<u8>>,
    /// Task messages that may have to be sent again, if the interchange survives.
    pub(crate) kept: BTreeMap<i64, Vec<u8>>,
    /// Tasks whose answer was lost with a process.
    pub(crate) died: BTreeSet<i64>,
}

/// A message to the executor.
#[derive(Debug)]
pub(crate) enum Handed {
    /// A task's terminal message.
    Answer(i64),
    Notice(Notice),
}

impl World {
    /// Starts a new manager process, which registers.
    pub(crate) fn start(&mut self, name: &str, site: Site) -> usize {
        let peer = self.peers.len();
        self.peers.push(Peer {
            name: name.to_owned(),
            site,
            is_running: true,
            is_frozen: false,
            beats: true,
            answers: true,
            reads: Reading::Fast,
            connection: None,
            in_hand: VecDeque::new(),
            unsent: VecDeque::new(),
            is_answer_due: false,
        });
        self.connect_peer(peer);
        self.say(peer, Saying::Register(site));
        if let Some(period) = self.heartbeat_period {
            let at = self.now + period;
            self.agenda.add(at, Event::Beat(peer));
        }
        peer
    }

    pub(crate) fn connect_peer(&mut self, peer: usize) {
        let name = self.peers[peer].name.clone();
        let connection = self.connect(peer, &name);
        let process = &mut self.peers[peer];
        process.connection = Some(connection);
        for saying in std::mem::take(&mut process.unsent) {
            self.say_by(connection, saying);
        }
    }

    /// Breaks a manager's connection. The transport notices this only if `is_told`.
    pub(crate) fn break_connection(&mut self, peer: usize, is_told: bool, is_reset: bool) {
        if let Some(connection) = self.peers[peer].connection.take()
            && is_told
        {
            self.end(connection, is_reset);
        }
    }

    pub(crate) fn say(&mut self, peer: usize, saying: Saying) {
        let process = &mut self.peers[peer];
        match process.connection {
            Some(connection) => self.say_by(connection, saying),
            None => process.unsent.push_back(saying),
        }
    }

    pub(crate) fn exit(&mut self, peer: usize) {
        self.peers[peer].is_running = false;
        self.peers[peer].in_hand.clear();
        self.break_connection(peer, true, false);
    }

    pub(crate) fn beat(&mut self, peer: usize) {
        let process = &self.peers[peer];
        if !process.is_running {
            return;
        }
        if process.beats && !process.is_frozen && process.connection.is_some() {
            self.say(peer, Saying::Heartbeat);
        }
        if let Some(period) = self.heartbeat_period {
            let at = self.now + period;
            self.agenda.add(at, Event::Beat(peer));
        }
    }

    pub(crate) fn answer_soon(&mut self, peer: usize) {
        let process = &mut self.peers[peer];
        let works = process.is_running && process.answers && !process.is_frozen;
        if works && !process.is_answer_due && !process.in_hand.is_empty() {
            process.is_answer_due = true;
            let at = self.now + self.time_below(self.task_takes);
            self.agenda.add(at, Event::Answer(peer));
        }
    }

    pub(crate) fn answer(&mut self, peer: usize) {
        let process = &mut self.peers[peer];
        process.is_answer_due = false;
        if !process.is_running || process.is_frozen || !process.answers {
            return;
        }
        let burst = self.random_below(4) + 1;
        for _ in 0..burst {
            self.answer_one(peer);
        }
        self.answer_soon(peer);
    }

    pub(crate) fn answer_one(&mut self, peer: usize) {
        if let Some(task) = self.peers[peer].in_hand.pop_front() {
            let size = self.result_size();
            self.say(peer, Saying::Result { task, size });
        }
    }

    pub(crate) fn read_soon(&mut self, connection: usize) {
        let place = &self.network.connections[connection];
        let process = &self.peers[place.peer];
        let is_read = process.connection == Some(connection) && !process.is_frozen;
        if place.is_read_due || !is_read || !place.has_untaken() {
            return;
        }
        let latest = match process.reads {
            Reading::Not => return,
            Reading::Fast => ms(2),
            Reading::Slowly => ms(80),
        };
        self.network.connections[connection].is_read_due = true;
        let at = self.now + self.time_below(latest);
        self.agenda.add(at, Event::Read(connection));
    }

    /// Lets the manager read what has arrived.
    pub(crate) fn read(&mut self, connection: usize) {
        self.network.connections[connection].is_read_due = false;
        let peer = self.network.connections[connection].peer;
        let process = &self.peers[peer];
        if process.connection != Some(connection) || process.is_frozen {
            return;
        }
        let bytes_max = match process.reads {
            Reading::Not => return,
            Reading::Fast => usize::MAX,
            Reading::Slowly => (self.network.sizes.kernel / 4).max(1),
        };
        self.take_in(connection, bytes_max);
        self.read_soon(connection);
    }

    /// Reads up to this many bytes from the kernel, and processes the complete messages.
    pub(crate) fn take_in(&mut self, connection: usize, bytes_max: usize) {
        let peer = self.network.connections[connection].peer;
        for content in self.swallow(connection, bytes_max) {
            match content {
                Content::Batch(tasks) => self.peers[peer].in_hand.extend(tasks),
                Content::Word(ToManager::Shutdown) => return self.exit(peer),
                Content::Word(ToManager::HeartbeatEcho | ToManager::ProbeAnswer) => {}
            }
        }
        self.answer_soon(peer);
    }

    /// Reconnects a manager whose connection was closed by the other end, where a process listens
    /// again.
    pub(crate) fn reconnect(&mut self, peer: usize) {
        let process = &self.peers[peer];
        if process.is_running && process.connection.is_none() {
            self.connect_peer(peer);
            self.go_on(peer);
        }
    }

    /// Resumes a manager after its reading behaviour has changed.
    pub(crate) fn go_on(&mut self, peer: usize) {
        if let Some(connection) = self.peers[peer].connection {
            self.read_soon(connection);
        }
        self.answer_soon(peer);
    }

    pub(crate) fn fetch_tasks_soon(&mut self) {
        if !self.executor.is_fetch_due && !self.executor.tasks.is_empty() {
            self.executor.is_fetch_due = true;
            let at = self.soon();
            self.agenda.add(at, Event::FetchTasks);
        }
    }

    /// Reads as many tasks ahead as allowed, in the transport's thread.
    pub(crate) fn fetch_tasks(&mut self) {
        self.executor.is_fetch_due = false;
        while self.tasks_here.len() < self.tasks_read_ahead
            && let Some(task) = self.executor.tasks.pop_front()
        {
            self.tasks_here.push_back(task);
            self.tasks.note_arrival();
        }
    }

    pub(crate) fn read_results_soon(&mut self) {
        let executor = &mut self.executor;
        let latest = match executor.reads {
            Reading::Not => return,
            Reading::Fast => ms(2),
            Reading::Slowly => ms(80),
        };
        if !executor.is_read_due && !executor.results.is_empty() {
            executor.is_read_due = true;
            let at = self.now + self.time_below(latest);
            self.agenda.add(at, Event::ReadResults);
        }
    }

    pub(crate) fn read_results(&mut self) {
        self.executor.is_read_due = false;
        let count = match self.executor.reads {
            Reading::Not => return,
            Reading::Fast => usize::MAX,
            Reading::Slowly => 1,
        };
        let there = self.executor.results.len();
        let read: Vec<_> = (self.executor.results).drain(..there.min(count)).collect();
        for (handed, bytes) in read {
            if bytes > 0 {
                let at = self.now + self.time_below(ms(3));
                self.agenda.add(at, Event::ReleaseResult(bytes));
            }
            if let Handed::Notice(notice) = handed {
                self.heed(&notice);
            }
        }
        let left = self.executor.results.len();
        if self.are_results_stuck && left <= self.executor.results_max / 2 {
            self.are_results_stuck = false;
            self.is_results_socket_readable = true;
        }
        self.read_results_soon();
    }

    pub(crate) fn is_answered(&self, task: i64) -> bool {
        self.executor.answers.contains_key(&task)
    }
}

/// Random values, drawn from the seed.
impl World {
    pub(crate) fn soon(&mut self) -> Duration {
        let latest = self.thread_takes;
        self.now + self.time_below(latest)
    }
}
