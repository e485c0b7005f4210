//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Largest default window: outstanding tasks cost memory on both sides. It suffices to keep 8,192
/// managers with 32 slots each full.
const WINDOW_MAX: u64 = 2 * 8192 * 32;
/// Smallest default window: below it, a turn of the interchange has too few messages.
const WINDOW_MIN: u64 = 512;

/// Plays the submit side and N managers against an interchange, and checks what it measures.
#[derive(Parser, Debug, Clone)]
#[command(name = "load")]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(long)]
    pub scenario: Scenario,
    /// How many managers connect.
    #[arg(long, default_value_t = 4)]
    pub managers: usize,
    /// Tasks that a manager holds at most (its max_capacity).
    #[arg(long, default_value_t = 16)]
    pub slots: usize,
    /// Tasks that are measured; those that warm up and run out are extra.
    #[arg(long, default_value_t = 100_000)]
    pub tasks: u64,
    /// Size of a task's buffer, at least 16.
    #[arg(long, default_value_t = 1024)]
    pub bytes: usize,
    /// Size of a result's value, at least 16; default 16, in `payload` the same as --bytes.
    #[arg(long)]
    pub result_bytes: Option<usize>,
    /// Everything through CURVE, as HTEX does by default.
    #[arg(long)]
    pub encrypted: bool,
    /// Priorities in the tasks' resource specifications.
    #[arg(long, default_value = "none")]
    pub priorities: Priorities,
    /// Do not check the order of tasks: for a pass-through that knows no priorities.
    #[arg(long)]
    pub unordered: bool,
    /// Most tasks that are outstanding at once; 0 for twice the slots, within 512 and 524,288.
    #[arg(long, default_value_t = 0)]
    pub window: u64,
    /// All contents, priorities and names derive from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long the idle phases of `managers` and `idle` last, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub duration_s: f64,
    /// A manager's heartbeat period, in seconds.
    #[arg(long, default_value_t = 30.0)]
    pub heartbeat_s: f64,
    /// How long nothing may come while something is due, in seconds.
    #[arg(long, default_value_t = 30.0)]
    pub patience_s: f64,
    /// How long after a drain the memory is read again, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub settle_s: f64,
    /// Pins this program and the interchange to one processor, counted from 0.
    #[arg(long)]
    pub pin: Option<usize>,
    /// libzmq's I/O threads on the managers' side.
    #[arg(long, default_value_t = 1)]
    pub io_threads: u32,
    /// The submit side's release of Parsl, for the registrations; without it none is checked.
    #[arg(long, requires = "python_version")]
    pub parsl_version: Option<String>,
    /// The submit side's Python, as x.y.z.
    #[arg(long, requires = "parsl_version")]
    pub python_version: Option<String>,
    /// The interchange, as HTEX would start it.
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A window of outstanding tasks over a few managers.
    Throughput,
    /// One task outstanding, and the same without an interchange in between.
    Latency,
    /// Many managers: all connect at once, then rest, then work.
    Managers,
    /// Everything is queued before the first manager comes, and then drained.
    Backlog,
    /// Large tasks and results of the same size.
    Payload,
    /// Managers that only beat.
    Idle,
    /// From the launch to the first answer.
    Start,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priorities {
    /// The tasks name none.
    None,
    /// One of a thousand, each as likely.
    Random,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Arguments {
    /// Returns the number of tasks that all managers together can hold.
    pub(crate) fn capacity(&self) -> u64 {
        self.managers as u64 * self.slots as u64
    }

    pub(crate) fn window(&self) -> u64 {
        match self.window {
            0 => (2 * self.capacity()).clamp(WINDOW_MIN, WINDOW_MAX),
            window => window,
        }
    }

    pub(crate) fn result_bytes(&self) -> usize {
        let same = if self.scenario == Scenario::Payload {
            self.bytes
        } else {
            super::pattern::BYTES_MIN
        };
        self.result_bytes.unwrap_or(same)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience_s)
    }

    pub(crate) fn heartbeat_period(&self) -> Duration {
        Duration::from_secs_f64(self.heartbeat_s)
    }

    /// Checks the arguments beyond what clap checks.
    ///
    /// # Errors
    /// One line that names the option.
    pub(crate) fn check(&self) -> Result<(), String> {
        let least = super::pattern::BYTES_MIN;
        if self.bytes < least || self.result_bytes() < least {
            return Err(format!(
                "--bytes and --result-bytes must be {least} at least"
            ));
        }
        if self.slots == 0 || (self.managers == 0 && self.needs_managers()) {
            return Err("--managers and --slots must be 1 at least".to_owned());
        }
        Ok(())
    }

    fn needs_managers(&self) -> bool {
        !matches!(self.scenario, Scenario::Idle | Scenario::Start)
    }
}
