//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Largest default window: outstanding tasks cost memory on both sides. It suffices to keep 8,192
/// managers with 32 slots each full.
const WINDOW_MAX: u64 = 2 * 8192 * 32;
/// Smallest default window: below it, a turn of the interchange has too few messages.
const WINDOW_MIN: u64 = 512;

/// Simulates the submit side and N managers of an interchange, measures it, and checks its answers.
#[derive(Parser, Debug, Clone)]
#[command(name = "load")]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(long)]
    pub scenario: Scenario,
    /// Number of managers.
    #[arg(long, default_value_t = 4)]
    pub managers: usize,
    /// Largest number of tasks that a manager holds (its max_capacity).
    #[arg(long, default_value_t = 16)]
    pub slots: usize,
    /// Number of measured tasks. Tasks before and after the measurement are extra.
    #[arg(long, default_value_t = 100_000)]
    pub tasks: u64,
    /// Size of a task's buffer in bytes, at least 16.
    #[arg(long, default_value_t = 1024)]
    pub bytes: usize,
    /// Size of a result's value in bytes, at least 16. Default: 16; in `payload`, that of --bytes.
    #[arg(long)]
    pub result_bytes: Option<usize>,
    /// Encrypt all connections with CURVE, as HTEX does by default.
    #[arg(long)]
    pub encrypted: bool,
    /// Priorities in the tasks' resource specifications.
    #[arg(long, default_value = "none")]
    pub priorities: Priorities,
    /// Do not check the order of tasks, for a pass-through program without priorities.
    #[arg(long)]
    pub unordered: bool,
    /// Largest number of outstanding tasks. 0: twice the number of slots, but 512 to 524,288.
    #[arg(long, default_value_t = 0)]
    pub window: u64,
    /// Seed for all contents, priorities and names.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Length of the idle phases of `managers` and `idle`, or of a whole `soak`, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub duration_s: f64,
    /// A manager's heartbeat period, in seconds.
    #[arg(long, default_value_t = 30.0)]
    pub heartbeat_s: f64,
    /// Length of one sample of `soak`, in seconds.
    #[arg(long, default_value_t = 10.0)]
    pub sample_s: f64,
    /// Directory of the interchange's log, which is kept. Default: a temporary directory.
    #[arg(long)]
    pub log_dir: Option<PathBuf>,
    /// Seconds to wait for an expected message before the run fails.
    #[arg(long, default_value_t = 30.0)]
    pub patience_s: f64,
    /// Seconds from the last result of `backlog` to the second measurement of memory.
    #[arg(long, default_value_t = 5.0)]
    pub settle_s: f64,
    /// Pin this program and the interchange to this processor, counted from 0.
    #[arg(long)]
    pub pin: Option<usize>,
    /// Number of libzmq's I/O threads for the managers.
    #[arg(long, default_value_t = 1)]
    pub io_threads: u32,
    /// The submit side's Parsl release, for the registrations. Default: no version check.
    #[arg(long, requires = "python_version")]
    pub parsl_version: Option<String>,
    /// The submit side's Python, as x.y.z.
    #[arg(long, requires = "parsl_version")]
    pub python_version: Option<String>,
    /// The command that starts the interchange, as HTEX uses it.
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A few managers, with a limited number of outstanding tasks.
    Throughput,
    /// One outstanding task at a time, and the same without an interchange in between.
    Latency,
    /// Many managers: all connect at once, then are idle, then work.
    Managers,
    /// All tasks are queued before the first manager connects, and then dispatched.
    Backlog,
    /// Large tasks and results of the same size.
    Payload,
    /// Managers that only send heartbeats.
    Idle,
    /// Time from the launch to the first answer.
    Start,
    /// Managers that connect and leave, for --duration-s. Every --sample-s, standard error gets a
    /// sample of all figures that could grow.
    Soak,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priorities {
    /// Tasks without priorities.
    None,
    /// Each task has a random priority, one of 1,000.
    Random,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Arguments {
    pub(crate) fn is_soak(&self) -> bool {
        self.scenario == Scenario::Soak
    }

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

    /// The interchange's heartbeat threshold. A longer heartbeat period would lose every manager.
    pub(crate) fn heartbeat_threshold(&self) -> Duration {
        // Managers that die in a soak are lost soon.
        Duration::from_secs(if self.is_soak() { 10 } else { 120 })
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
                "--bytes and --result-bytes must be at least {least}"
            ));
        }
        if self.slots == 0 || (self.managers == 0 && self.needs_managers()) {
            return Err("--managers and --slots must be at least 1".to_owned());
        }
        Ok(())
    }

    fn needs_managers(&self) -> bool {
        !matches!(self.scenario, Scenario::Idle | Scenario::Start)
    }
}
