//! The status document of an interchange: one JSON object.
//!
//! The interchange writes the document. Its readers are `status`, `top`, and programs that read
//! `status --json`. Fields are only ever added; [`FORMAT`] is incremented when the meaning of a
//! field changes. Fields with the suffix `_s` are seconds: those with `_at_s` are seconds since the
//! epoch, all others are durations up to the moment of the document. Fields with the suffix
//! `_bytes` are bytes. An unknown value is `null`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::side_service::SideService;

mod derived;

pub use derived::ManagerState;

/// Version of the meaning of the fields.
pub const FORMAT: u32 = 1;

/// The state of an interchange at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Version of the meaning of the fields: [`FORMAT`] of the writer.
    pub format: u32,
    /// Identity of the interchange. It does not change, except for `uptime_s` and values that
    /// become known later.
    pub interchange: About,
    /// Whether the interchange is running or about to end.
    pub state: State,
    /// Tasks that wait for a manager.
    pub queue: Queue,
    /// Number of tasks that managers hold.
    pub in_flight: usize,
    /// The registered managers, in order of registration.
    pub managers: Vec<Manager>,
    /// The manager that gets no other tasks until one with large requirements fits on it; None if
    /// there is no such manager.
    #[serde(default)]
    pub reservation: Option<Reservation>,
    /// Current rates of tasks.
    pub rates: Rates,
    /// Counts since the start.
    pub totals: Totals,
    /// Bytes transferred since the start.
    pub traffic: Traffic,
    /// Memory held by messages, and whether the amount blocks any transfer.
    pub back_pressure: BackPressure,
    /// The monitoring hub; None if the executor has no monitoring.
    pub hub: Option<Hub>,
    /// The metrics service, if it was requested.
    #[serde(default)]
    pub metrics: Option<SideService>,
    /// The file of events, if it was requested.
    #[serde(default)]
    pub event_file: Option<SideService>,
    /// The port that managers connect to.
    pub worker_port: WorkerPort,
    /// The last restart of the interchange's process; None if there was none.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// Resource use of the interchange's process.
    pub process: Process,
    /// Latest changes of managers, oldest first; at most 256.
    pub events: Vec<Event>,
}

/// Identity of an interchange, and how it was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Release of htex-interchange, such as `0.1.0`.
    pub version: String,
    /// Id of the interchange's current process. It changes with a restart.
    pub pid: u32,
    /// Name of the machine that the interchange runs on (`uname -n`).
    pub host: String,
    /// Directory of the interchange's log. The last part of the path is usually the executor's
    /// label.
    pub logdir: String,
    /// The exact bytes of `logdir` if they are not UTF-8, since JSON text cannot contain them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logdir_bytes: Option<Vec<u8>>,
    /// Path of the log file; None with `NoopLogging`.
    pub log: Option<String>,
    /// When the interchange was started, in seconds since the epoch.
    pub started_at_s: f64,
    /// Seconds since the start, by the monotonic clock.
    pub uptime_s: f64,
    /// Python version of the submit side, such as `3.11`. Known once the first manager has
    /// registered.
    pub python: Option<String>,
    /// Parsl version of the submit side (`parsl.version.VERSION`). Known once the first manager has
    /// registered.
    pub parsl: Option<String>,
    /// The newest release of Parsl that this program was tested with.
    #[serde(default)]
    pub parsl_newest_tested: Option<String>,
    /// Whether CURVE protects the interchange's sockets (HTEX's `encrypted`).
    pub encrypted: bool,
    /// The manager selector: `random`, `block id`, `spread`, `pack`, or the class of a user's own
    /// selector.
    pub selector: String,
    /// Seconds of silence after which a manager is lost (HTEX's `heartbeat_threshold`).
    pub heartbeat_threshold_s: f64,
    /// Parsl's name of the run.
    pub run_id: Option<String>,
    /// The executor's address, and its ports for tasks, results and commands.
    pub submit_side: String,
    /// Id of the submit process, if the process is on this machine and watched.
    pub submit_pid: Option<u32>,
    /// The submit process's current state, as the kernel's letter (proc_pid_stat(5)); T is stopped.
    pub submit_state: Option<char>,
}

impl About {
    /// Returns the log directory as a path with its exact bytes.
    pub fn logdir_path(&self) -> PathBuf {
        match &self.logdir_bytes {
            Some(bytes) => PathBuf::from(OsString::from_vec(bytes.clone())),
            None => PathBuf::from(&self.logdir),
        }
    }
}

