//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ColorChoice, CommandFactory, Parser};

use event_loop::WatchTarget;
use submit_side::address::Address;
use submit_side::versions::PythonVersion;
use tools::Tool;

/// The interchange of Parsl's HighThroughputExecutor: the broker between a Parsl program and its
/// workers.
///
/// HTEX starts it, and writes the configuration to its standard input:
/// HighThroughputExecutor(interchange_launch_cmd=["htex-interchange"])
#[derive(Debug, Parser)]
#[command(name = "htex-interchange", version, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, color = colours())]
#[command(subcommand_value_name = "TOOL", subcommand_help_heading = "Tools")]
pub struct Arguments {
    /// The tool to run. Without one, the program is the interchange.
    #[command(subcommand)]
    pub tool: Option<Tool>,

    /// Process to watch: the interchange ends when it ends. With `none` only the submit side's
    /// ports are watched, for launchers that end before the run does. Default: the submit process,
    /// or the process that started the interchange if the submit process cannot be seen.
    #[arg(long, value_name = "PID|none", value_parser = watch_target)]
    pub watch_pid: Option<WatchTarget>,

    /// Python version of the submit side (3.11), which managers are checked against. Default:
    /// detected automatically.
    #[arg(long, value_name = "X.Y")]
    pub python_version: Option<PythonVersion>,

    /// Parsl version of the submit side, which managers must have, too. It is written as in
    /// parsl.version.VERSION: 2026.08.10. Default: detected automatically.
    #[arg(long, value_name = "VERSION")]
    pub parsl_version: Option<String>,

    /// Which program serves a Parsl that is newer than every release that this program was tested
    /// with. serve: this program, with a WARNING and a note in `status`. stock: that Parsl's own
    /// interchange, which replaces this process and gets the same configuration.
    #[arg(long, value_name = "serve|stock", default_value = "serve", value_parser = newer_parsl)]
    pub newer_parsl: NewerParsl,

    /// Threads that move, encrypt and decrypt bytes. One handles about 100,000 small tasks or some
    /// hundred MB of encrypted payload a second; more need processors of their own.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=IO_THREADS_MAX))]
    pub io_threads: u8,

    /// Limit for queued tasks and for results that the executor has not read. Above it no task is
    /// accepted: tasks wait in the submit process. Default: a quarter of what the machine, control
    /// groups and `ulimit -v`, `-d` leave; the log shows it.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_queued_bytes: Option<u64>,

