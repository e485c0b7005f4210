//! The document that tells how an interchange does: JSON, one object.
//!
//! It is written by the interchange and read by `status`, `top`, and whatever reads
//! `status --json`. Fields are only ever added; [`FORMAT`] grows when one changes its meaning.
//! Times with `_s` are seconds: `…_at_s` since the epoch, all others until the moment of the
//! document. Sizes with `_bytes` are bytes. What is not known is `null`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::side_service::SideService;

mod derived;

pub use derived::ManagerState;

/// Which meaning the fields have.
pub const FORMAT: u32 = 1;

/// An interchange at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Which meaning the fields have: [`FORMAT`] of the writer.
    pub format: u32,
    /// Which interchange it is; this does not change, but for `uptime_s` and what is learned once.
    pub interchange: About,
    /// Whether it serves, or is about to end.
    pub state: State,
    /// Tasks that wait for a manager.
    pub queue: Queue,
    /// Tasks in managers' hands.
    pub in_flight: usize,
    /// In order of registration.
    pub managers: Vec<Manager>,
    /// The manager that is let run empty for a task that needs much; None if there is none.
    #[serde(default)]
    pub reservation: Option<Reservation>,
    /// How fast tasks move at present.
    pub rates: Rates,
    /// What was counted since the start.
    pub totals: Totals,
    /// What was carried since the start.
    pub traffic: Traffic,
    /// What is held in memory, and whether that holds anything up.
    pub back_pressure: BackPressure,
    /// The monitoring hub; None if the executor has no monitoring.
    pub hub: Option<Hub>,
    /// Metrics, where they were asked for.
    #[serde(default)]
    pub metrics: Option<SideService>,
    /// The file of events, where one was asked for.
    #[serde(default)]
    pub event_file: Option<SideService>,
    /// The port at which managers are awaited.
    pub worker_port: WorkerPort,
    /// The last restart of its process; None if there was none.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// What the interchange costs this machine.
    pub process: Process,
    /// Latest changes of managers, oldest first: 256 at the most.
    pub events: Vec<Event>,
}

/// Which interchange it is, and how it was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Release of htex-interchange: `0.1.0`.
    pub version: String,
    /// The interchange's process: the one that serves, which changes with a restart.
    pub pid: u32,
    /// The machine that it runs on, by its own name (`uname -n`).
    pub host: String,
    /// Directory of its log; its last part is the executor's label as a rule.
    pub logdir: String,
    /// The very bytes of `logdir`, where these are not UTF-8; no JSON text can hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logdir_bytes: Option<Vec<u8>>,
    /// The log itself; none with `NoopLogging`.
    pub log: Option<String>,
    /// When it was started; seconds since the epoch.
    pub started_at_s: f64,
    /// How long ago that is; by the monotonic clock.
    pub uptime_s: f64,
    /// Python of the submit side, `3.11`, once the first manager has asked for it.
    pub python: Option<String>,
    /// Parsl of the submit side, as `parsl.version.VERSION` has it; once the first manager has
    /// asked for it.
    pub parsl: Option<String>,
    /// The newest release of Parsl that this program was tested with.
    #[serde(default)]
    pub parsl_newest_tested: Option<String>,
    /// Whether CURVE protects its sockets (HTEX's `encrypted`).
    pub encrypted: bool,
    /// How managers are chosen: `random`, `block id`, `spread`, `pack`, or the class of a selector
    /// of the user's own.
    pub selector: String,
    /// A manager that is silent for so long is lost (HTEX's `heartbeat_threshold`).
    pub heartbeat_threshold_s: f64,
    /// Parsl's name of the run.
    pub run_id: Option<String>,
    /// Where the executor listens: an address, and its ports for tasks, results and commands.
    pub submit_side: String,
    /// The submit process, if it is on this machine and watched.
    pub submit_pid: Option<u32>,
    /// Its state now, in the kernel's letter (proc_pid_stat(5)): T is stopped.
    pub submit_state: Option<char>,
}

impl About {
    /// The directory of its log, as the system knows it.
    pub fn logdir_path(&self) -> PathBuf {
        match &self.logdir_bytes {
            Some(bytes) => PathBuf::from(OsString::from_vec(bytes.clone())),
            None => PathBuf::from(&self.logdir),
        }
    }
}