/// The phases of an interchange's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Tasks are accepted and dispatched.
    Running,
    /// The submit side is gone, and managers are ordered to exit.
    Leaving,
}

/// Tasks that wait for a manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Number of queued tasks.
    pub tasks: usize,
    /// Size of the queued tasks' pickles.
    pub bytes: usize,
    /// Waiting time of the oldest queued task; None if the queue is empty.
    pub oldest_s: Option<f64>,
    /// Number of tasks of each priority, in the order in which they are served; at most 16
    /// priorities.
    pub priorities: Vec<Priority>,
    /// Number of further priorities that are not listed.
    pub more_priorities: usize,
    /// Number of tasks that `oldest_s` and the priorities cover. In a queue of more than 200,000
    /// tasks it is less than `tasks`.
    pub looked_at: usize,
    /// Number of all queued tasks that have requirements on their manager (`cores`, `node` and
    /// others). Only these may wait although a manager has room.
    #[serde(default)]
    pub asking: usize,
    /// Queued tasks that fit no registered manager, grouped by their requirements. If there are
    /// very many groups, those with the most tasks are listed, and the others are combined by what
    /// is lacking. These tasks wait until a new block provides what they need.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
}

impl Queue {
    /// Returns the number of queued tasks that fit no registered manager.
    pub fn unmet_tasks(&self) -> usize {
        self.unmet.iter().map(|unmet| unmet.tasks).sum()
    }
}

/// A group of queued tasks that fit no registered manager, and the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unmet {
    /// Number of tasks in the group.
    pub tasks: usize,
    /// The requirements in words, such as `8 cores, 4000 MB`. For tasks with nearly equal
    /// requirements, those of one task. Empty if the only requirement is an affinity.
    pub needs: String,
    /// The resource or property that no manager has. Further fields give the amounts.
    #[serde(flatten)]
    pub lack: Lack,
}

/// A resource or property that no registered manager has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "lack", rename_all = "lowercase")]
pub enum Lack {
    /// No manager may get tasks at all.
    Managers,
    /// No manager is on a node of the required kind.
    Node,
    /// No manager on a node of the required kind has enough worker slots.
    Slots {
        /// Number of slots that such a task takes on the manager that is nearest to having enough.
        slots_needed: usize,
        /// Number of slots of the manager that is nearest to having enough.
        slots_largest: usize,
    },
    /// No manager with enough slots lasts long enough.
    Time {
        /// Seconds left to the longest-lasting manager with enough slots.
        longest_s: f64,
    },
    /// Tasks of the same affinity run on a manager that cannot hold the task.
    Affinity {
        /// Id of the manager that runs tasks of the same affinity.
        manager: String,
    },
}

impl Lack {
    /// All names that [`Self::name`] returns.
    pub const NAMES: [&'static str; 5] = ["managers", "node", "slots", "time", "affinity"];

    /// Returns the name in JSON, which is also the label of the metric.
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

/// A reservation: one manager gets no other tasks, so that a task with large requirements can
/// start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// Id of the reserved manager.
    pub manager: String,
    /// Requirements of the tasks that the manager is reserved for, in words.
    pub needs: String,
    /// Number of queued tasks that the manager is reserved for.
    pub tasks: usize,
    /// How long the manager has been reserved.
    pub reserved_s: f64,
    /// How long other tasks have been served before the first task that the manager is reserved
    /// for.
    pub passed_s: f64,
}

/// The number of queued tasks with one priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// The priority; lower numbers are served sooner. None stands for tasks without one, which come
    /// last.
    pub priority: Option<f64>,
    /// Number of tasks.
    pub tasks: usize,
}