    /// How long a manager whose connection closed may stay away before it is lost and its tasks
    /// fail. Default: the heartbeat threshold, from its last message on.
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds, allow_negative_numbers = true)]
    pub disconnect_grace: Option<Duration>,

    /// How long to wait, after a manager reconnected, for the result of a task that may have been
    /// lost with the old connection. Then the task fails. With `none` the task stays in flight
    /// until its manager ends. Default: the heartbeat threshold, 30 s, or three times the longest
    /// run of any task so far, whichever is longest.
    #[arg(long, value_name = "SECONDS|none", value_parser = patience,
          allow_negative_numbers = true)]
    pub reconnect_patience: Option<PatienceChoice>,

    /// Serve metrics by HTTP at /metrics of this port, in the OpenMetrics format. A port alone is
    /// served to this machine only; 0 is any free port, which the log and `status` show. Any
    /// program that reaches the port can read the metrics. Default: off.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = metrics_address)]
    pub metrics: Option<SocketAddr>,

    /// Write the port of metrics to this file, for programs that look for it; the file exists as
    /// long as the port does. A relative path is below the log's directory. Default: off.
    #[arg(long, value_name = "FILE", requires = "metrics")]
    pub metrics_port_file: Option<PathBuf>,

    /// Write a line of JSON for every state change of a task or a manager. A relative path is below
    /// the log's directory. Lines that the disk cannot keep up with are dropped and counted. If
    /// another interchange writes this file, NAME.LABEL.jsonl beside it is used. Default: off.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// Rotate the events file at this size. Four older files are kept, as FILE.1 (the newest) to
    /// FILE.4. A pipe or a device is not rotated.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20, requires = "events",
          value_parser = clap::value_parser!(u64).range(4096..))]
    pub events_max_bytes: u64,

    /// Refuse to start without status, metrics and events as configured. Without this flag the run
    /// continues, and a WARNING and `status` show what it lacks.
    #[arg(long)]
    pub strict: bool,

    /// Cores of each worker, HTEX's `cores_per_worker`: a task that asks for more takes several
    /// slots. The package's executor sets it. Default: a manager's cores divided by its workers.
    #[arg(long, value_name = "N", value_parser = above_zero, allow_negative_numbers = true)]
    pub cores_per_worker: Option<f64>,

    /// Memory of each worker in MB of 2^20 bytes, HTEX's `mem_per_worker` times 1,024. The
    /// package's executor sets it. Default: a manager's memory divided by its workers.
    #[arg(long, value_name = "MB", value_parser = above_zero, allow_negative_numbers = true)]
    pub memory_per_worker_mb: Option<f64>,

    /// How long after its start the batch system ends a manager that has no drain time. Tasks with
    /// a `running_time_min` go only to managers with enough time left. The package's executor sets
    /// the walltime of its provider. Default: never.
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds, allow_negative_numbers = true)]
    pub walltime_s: Option<Duration>,

    /// What a task's `task_type` means where the task has no `routing`. soft: managers that have
    /// run the type are preferred. hard: also, a manager holds tasks of one type at a time.
    #[arg(long, value_name = "soft|hard", default_value = "soft", value_parser = routing)]
    pub task_type_routing: RoutingChoice,

    /// Hold a manager that fails all its tasks, faster than other managers complete theirs, while
    /// those do not fail. A held manager gets no more tasks. Without this flag such a manager is
    /// only reported.
    #[arg(long)]
    pub hold_failing_managers: bool,

    /// Continue in another process, with all tasks and managers, when this process is killed or
    /// stops on an internal error. Only the executor of the Python package htex_interchange
    /// supports this, and sets the flag with `survive=True`; with any other executor the flag has
    /// no effect.
    #[arg(long)]
    pub survive: bool,

    /// Never send a manager more tasks than its capacity. Without this flag, a manager gets a
    /// replacement for each task that may have been lost when an interchange was killed
    /// (`--survive`). For MPI, whose scheduler loses results when it has two more tasks than
    /// workers.
    #[arg(long)]
    pub exact_capacity: bool,

    /// With --version: also print the commit, target and compiler of the build, and the versions of
    /// the libraries inside, one `name: value` on a line.
    #[arg(long, requires = "version")]
    pub verbose: bool,

    /// Whether an endpoint of Globus Compute has started this program by the name of its own
    /// command.
    #[arg(skip)]
    pub is_of_endpoint: bool,
}

impl Arguments {
    /// Returns the arguments for an endpoint's engine, which passes none: all have their defaults.
    #[must_use]
    pub fn of_endpoint() -> Self {
        Self {
            is_of_endpoint: true,
            ..Self::parse_from([env!("CARGO_PKG_NAME")])
        }
    }
}

/// How long to wait for the results of tasks that may have been lost with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatienceChoice {
    /// This long after the manager's return.
    Seconds(Duration),
    /// Until the manager itself ends.
    Endless,
}

/// The program that serves a Parsl that is newer than the tested releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewerParsl {
    /// This program, with a warning.
    Serve,
    /// The interchange of that Parsl.
    Stock,
}

/// The effect of a task's type on the choice of managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutingChoice {
    /// Managers that have run the type are preferred.
    Soft,
    /// Managers that have run the type are preferred, and each holds tasks of one type at a time.
    Hard,
}

/// Largest number of I/O threads. More threads would only wait, because a single thread processes
/// all messages.
const IO_THREADS_MAX: i64 = 16;

const AFTER_HELP: &str = "Exit status: 0 ended by SIGTERM, or after the end of the submit side; 1 \
    refused to start, with the reason on stderr, in the log and in parsl.load(); 2 wrong \
    arguments, or started by hand; 3 a manager has other versions of Python or Parsl; 70 an \
    internal error.";