/// Where an interchange is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Tasks are taken and dispatched.
    Running,
    /// The submit side is gone; managers are told to exit.
    Leaving,
}

/// Tasks that wait for a manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// How many there are.
    pub tasks: usize,
    /// What their pickles take.
    pub bytes: usize,
    /// How long the one has waited that has waited longest; None if there is none.
    pub oldest_s: Option<f64>,
    /// The first to be served first; 16 at the most.
    pub priorities: Vec<Priority>,
    /// How many priorities there are beyond those.
    pub more_priorities: usize,
    /// How many tasks `oldest_s` and the priorities were taken from: fewer than `tasks` in a queue
    /// of more than 200,000.
    pub looked_at: usize,
    /// Of all tasks that wait, those that ask for something of their manager (`cores`, `node` and
    /// the like). Only these may wait although a manager has room.
    #[serde(default)]
    pub asking: usize,
    /// What of these fits no manager that is here, by what is asked for; of very many kinds, those
    /// of most tasks, and the others summed up by what lacks. It waits until a block comes that has
    /// what it needs.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
}

impl Queue {
    /// Tasks that fit no manager that is here.
    pub fn unmet_tasks(&self) -> usize {
        self.unmet.iter().map(|unmet| unmet.tasks).sum()
    }
}

/// Tasks that fit no manager that is here, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unmet {
    /// How many there are.
    pub tasks: usize,
    /// What they ask for, in words: `8 cores, 4000 MB`; of tasks that ask for nearly the same, what
    /// one of them does. Empty if that is an affinity alone.
    pub needs: String,
    /// What no manager has. Further fields tell how much.
    #[serde(flatten)]
    pub lack: Lack,
}

/// What no manager has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "lack", rename_all = "lowercase")]
pub enum Lack {
    /// No manager gets tasks at all.
    Managers,
    /// None is on a node of the kind that is asked for.
    Node,
    /// None of those has so many worker slots.
    Slots {
        /// How many such a task takes on the manager that comes nearest.
        slots_needed: usize,
        /// How many that one has.
        slots_largest: usize,
    },
    /// None of those that have them lasts for so long.
    Time {
        /// For how long the one does that lasts longest.
        longest_s: f64,
    },
    /// Tasks of its affinity run on a manager that cannot hold it.
    Affinity {
        /// Which one.
        manager: String,
    },
}

impl Lack {
    /// All that [`Self::name`] gives.
    pub const NAMES: [&'static str; 5] = ["managers", "node", "slots", "time", "affinity"];

    /// As in JSON, and as the label of the metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Managers => "managers",
            Self::Node => "node",
            Self::Slots { .. } => "slots",
            Self::Time { .. } => "time",
            Self::Affinity { .. } => "affinity",
        }
    }
}

/// The manager that is let run empty, so that a task which needs much gets its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its id.
    pub manager: String,
    /// What the tasks ask for that it is reserved for, in words.
    pub needs: String,
    /// How many of these wait.
    pub tasks: usize,
    /// How long that manager has been reserved.
    pub reserved_s: f64,
    /// How long others have gone before the first of them.
    pub passed_s: f64,
}

/// How many tasks wait with one priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// The lower, the sooner. None: tasks without one, which come last.
    pub priority: Option<f64>,
    /// How many there are.
    pub tasks: usize,
}