/// A registered manager: usually one node with its workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manager {
    /// The manager's identity at the worker port. Parsl uses twelve hexadecimal digits.
    pub id: String,
    /// The manager's block, from its registration; usually a number.
    pub block: String,
    /// The name of the manager's node, from its registration.
    pub host: String,
    /// The address from which the manager connects.
    pub address: Option<String>,
    /// Number of tasks that the manager runs at a time.
    pub workers: i64,
    /// Number of tasks that the manager may hold, including prefetched ones.
    pub capacity: usize,
    /// Number of tasks that were dispatched to the manager and have no result yet.
    pub in_flight: usize,
    /// Number of in-flight tasks that are in doubt: they may have been lost with a broken
    /// connection or a killed interchange.
    #[serde(default)]
    pub in_doubt: usize,
    /// Time until the first task in doubt is given up if no result arrives.
    #[serde(default)]
    pub doubt_ends_in_s: Option<f64>,
    /// Number of one-slot tasks that the manager's workers can run at a time.
    #[serde(default)]
    pub slots: usize,
    /// Number of slots that have a task or a share of one. It exceeds `in_flight` if tasks take
    /// several slots.
    #[serde(default)]
    pub busy_slots: usize,
    /// Whether the manager is reserved for a task with large requirements. It gets no other tasks
    /// meanwhile.
    #[serde(default)]
    pub reserved: bool,
    /// Time since the dispatch of the task that the manager has had for longest; None without
    /// tasks.
    pub oldest_task_s: Option<f64>,
    /// Id of the task that the manager has had for longest: Parsl's executor task id.
    pub oldest_task: Option<i64>,
    /// Number of tasks for which the manager returned a result.
    pub tasks_done: u64,
    /// Number of the manager's tasks that raised in a row. Present only if all its tasks fail while
    /// those of other managers do not.
    #[serde(default)]
    pub failing: Option<u64>,
    /// Whether the manager gets no more tasks, for good. Either Parsl is about to cancel its block,
    /// or `top` has held it, or all its tasks fail.
    pub held: bool,
    /// Whether the manager does not take the tasks that were sent to it. It gets no more until it
    /// does.
    #[serde(default)]
    pub clogged: bool,
    /// Whether the manager gets no more tasks because the end of its `drain_period` is near. It
    /// exits after its last task.
    pub draining: bool,
    /// How long the manager has been without a connection; None if it is connected.
    pub suspect_s: Option<f64>,
    /// Whether other managers of the block vanished together and this manager has sent nothing
    /// since. It gets no more tasks until it sends a message.
    #[serde(default)]
    pub awaited: bool,
    /// Time since the manager's last message.
    pub last_heard_s: f64,
    /// How long the manager has been without tasks; None while it has one.
    pub idle_s: Option<f64>,
    /// The manager's Python version, such as `3.11.7`.
    pub python: String,
    /// The manager's Parsl version (`parsl.version.VERSION`).
    pub parsl: String,
}

/// Tasks per second, over two periods that end with the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Rates over the last five seconds.
    pub last_5_s: Rate,
    /// Rates over the last minute.
    pub last_60_s: Rate,
}

/// Tasks per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Tasks that arrived from the submit side.
    pub received: f64,
    /// Tasks that were dispatched to managers.
    pub dispatched: f64,
    /// Tasks that ended with a result of their own.
    pub done: f64,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks accepted from the submit side.
    pub tasks_received: u64,
    /// Tasks refused: a second task under a live id, or a task that arrived after the end.
    pub tasks_rejected: u64,
    /// Number of times that a task was dispatched to a manager.
    pub tasks_dispatched: u64,
    /// Tasks that ended with a result of their own.
    pub tasks_done: u64,
    /// Tasks that failed because their manager was lost.
    pub tasks_lost: u64,
    /// Tasks that failed because they, or their results, could not be read.
    pub tasks_unreadable: u64,
    /// Results that arrived after their task was given up.
    pub late_results: u64,
    /// Registrations of managers, including repeated ones.
    pub managers_registered: u64,
    /// Managers given up after too long a silence, or too long without a connection.
    pub managers_lost: u64,
    /// Lost managers that were held and had no task. Their loss is expected, because Parsl holds
    /// the managers of a block before it cancels the block.
    #[serde(default)]
    pub managers_lost_held: u64,
    /// Managers that exited at the end of their drain, without tasks.
    pub managers_drained: u64,
    /// Number of times that a manager was found to fail all its tasks.
    #[serde(default)]
    pub managers_failing: u64,
    /// Number of times that a registered manager's connection closed.
    pub disconnects: u64,
    /// Mean time from acceptance to dispatch, of all tasks; None before the first dispatch.
    pub queued_mean_s: Option<f64>,
    /// Longest time from acceptance to dispatch.
    pub queued_longest_s: f64,
    /// Mean time from dispatch to result, of all tasks; None before the first result.
    pub in_flight_mean_s: Option<f64>,
    /// Longest time from dispatch to result.
    pub in_flight_longest_s: f64,
}

