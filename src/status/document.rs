//! The document that tells how an interchange does: JSON, one object.
//!
//! It is written by the interchange and read by `status`, `top`, and whatever reads
//! `status --json`. Fields are only ever added; [`FORMAT`] grows when one changes its meaning.
//! Times with `_s` are seconds: `…_at_s` since the epoch, all others until the moment of the
//! document. Sizes with `_bytes` are bytes. What is not known is `null`.

use serde::{Deserialize, Serialize};

/// Which meaning the fields have.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub format: u32,
    pub interchange: About,
    pub state: State,
    pub queue: Queue,
    /// Tasks in managers' hands.
    pub in_flight: usize,
    /// In order of registration.
    pub managers: Vec<Manager>,
    pub rates: Rates,
    pub totals: Totals,
    pub traffic: Traffic,
    pub back_pressure: BackPressure,
    pub hub: Option<Hub>,
    pub worker_port: WorkerPort,
    pub process: Process,
    /// Latest changes of managers, oldest first: 256 at the most.
    pub events: Vec<Event>,
}

/// Which interchange it is, and how it was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub version: String,
    pub pid: u32,
    pub host: String,
    /// Directory of its log; its last part is the executor's label as a rule.
    pub logdir: String,
    /// The log itself; none with `NoopLogging`.
    pub log: Option<String>,
    pub started_at_s: f64,
    pub uptime_s: f64,
    /// Versions of the submit side, once the first manager has asked for them.
    pub python: Option<String>,
    pub parsl: Option<String>,
    pub encrypted: bool,
    pub selector: String,
    pub heartbeat_threshold_s: f64,
    /// Parsl's name of the run.
    pub run_id: Option<String>,
    /// Where the executor listens.
    pub submit_side: String,
    /// The submit process, if it is on this machine and watched, and its state now, in the
    /// kernel's letter: T is stopped.
    pub submit_pid: Option<u32>,
    pub submit_state: Option<char>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Running,
    /// The submit side is gone; managers are told to exit.
    Leaving,
}

/// Tasks that wait for a manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    pub tasks: usize,
    pub bytes: usize,
    pub oldest_s: Option<f64>,
    /// The first to be served first; 16 at the most.
    pub priorities: Vec<Priority>,
    /// How many priorities there are beyond those.
    pub more_priorities: usize,
    /// How many tasks `oldest_s` and the priorities were taken from: fewer than `tasks` in a queue
    /// of more than 200,000.
    pub looked_at: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// The lower, the sooner. None: tasks without one, which come last.
    pub priority: Option<f64>,
    pub tasks: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manager {
    pub id: String,
    pub block: String,
    pub host: String,
    /// Where it speaks from.
    pub address: Option<String>,
    /// Tasks that it runs at a time.
    pub workers: i64,
    /// Tasks that it may hold, prefetched ones included.
    pub capacity: usize,
    pub in_flight: usize,
    /// How long ago the task was dispatched that it has had for longest, and its number.
    pub oldest_task_s: Option<f64>,
    pub oldest_task: Option<i64>,
    /// Tasks that it gave a result for.
    pub tasks_done: u64,
    pub held: bool,
    /// It does not take the tasks that it was sent, and gets no more until it does.
    #[serde(default)]
    pub clogged: bool,
    pub draining: bool,
    /// How long it has been without a connection, if it is.
    pub suspect_s: Option<f64>,
    pub last_heard_s: f64,
    /// None while it has a task.
    pub idle_s: Option<f64>,
    pub python: String,
    pub parsl: String,
}

impl Manager {
    /// Whether it would be given a task.
    pub fn takes_tasks(&self) -> bool {
        matches!(self.state(), ManagerState::Busy | ManagerState::Idle)
    }

    /// What it is in the first place: the first of the states, in their order, that it is in.
    pub fn state(&self) -> ManagerState {
        match self {
            _ if self.suspect_s.is_some() => ManagerState::Suspect,
            _ if self.draining => ManagerState::Draining,
            _ if self.held => ManagerState::Held,
            _ if self.clogged || self.in_flight >= self.capacity => ManagerState::Full,
            _ if self.in_flight > 0 => ManagerState::Busy,
            _ => ManagerState::Idle,
        }
    }
}