/// A registered manager: one node, as a rule, with its workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manager {
    /// Its identity at the worker port; Parsl makes it of twelve hexadecimal digits.
    pub id: String,
    /// The block that it belongs to, as its registration has it: a number as a rule.
    pub block: String,
    /// The name of its node, as its registration has it.
    pub host: String,
    /// Where it speaks from.
    pub address: Option<String>,
    /// Tasks that it runs at a time.
    pub workers: i64,
    /// Tasks that it may hold, prefetched ones included.
    pub capacity: usize,
    /// Tasks that it was sent and that are not answered.
    pub in_flight: usize,
    /// How many of these are in doubt: they may have died with a connection that broke or with an
    /// interchange that was killed.
    #[serde(default)]
    pub in_doubt: usize,
    /// When the first of them is given up if no result comes.
    #[serde(default)]
    pub doubt_ends_in_s: Option<f64>,
    /// Tasks of one slot each that its workers can run at a time.
    #[serde(default)]
    pub slots: usize,
    /// How many of these have a task, or a share of one: more than `in_flight` where tasks take
    /// several.
    #[serde(default)]
    pub busy_slots: usize,
    /// It is let run empty for a task that needs much, and gets nothing else meanwhile.
    #[serde(default)]
    pub reserved: bool,
    /// How long ago the task was dispatched that it has had for longest; None if it has none.
    pub oldest_task_s: Option<f64>,
    /// That task's number, which is Parsl's executor task id.
    pub oldest_task: Option<i64>,
    /// Tasks that it gave a result for.
    pub tasks_done: u64,
    /// How many of its tasks raised in a row, if it fails everything while others do not.
    #[serde(default)]
    pub failing: Option<u64>,
    /// It gets no more tasks, for good: Parsl is about to cancel its block, or `top` has held it,
    /// or it fails everything.
    pub held: bool,
    /// It does not take the tasks that it was sent, and gets no more until it does.
    #[serde(default)]
    pub clogged: bool,
    /// It gets no more tasks, because the end of its `drain_period` is near; it goes with its last
    /// task.
    pub draining: bool,
    /// How long it has been without a connection, if it is.
    pub suspect_s: Option<f64>,
    /// Others of its block vanished together, and it has not spoken since: it gets no more tasks
    /// until it does.
    #[serde(default)]
    pub awaited: bool,
    /// How long ago anything came from it.
    pub last_heard_s: f64,
    /// How long it has had no task; None while it has one.
    pub idle_s: Option<f64>,
    /// Its Python: `3.11.7`.
    pub python: String,
    /// Its Parsl, as `parsl.version.VERSION` has it.
    pub parsl: String,
}

/// Tasks a second, over two times that end with the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Over the last five seconds.
    pub last_5_s: Rate,
    /// Over the last minute.
    pub last_60_s: Rate,
}

/// Tasks a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// That came from the submit side.
    pub received: f64,
    /// That left for managers.
    pub dispatched: f64,
    /// That ended with a result of their own.
    pub done: f64,
}

/// Counted since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks accepted from the submit side.
    pub tasks_received: u64,
    /// A second task under a live id, or one that came after the end.
    pub tasks_rejected: u64,
    /// Times that a task left for a manager.
    pub tasks_dispatched: u64,
    /// Tasks that ended with a result of their own.
    pub tasks_done: u64,
    /// Failed because their manager was lost.
    pub tasks_lost: u64,
    /// Failed because they, or their results, could not be read.
    pub tasks_unreadable: u64,
    /// Results that nobody waited for any more.
    pub late_results: u64,
    /// Registrations of managers; one that registers again counts again.
    pub managers_registered: u64,
    /// Managers given up because they were silent, or without a connection, for too long.
    pub managers_lost: u64,
    /// How many of these were held and had no task: they went as they were meant to, for Parsl
    /// holds the managers of a block that it takes away.
    #[serde(default)]
    pub managers_lost_held: u64,
    /// Managers that went at the end of their drain, with nothing in hand.
    pub managers_drained: u64,
    /// Times that a manager was found to fail everything.
    #[serde(default)]
    pub managers_failing: u64,
    /// Times that a registered manager's connection closed.
    pub disconnects: u64,
    /// From acceptance to dispatch, of all tasks; None before the first.
    pub queued_mean_s: Option<f64>,
    /// The longest of these times.
    pub queued_longest_s: f64,
    /// From dispatch to result, of all tasks; None before the first.
    pub in_flight_mean_s: Option<f64>,
    /// The longest of these times.
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
    /// Tasks that wait, and results that the executor has not taken.
    pub held_bytes: usize,
    /// With more held than this, tasks wait in the submit process (`--max-queued-bytes`).
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
    /// Where Parsl's monitoring listens.
    pub address: String,
    /// Whether there is a connection to it.
    pub answers: bool,
    /// Records that it has not taken yet.
    pub held_bytes: usize,
    /// Records dropped because the hub took nothing.
    pub dropped: u64,
}