/// Bytes of messages since the start, without the overhead of ZeroMQ and TCP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes of tasks from the submit side.
    pub tasks_bytes: u64,
    /// Bytes of batches to managers.
    pub batches_bytes: u64,
    /// Bytes of all messages from managers: results, heartbeats, monitoring.
    pub from_managers_bytes: u64,
    /// Bytes of results to the submit side.
    pub results_bytes: u64,
}

/// The messages held in memory, and whether they block tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackPressure {
    /// Bytes of queued tasks, and of results that the executor has not taken.
    pub held_bytes: usize,
    /// Limit for `held_bytes`, above which tasks wait in the submit process (`--max-queued-bytes`).
    pub bound_bytes: usize,
    /// False if no task is taken from the submit side, so that tasks wait there.
    pub takes_tasks: bool,
    /// Bytes of results that the executor has not taken.
    pub unsent_results_bytes: usize,
    /// False if nothing is dispatched, because the executor does not take results.
    pub dispatches: bool,
}

/// The connection to the monitoring hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hub {
    /// The address on which Parsl's monitoring listens.
    pub address: String,
    /// Whether the connection to the hub is open.
    pub answers: bool,
    /// Bytes of records that the hub has not taken yet.
    pub held_bytes: usize,
    /// Number of records dropped because the hub took none.
    pub dropped: u64,
}

/// The port that managers connect to, and its connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerPort {
    /// The port number.
    pub port: u16,
    /// The address that the port is bound to; None for all addresses of the machine.
    pub address: Option<String>,
    /// Open connections, registered or not.
    pub connections: usize,
    /// False if file descriptors are running out, so that no connection is accepted.
    pub lets_in: bool,
    /// Number of refused peers, whose key is not in the certificate directory.
    pub keys_refused: u64,
    /// Number of connections that failed before their first message. For example, the peer uses
    /// encryption and this run does not, or the reverse.
    pub handshakes_failed: u64,
    /// Number of messages that could not be read.
    pub bad_messages: u64,
}

/// A restart: the interchange's process ended, and another process continued with its state
/// (`--survive`). Times and totals since the start cover all processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Number of restarts since the start, including this one.
    pub number: u32,
    /// How the previous process ended, in words: `was killed (SIGKILL), …`.
    pub why: String,
    /// Seconds from the end of the previous process until this process was ready.
    pub down_s: f64,
    /// When this process was ready, in seconds since the epoch.
    pub at_s: f64,
    /// Seconds since this process was ready, by the monotonic clock.
    pub ago_s: f64,
}

/// The interchange's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Resident memory of the process.
    pub resident_bytes: usize,
    /// CPU time of all threads since the process started, user and system.
    pub cpu_s: f64,
    /// Number of open file descriptors, including those kept in reserve.
    pub descriptors: usize,
    /// Maximum number of open file descriptors (`ulimit -n`, raised to the hard limit).
    pub descriptor_limit: usize,
    /// Number of lines that could not be written to the log.
    pub log_lines_dropped: u64,
    /// New location of the log after it was moved, in the system's words: `… (deleted)` if removed.
    #[serde(default)]
    pub log_moved_to: Option<String>,
    /// Number of lines that could not be written to the file of events; None without such a file.
    pub event_lines_dropped: Option<u64>,
}

/// A change of a manager. From `manager` on, the fields equal those in the file of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event, counted from the start of the interchange.
    pub number: u64,
    /// When the event happened, in seconds since the epoch.
    pub at_s: f64,
    /// Seconds since the event, by the monotonic clock.
    #[serde(default)]
    pub ago_s: f64,
    /// The manager's id.
    pub manager: String,
    /// The kind of change: `registered`, `held`, `failing`, `draining`, `drained`, `suspect`,
    /// `awaited`, `back`, `lost`, `gave_up`, `replaced`.
    pub change: String,
    /// Details in words, such as `block 3 on node17, 4 workers`.
    pub detail: String,
    /// Number of tasks that were lost with the manager.
    pub tasks_lost: usize,
    /// For a lost manager: whether it was held before.
    #[serde(default)]
    pub was_held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmet_requirements_name_what_is_lacking() {
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
    fn without_reported_slots_room_is_counted_in_tasks() {
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
