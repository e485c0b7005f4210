//! What may happen in the simulation: the managers, what they do, and all faults.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::model::Account;
use super::network::{Network, Parcel};
use protocol::ToManager;

/// All times are multiples of this tick, which is exact as a float too.
pub(crate) const TICK: Duration = Duration::from_nanos(1_000_000_000 / 64);

/// A message of a manager.
#[derive(Debug, Clone)]
pub(crate) enum Saying {
    Probe,
    Register(Account),
    Heartbeat,
    Drain,
    Result(i64),
    Spoilt(i64),
    Record,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Happening {
    Tasks,
    TaskAgain,
    UnreadableTask,
    Join,
    RegisterAgain,
    Answer,
    AnswerTwice,
    AnswerOdd,
    Record,
    Drain,
    Probe,
    Die,
    DieUnnoticed,
    Disconnect,
    Reconnect,
    Flap,
    GrowOld,
    Takeover,
    Stall,
    Wake,
    StopBeats,
    Flood,
    StopReading,
    LeaveUnread,
    Hold,
    Ask,
    Pass,
    PassLong,
    Load,
    Suspend,
    SuspendShortly,
    WallJump,
    ResultsStuck,
    Helper,
}

/// How often each event happens, in runs that include it.
pub(crate) const HAPPENINGS: [(Happening, usize); 34] = [
    (Happening::Tasks, 9),
    (Happening::TaskAgain, 2),
    (Happening::UnreadableTask, 1),
    (Happening::Join, 6),
    (Happening::RegisterAgain, 1),
    (Happening::Answer, 14),
    (Happening::AnswerTwice, 2),
    (Happening::AnswerOdd, 1),
    (Happening::Record, 1),
    (Happening::Drain, 1),
    (Happening::Probe, 1),
    (Happening::Die, 2),
    (Happening::DieUnnoticed, 1),
    (Happening::Disconnect, 2),
    (Happening::Reconnect, 3),
    (Happening::Flap, 1),
    (Happening::GrowOld, 1),
    (Happening::Takeover, 1),
    (Happening::Stall, 2),
    (Happening::Wake, 3),
    (Happening::StopBeats, 1),
    (Happening::Flood, 1),
    (Happening::StopReading, 1),
    (Happening::LeaveUnread, 2),
    (Happening::Hold, 1),
    (Happening::Ask, 3),
    (Happening::Pass, 12),
    (Happening::PassLong, 2),
    (Happening::Load, 2),
    (Happening::Suspend, 1),
    (Happening::SuspendShortly, 2),
    (Happening::WallJump, 1),
    (Happening::ResultsStuck, 1),
    (Happening::Helper, 2),
];

/// A manager's name, with or without a running process.
pub(crate) struct Manager {
    pub name: String,
    pub is_running: bool,
    /// SIGSTOPped: the process sends and reads nothing.
    pub is_stalled: bool,
    pub beats: bool,
    pub reads: bool,
    pub next_beat: Duration,
    pub connection: Option<u64>,
    /// Tasks that the manager was sent and has not answered.
    pub hands: Vec<i64>,
    pub answered: Vec<i64>,
}

impl Manager {
    fn new(name: String) -> Self {
        Self {
            name,
            is_running: false,
            is_stalled: false,
            beats: true,
            reads: true,
            next_beat: Duration::ZERO,
            connection: None,
            hands: Vec::new(),
            answered: Vec::new(),
        }
    }
}

/// All simulated parties outside the broker.
pub(crate) struct Cast {
    pub random: SmallRng,
    pub network: Network,
    pub managers: Vec<Manager>,
    pub now: Duration,
    beat_every: Duration,
}

impl Cast {
    pub(crate) fn new(seed: u64, beat_every: Duration) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            network: Network::default(),
            managers: (0..5).map(|n| Manager::new(format!("m{n}"))).collect(),
            now: Duration::ZERO,
            beat_every,
        }
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// Returns a random time: a whole number of ticks, at least one.
    pub(crate) fn time_below(&mut self, end: Duration) -> Duration {
        let ticks = (end.as_nanos() / TICK.as_nanos()).max(2) as u32;
        TICK * self.random.random_range(1..ticks)
    }

    /// Returns how late the end of a connection becomes known.
    fn lateness(&mut self) -> Duration {
        match self.chance(0.7) {
            true => Duration::ZERO,
            false => self.time_below(Duration::from_secs(3)),
        }
    }

    pub(crate) fn pass_to(&mut self, now: Duration) {
        self.now = now;
        self.network.set_now(now);
    }

    /// Returns when some manager sends its next heartbeat.
    pub(crate) fn next_beat(&self) -> Option<Duration> {
        let beating = self.managers.iter().filter(|m| m.is_beating());
        beating.map(|manager| manager.next_beat).min()
    }

    /// Sends the heartbeats that are due, and receives what has arrived.
    pub(crate) fn act(&mut self) {
        for place in 0..self.managers.len() {
            let manager = &self.managers[place];
            if manager.is_beating() && manager.next_beat <= self.now {
                self.managers[place].next_beat = self.now + self.beat_every;
                self.say(place, Saying::Heartbeat);
            }
            self.receive(place);
        }
    }

    fn receive(&mut self, place: usize) {
        loop {
            let manager = &self.managers[place];
            if !manager.is_running || manager.is_stalled || !manager.reads {
                return;
            }
            let parcel = manager.connection.and_then(|c| self.network.receive(c));
            match parcel {
                None => return,
                Some(Parcel::Word(ToManager::Shutdown)) => self.die(place),
                Some(Parcel::Word(_)) => {}
                Some(Parcel::Batch(shipment)) => {
                    self.managers[place].hands.extend(shipment.ids());
                }
            }
        }
    }