/// The port at which managers are awaited, and who came there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerPort {
    /// Its number.
    pub port: u16,
    /// None: every address of the machine.
    pub address: Option<String>,
    /// Open connections, registered or not.
    pub connections: usize,
    /// False: descriptors run out, nobody is let in.
    pub lets_in: bool,
    /// Peers whose key is not in the certificate directory.
    pub keys_refused: u64,
    /// Connections that failed before their first message: encrypted where this run is not, or the
    /// other way round.
    pub handshakes_failed: u64,
    /// Messages that could not be read.
    pub bad_messages: u64,
}

/// That the interchange's process ended, and another one went on with what it had (`--survive`).
/// Times and totals since the start are those of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// How many there were since the start, with this one.
    pub number: u32,
    /// How the process before ended, in words: `was killed (SIGKILL), …`.
    pub why: String,
    /// From that end until this process was ready.
    pub down_s: f64,
    /// When it was ready; seconds since the epoch.
    pub at_s: f64,
    /// How long ago that is; by the monotonic clock.
    pub ago_s: f64,
}

/// The interchange's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its resident memory.
    pub resident_bytes: usize,
    /// Processor time since its start, of all threads, user and system.
    pub cpu_s: f64,
    /// Descriptors in use; those that are kept in reserve count.
    pub descriptors: usize,
    /// Descriptors that may be in use (`ulimit -n`, raised to the hard limit).
    pub descriptor_limit: usize,
    /// Lines that the log could not take.
    pub log_lines_dropped: u64,
    /// Where the log is, once it was moved, in the system's words: `… (deleted)` if removed.
    #[serde(default)]
    pub log_moved_to: Option<String>,
    /// Lines that the file of events could not take; None if there is none.
    pub event_lines_dropped: Option<u64>,
}

/// A change of a manager. From `manager` on, fields are those of the file of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one from the start of the interchange.
    pub number: u64,
    /// When it was; seconds since the epoch.
    pub at_s: f64,
    /// How long ago that is; by the monotonic clock.
    #[serde(default)]
    pub ago_s: f64,
    /// The manager's id.
    pub manager: String,
    /// `registered`, `held`, `failing`, `draining`, `drained`, `suspect`, `awaited`, `back`,
    /// `lost`, `gave_up`, `replaced`.
    pub change: String,
    /// What else there is to say, in words: `block 3 on node17, 4 workers`.
    pub detail: String,
    /// Tasks that were lost with it.
    pub tasks_lost: usize,
    /// Of one that was lost: it was held before.
    #[serde(default)]
    pub was_held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_stands_beside_what_is_asked_for() {
        for (lack, told) in [
            (Lack::Node, r#""lack":"node""#),
            (
                Lack::Slots {
                    slots_needed: 8,
                    slots_largest: 4,
                },
                r#""lack":"slots","slots_needed":8,"slots_largest":4"#,
            ),
            (
                Lack::Time { longest_s: 9.5 },
                r#""lack":"time","longest_s":9.5"#,
            ),
        ] {
            let needs = "8 cores".to_owned();
            let name = lack.name();
            let unmet = Unmet {
                tasks: 12,
                needs,
                lack,
            };
            let json = serde_json::to_string(&unmet).unwrap();
            assert_eq!(json, format!(r#"{{"tasks":12,"needs":"8 cores",{told}}}"#));
            assert_eq!(serde_json::from_str::<Unmet>(&json).unwrap(), unmet);
            assert!(Lack::NAMES.contains(&name) && told.contains(name));
        }
    }

    #[test]
    fn an_interchange_that_tells_no_slots_has_room_by_its_tasks() {
        let json = r#"{"id": "a", "block": "0", "host": "n", "address": null, "workers": 4,
            "capacity": 4, "in_flight": 3, "oldest_task_s": null, "oldest_task": null,
            "tasks_done": 0, "held": false, "draining": false, "suspect_s": null,
            "last_heard_s": 0.1, "idle_s": null, "python": "3.12.3", "parsl": "2026.10.26"}"#;
        let mut manager: Manager = serde_json::from_str(json).unwrap();
        assert_eq!((manager.room(), manager.state()), (1, ManagerState::Busy));
        manager.in_flight = 4;
        assert_eq!((manager.room(), manager.state()), (0, ManagerState::Full));
    }
}