const BY_HAND: &str = "\
htex-interchange brokers tasks between a Parsl program and its workers.
Parsl starts it; do not start it by hand:
    HighThroughputExecutor(interchange_launch_cmd=[\"htex-interchange\"])
These tools are for use by hand; each has --help:
";

/// Disables colours on a dumb terminal, even where clap would enable them for a CI.
fn colours() -> ColorChoice {
    match tools::is_dumb() {
        true => ColorChoice::Never,
        false => ColorChoice::Auto,
    }
}

/// Returns the text for a user who starts the program on a terminal.
pub fn by_hand() -> String {
    let mut text = BY_HAND.to_owned();
    for tool in Arguments::command().get_subcommands() {
        let about = tool.get_about().unwrap_or_default();
        text += &format!("    htex-interchange {:<13} {about}\n", tool.get_name());
    }
    text
}

/// The expected form of a value. clap adds the value and the option's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BadValue {
    #[error("a number of seconds above 0")]
    Seconds,
    #[error("a number of seconds above 0, or none")]
    SecondsOrNone,
    #[error("a port, or an address and a port as 0.0.0.0:9464 or [::]:9464")]
    MetricsAddress,
    #[error("a process id, or none")]
    WatchTarget,
    #[error("a number above 0")]
    AboveZero,
    #[error("soft or hard")]
    Routing,
    #[error("serve or stock")]
    NewerParsl,
}

fn some_seconds(text: &str) -> Result<Duration, BadValue> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or(BadValue::Seconds)
}

fn metrics_address(text: &str) -> Result<SocketAddr, BadValue> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    // IPv6 must be in brackets, so that the end of the address is visible.
    let (host, port) = text.rsplit_once(':').ok_or(BadValue::MetricsAddress)?;
    let address: Address = host.parse().map_err(|_| BadValue::MetricsAddress)?;
    let port = port.parse().map_err(|_| BadValue::MetricsAddress)?;
    let is_shown_so = address.ip().is_ipv4() || host.starts_with('[') && host.ends_with(']');
    let place = address.at(port).ok().filter(|_| is_shown_so);
    place.ok_or(BadValue::MetricsAddress)
}

fn patience(text: &str) -> Result<PatienceChoice, BadValue> {
    match text {
        "none" => Ok(PatienceChoice::Endless),
        _ => some_seconds(text)
            .map(PatienceChoice::Seconds)
            .map_err(|_| BadValue::SecondsOrNone),
    }
}

fn newer_parsl(text: &str) -> Result<NewerParsl, BadValue> {
    match text {
        "serve" => Ok(NewerParsl::Serve),
        "stock" => Ok(NewerParsl::Stock),
        _ => Err(BadValue::NewerParsl),
    }
}

fn above_zero(text: &str) -> Result<f64, BadValue> {
    let number = text.parse().ok();
    number
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or(BadValue::AboveZero)
}

fn routing(text: &str) -> Result<RoutingChoice, BadValue> {
    match text {
        "soft" => Ok(RoutingChoice::Soft),
        "hard" => Ok(RoutingChoice::Hard),
        _ => Err(BadValue::Routing),
    }
}