/// Held, draining and suspect are independent of each other; this is for tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManagerState {
    /// Without a connection: nothing new is sent to it until it speaks.
    Suspect,
    Draining,
    Held,
    /// It has as many tasks as it may hold.
    Full,
    Busy,
    Idle,
}

impl ManagerState {
    pub const ALL: [Self; 6] = [
        Self::Suspect,
        Self::Draining,
        Self::Held,
        Self::Full,
        Self::Busy,
        Self::Idle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Idle => "idle",
        }
    }
}

/// Tasks a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub last_5_s: Rate,
    pub last_60_s: Rate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub received: f64,
    pub dispatched: f64,
    pub done: f64,
}

/// Counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub tasks_received: u64,
    /// A second task under a live id, or one that came after the end.
    pub tasks_rejected: u64,
    pub tasks_dispatched: u64,
    /// Came back unsent, and waited again.
    pub tasks_requeued: u64,
    pub tasks_done: u64,
    /// Failed because their manager was lost.
    pub tasks_lost: u64,
    /// Failed because they, or their results, could not be read.
    pub tasks_unreadable: u64,
    /// Results that nobody waited for any more.
    pub late_results: u64,
    pub managers_registered: u64,
    pub managers_lost: u64,
    pub managers_drained: u64,
    pub disconnects: u64,
    /// From acceptance to dispatch, of all tasks.
    pub queued_mean_s: Option<f64>,
    pub queued_longest_s: f64,
    /// From dispatch to result.
    pub in_flight_mean_s: Option<f64>,
    pub in_flight_longest_s: f64,
}

/// Bytes of messages since the start, without what ZeroMQ and TCP add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Tasks, from the submit side.
    pub tasks_bytes: u64,
    /// Batches, to managers.
    pub batches_bytes: u64,
    /// Everything that managers say: results, heartbeats, monitoring.
    pub from_managers_bytes: u64,
    /// Results, to the submit side.
    pub results_bytes: u64,
}

/// What is held, and what is held up by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackPressure {
    pub held_bytes: usize,
    pub bound_bytes: usize,
    /// False: no task is taken from the submit side, where tasks wait.
    pub takes_tasks: bool,
    /// Results that the executor has not taken.
    pub unsent_results_bytes: usize,
    /// False: nothing is dispatched, because the executor does not take results.
    pub dispatches: bool,
}

/// The way to the monitoring hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hub {
    pub address: String,
    /// Whether there is a connection to it.
    pub answers: bool,
    pub held_bytes: usize,
    /// Records dropped because the hub took nothing.
    pub dropped: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerPort {
    pub port: u16,
    /// None: every address of the machine.
    pub address: Option<String>,
    /// Open connections, registered or not.
    pub connections: usize,
    /// False: descriptors run out, nobody is let in.
    pub lets_in: bool,
    /// Peers whose key is not in the certificate directory.
    pub keys_refused: u64,
    pub handshakes_failed: u64,
    /// Messages that could not be read.
    pub bad_messages: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub resident_bytes: usize,
    pub cpu_s: f64,
    pub descriptors: usize,
    pub descriptor_limit: usize,
    /// Lines that the log could not take.
    pub log_lines_dropped: u64,
    /// And the file of events, if there is one.
    pub event_lines_dropped: Option<u64>,
}

/// A change of a manager. Its fields beyond these three are those of the file of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one from the start of the interchange.
    pub number: u64,
    pub at_s: f64,
    pub manager: String,
    /// `registered`, `held`, `draining`, `drained`, `suspect`, `back`, `lost`,
    /// `gave_up`, `replaced`.
    pub change: String,
    /// What else there is to say, in words: `block 3 on node17, 4 workers`.
    pub detail: String,
    /// Tasks that were lost with it.
    pub tasks_lost: usize,
}