    pub(crate) fn say(&mut self, place: usize, saying: Saying) {
        let manager = &self.managers[place];
        if let Some(connection) = manager.connection
            && manager.is_running
        {
            self.network.say(connection, &manager.name, saying);
        }
    }

    /// Opens a connection, for the same process or for another one.
    pub(crate) fn connect(&mut self, place: usize) {
        let late = self.lateness();
        self.lose_last_words(place);
        let manager = &mut self.managers[place];
        let connection = self.network.connect(&manager.name, late);
        manager.connection = Some(connection);
        manager.reads = true;
    }

    /// Starts a process, under a name that another process may have had.
    pub(crate) fn join(&mut self, place: usize, account: Account) {
        self.connect(place);
        let manager = &mut self.managers[place];
        manager.is_running = true;
        manager.is_stalled = false;
        manager.beats = true;
        let before = std::mem::take(&mut manager.hands);
        manager.answered.extend(before);
        manager.next_beat = self.now + self.beat_every;
        if self.chance(0.5) {
            self.say(place, Saying::Probe);
        }
        self.say(place, Saying::Register(account));
    }

    /// Ends the process and its connection.
    pub(crate) fn die(&mut self, place: usize) {
        self.disconnect(place);
        self.end(place);
    }

    fn end(&mut self, place: usize) {
        let manager = &mut self.managers[place];
        manager.is_running = false;
        manager.connection = None;
        let before = std::mem::take(&mut manager.hands);
        manager.answered.extend(before);
    }

    /// Ends the process without closing the connection, as when its node fails.
    pub(crate) fn die_unnoticed(&mut self, place: usize) {
        if let Some(connection) = self.managers[place].connection {
            self.network.set_dead(connection);
        }
        self.end(place);
    }

    /// Breaks the connection. Messages on their way may be lost.
    pub(crate) fn disconnect(&mut self, place: usize) {
        self.lose_last_words(place);
        if let Some(connection) = self.managers[place].connection.take() {
            let late = self.lateness();
            self.network.close(connection, late);
        }
    }

    fn lose_last_words(&mut self, place: usize) {
        let Some(connection) = self.network.route(&self.managers[place].name) else {
            return;
        };
        if self.chance(0.5) {
            let count = self.below(self.network.losable(connection) + 1);
            self.network.lose(connection, count);
        }
    }

    /// Another peer takes the manager's identity, which closes the manager's connection; that peer
    /// may leave again.
    pub(crate) fn take_over(&mut self, place: usize) {
        let late = self.lateness();
        self.lose_last_words(place);
        let name = self.managers[place].name.clone();
        let connection = self.network.connect(&name, late);
        let saying = match self.chance(0.5) {
            true => Saying::Probe,
            false => Saying::Heartbeat,
        };
        self.network.say(connection, &name, saying);
        if self.chance(0.7) {
            let late = self.lateness();
            self.network.close(connection, late);
        } else {
            self.network.set_dead(connection);
        }
    }

    pub(crate) fn set_reads(&mut self, place: usize, reads: bool) {
        let manager = &mut self.managers[place];
        manager.reads = reads;
        if let Some(connection) = manager.connection {
            self.network.set_reads(connection, reads);
        }
    }

    pub(crate) fn account(&mut self, at_least: usize) -> Account {
        let drain_in = match self.chance(0.2) {
            true => Some(Duration::from_secs(self.below(20) as u64)),
            false => None,
        };
        Account {
            block: self.below(3).to_string(),
            capacity: at_least + self.below(6),
            workers: self.below(4) as i64,
            started_s: (1 + self.below(1 << 31)) as f64,
            drain_in,
        }
    }

    /// Answers one of the manager's tasks.
    pub(crate) fn answer(&mut self, place: usize) {
        let manager = &self.managers[place];
        let open = manager.connection.filter(|c| self.network.is_open(*c));
        // Without a connection, the manager keeps its results, as ZeroMQ does.
        if open.is_none() || manager.is_stalled || manager.hands.is_empty() {
            return;
        }
        let count = manager.hands.len();
        let chosen = self.below(count);
        let manager = &mut self.managers[place];
        let task = manager.hands.remove(chosen);
        manager.answered.push(task);
        let saying = match self.chance(0.1) {
            true => Saying::Spoilt(task),
            false => Saying::Result(task),
        };
        self.say(place, saying);
    }

    pub(crate) fn say_again(&mut self, place: usize) {
        let manager = &self.managers[place];
        if !manager.answered.is_empty() {
            let count = manager.answered.len();
            let chosen = self.below(count);
            let task = self.managers[place].answered[chosen];
            self.say(place, Saying::Result(task));
        }
    }

    /// Repairs all faults: each running manager sends heartbeats, reads, answers and has a
    /// connection.
    pub(crate) fn heal(&mut self) {
        for connection in self.network.dead() {
            self.network.close(connection, Duration::ZERO);
        }
        for place in 0..self.managers.len() {
            if self.managers[place].is_running {
                self.managers[place].is_stalled = false;
                self.managers[place].beats = true;
                self.managers[place].next_beat = self.now;
                let open = self.managers[place].connection;
                if !open.is_some_and(|connection| self.network.is_open(connection)) {
                    self.connect(place);
                }
                self.set_reads(place, true);
            }
        }
    }
}

impl Manager {
    fn is_beating(&self) -> bool {
        self.is_running && !self.is_stalled && self.beats && self.connection.is_some()
    }
}