fn watch_target(text: &str) -> Result<WatchTarget, BadValue> {
    if text == "none" {
        return Ok(WatchTarget::Nobody);
    }
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(WatchTarget::Process(pid)),
        _ => Err(BadValue::WatchTarget),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn io_threads_are_a_few() {
        let parsed = |text| Arguments::try_parse_from(["htex-interchange", "--io-threads", text]);
        assert_eq!(
            parsed("4").map(|arguments| arguments.io_threads).ok(),
            Some(4)
        );
        assert!(parsed("0").is_err());
        assert!(parsed("17").is_err());
        assert!(parsed("many").is_err());
    }

    #[test]
    fn a_grace_is_a_time_above_zero() {
        let parsed = |text| {
            Arguments::try_parse_from(["htex-interchange", "--disconnect-grace", text])
                .map(|arguments| arguments.disconnect_grace)
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed("2.5"), Ok(Some(Duration::from_millis(2500))));
        for bad in ["0", "-1", "nan", "inf", "1e300", "1e-12", "soon", ""] {
            let error = parsed(bad).expect_err(bad);
            assert!(error.contains("seconds above 0"), "{error}");
        }
        assert_eq!(
            Arguments::parse_from(["htex-interchange"]).disconnect_grace,
            None
        );
    }

    #[test]
    fn metrics_are_local_unless_an_address_is_given() {
        let parsed = |text| metrics_address(text).map(|address| address.to_string());
        assert_eq!(parsed("9464"), Ok("127.0.0.1:9464".to_owned()));
        assert_eq!(parsed("0.0.0.0:9464"), Ok("0.0.0.0:9464".to_owned()));
        assert_eq!(parsed("[::1]:0"), Ok("[::1]:0".to_owned()));
        assert_eq!(parsed("[::1%lo]:9464"), parsed("[::1%1]:9464"));
        assert!(parsed("[::1%lo]:9464").is_ok());
        for bad in [
            "",
            "localhost",
            "70000",
            "1.2.3.4",
            ":9464",
            "::1:9464",
            "[fe80::1%nowhere0]:9464",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_patience_is_a_time_above_zero_or_none() {
        let parsed = |text| {
            Arguments::try_parse_from(["htex-interchange", "--reconnect-patience", text])
                .map(|arguments| arguments.reconnect_patience)
                .map_err(|error| error.to_string())
        };
        let time = Duration::from_millis(2500);
        assert_eq!(parsed("2.5"), Ok(Some(PatienceChoice::Seconds(time))));
        assert_eq!(parsed("none"), Ok(Some(PatienceChoice::Endless)));
        for bad in ["0", "-1", "inf", "None", "never", ""] {
            let error = parsed(bad).expect_err(bad);
            assert!(error.contains("seconds above 0, or none"), "{error}");
        }
        let arguments = Arguments::parse_from(["htex-interchange"]);
        assert_eq!(arguments.reconnect_patience, None);
    }

    #[test]
    fn a_share_of_a_node_is_above_zero() {
        let parsed = |flag: &str, text: &str| {
            Arguments::try_parse_from(["htex-interchange", &format!("{flag}={text}")])
                .map(|arguments| (arguments.cores_per_worker, arguments.memory_per_worker_mb))
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed("--cores-per-worker", "0.1"), Ok((Some(0.1), None)));
        // The value is written as Python writes floats.
        assert_eq!(
            parsed("--memory-per-worker-mb", "1e+16"),
            Ok((None, Some(1e16)))
        );
        for flag in ["--cores-per-worker", "--memory-per-worker-mb"] {
            for bad in ["0", "-1", "nan", "inf", "1e999", "None", ""] {
                let error = parsed(flag, bad).expect_err(bad);
                assert!(
                    error.contains(flag) && error.contains("a number above 0"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_walltime_is_a_time_above_zero() {
        let parsed = |text: &str| {
            Arguments::try_parse_from(["htex-interchange", "--walltime-s", text])
                .map(|arguments| arguments.walltime_s)
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed("36000"), Ok(Some(Duration::from_secs(36000))));
        for bad in ["0", "-1", "10:00:00", "inf", ""] {
            let error = parsed(bad).expect_err(bad);
            assert!(error.contains("seconds above 0"), "{error}");
        }
    }

    #[test]
    fn a_routing_is_soft_unless_it_is_hard() {
        let parsed = |rest: &[&str]| {
            let words = ["htex-interchange"].iter().chain(rest);
            Arguments::try_parse_from(words)
                .map(|arguments| arguments.task_type_routing)
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed(&[]), Ok(RoutingChoice::Soft));
        assert_eq!(
            parsed(&["--task-type-routing=soft"]),
            Ok(RoutingChoice::Soft)
        );
        assert_eq!(
            parsed(&["--task-type-routing", "hard"]),
            Ok(RoutingChoice::Hard)
        );
        for bad in ["Hard", "none", ""] {
            let error = parsed(&["--task-type-routing", bad]).expect_err(bad);
            assert!(error.contains("soft or hard"), "{error}");
        }
    }

    #[test]
    fn failing_managers_are_held_only_with_the_flag() {
        let parsed = |rest: &[&str]| {
            let words = ["htex-interchange"].iter().chain(rest);
            Arguments::parse_from(words).hold_failing_managers
        };
        assert!(!parsed(&[]));
        assert!(parsed(&["--hold-failing-managers"]));
    }

    #[test]
    fn a_watch_target_is_a_process_or_none() {
        assert_eq!(watch_target("none"), Ok(WatchTarget::Nobody));
        assert_eq!(watch_target("17"), Ok(WatchTarget::Process(17)));
        assert!(watch_target("0").is_err());
        assert!(watch_target("-1").is_err());
        assert!(watch_target("self").is_err());
    }
}
