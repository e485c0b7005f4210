//! The program: command line, then configuration, then log, then the loop.

mod observing;

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{env, io, panic};

use clap::{CommandFactory, Parser};
use tracing::{error, info, warn};

use broker::{BlockIdSelector, Patience, RandomSelector, Selector, Settings, Versions};
use event_loop::{
    self as sockets, End, EventLoop, EventSink, Helper, HelperCommand, Observing, Signals, Start,
    Starter, WatchTarget,
};
use htex_interchange::cli::{Arguments, PatienceChoice, by_hand};
use interchange::FindVersions;
use logging::{self, LogGuard, LogSpec};
use submit_side::config::{
    self, Config, Logging, LoggingKind, RawConfig, SelectorChoice, SubmitSide,
};
use submit_side::curve::Certificates;
use submit_side::versions::{self, Hints, Search, SubmitVersions};
use tools;

use observing::Events;

const REFUSED: u8 = 1;
const BY_HAND_STATUS: u8 = 2;
const VERSION_MISMATCH: u8 = 3;
const BROKEN: u8 = 70;

/// SIGTERM is answered within 50 ms, and a backlog of log lines has this much of it. The last few
/// have as long as at any other end, if the disk is busy.
const FLUSH_ON_SIGTERM: Duration = Duration::from_millis(30);
/// HTEX writes its configuration right after it has started us.
const CONFIGURED_WITHIN: Duration = Duration::from_secs(2);
/// The search for versions may run an interpreter, and gives up by itself before this.
const VERSIONS_WITHIN: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    // First of all: later the parent may be another.
    let starter = Starter::read();
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse_arguments(&error),
    };
    if let Some(tool) = arguments.tool.take() {
        return tools::run(tool, Arguments::command());
    }
    if io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "{}", by_hand());
        return ExitCode::from(BY_HAND_STATUS);
    }
    if let Err(error) = Signals::until_configured() {
        return refuse(&format!("signals cannot be handled: {error}"), None, None);
    }
    let bytes = match config::read_pickle(io::stdin().lock()) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(&error.to_string(), None, None),
    };
    // Before the first thread, which inherits the mask.
    let signals = match Signals::open() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be handled: {error}"), None, None),
    };
    match RawConfig::read(&bytes) {
        Ok(raw) => start(&arguments, &raw, signals, starter),
        Err(error) => refuse(&error.to_string(), None, None),
    }
}

/// Whoever types wrong arguments reads it on stderr. HTEX has sent its configuration by then, and
/// is told as it is of any other start that is refused.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let status = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BY_HAND_STATUS));
    let first = env::args().nth(1).unwrap_or_default();
    let is_tool = Arguments::command().find_subcommand(first).is_some();
    let is_by_hand = is_tool || io::stdin().is_terminal();
    if !error.use_stderr()
        || is_by_hand
        || !sockets::is_readable_within(io::stdin(), CONFIGURED_WITHIN)
        || Signals::until_configured().is_err()
    {
        return status;
    }
    let Ok(bytes) = config::read_pickle(io::stdin().lock()) else {
        return status;
    };
    let line = refusal(&format!("wrong arguments: {}", tools::in_one_line(error)));
    if let Ok(raw) = RawConfig::read(&bytes) {
        let log = raw
            .logging()
            .ok()
            .and_then(|logging| start_log(&logging).ok());
        error!("{line}");
        tell_submit_side(&line, raw.submit_side().ok().as_ref());
        if let Some(log) = log {
            log.flush_for(logging::EXIT_FLUSH);
        }
    }
    status
}

/// From here there is a log, and the executor can be told what is wrong.
fn start(
    arguments: &Arguments,
    raw: &RawConfig<'_>,
    signals: Signals,
    starter: Starter,
) -> ExitCode {
    let side = raw.submit_side().ok();
    let log = match raw
        .logging()
        .map_err(|error| error.to_string())
        .and_then(|l| start_log(&l))
    {
        Ok(log) => log,
        Err(reason) => return refuse(&reason, side.as_ref(), None),
    };
    panic::set_hook(Box::new(|panic| {
        error!("A fault of htex-interchange itself: {panic}");
        let _ = writeln!(
            io::stderr(),
            "htex-interchange: a fault of its own: {panic}"
        );
    }));
    let config = match raw.check() {
        Ok(config) => config,
        Err(error) => return refuse(&error.to_string(), side.as_ref(), Some(log)),
    };
    log_config(&config);
    let certificates = match load_certificates(&config.submit_side) {
        Ok(certificates) => certificates,
        Err(reason) => return refuse(&reason, None, Some(log)),
    };
    raise_descriptor_limit();
    let helper = match helper_of(&config.selector, hints(arguments, starter.parent), raw) {
        Ok(helper) => helper,
        Err(reason) => return refuse(&reason, side.as_ref(), Some(log)),
    };
    let watch = arguments.watch_pid.unwrap_or(WatchTarget::Parent);
    let about = observing::about(&config, watch.pid(starter.parent));
    let events = match observing::events(arguments, &about, &config.logging.logdir) {
        Ok(events) => events.map(Rc::new),
        Err(reason) => return refuse(&reason, side.as_ref(), Some(log)),
    };
    let opened = EventLoop::open(Start {
        config: &config,
        certificates,
        signals,
        io_threads: arguments.io_threads,
        max_queued_bytes: arguments
            .max_queued_bytes
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        watch,
        find_versions: version_finder(hints(arguments, starter.parent)),
        starter,
        selector: selector_of(&config.selector),
        helper,
        settings: settings_of(&config, arguments),
        observing: Observing {
            about,
            log_lines_dropped: log.dropped_counter(),
            metrics_at: arguments.metrics,
            events: events.clone().map(|events| events as Rc<dyn EventSink>),
        },
    });
    let end = match opened {
        Ok(event_loop) => event_loop.run(),
        Err(reason) => return refuse(&reason, side.as_ref(), Some(log)),
    };
    exit(end, &log, events.as_deref())
}

/// Ends the process without running what libraries have registered for its end: libzmq's threads
/// may still be at work.
fn exit(end: End, log: &LogGuard, events: Option<&Events>) -> ExitCode {
    let (status, patience, why) = match end {
        End::Terminated => (0, FLUSH_ON_SIGTERM, "told to end"),
        End::SubmitSideGone => (0, logging::EXIT_FLUSH, "submit side gone"),
        End::VersionMismatch => (VERSION_MISMATCH, logging::EXIT_FLUSH, "version mismatch"),
        End::Broken => (BROKEN, logging::EXIT_FLUSH, "a fault of its own"),
    };
    let begin = Instant::now();
    // Its writer is at work while we wait for the log's.
    let events = events.inspect(|events| events.end(why));
    log.flush_last_lines(patience, logging::EXIT_FLUSH);
    if let Some(events) = events {
        let left = |limit: Duration| limit.saturating_sub(begin.elapsed());
        events.flush_last_lines(left(patience), left(logging::EXIT_FLUSH));
    }
    exit_at_once(status)
}

fn exit_at_once(status: u8) -> ! {
    // SAFETY: _exit has no preconditions, and does not return.
    unsafe { nix::libc::_exit(status.into()) }
}

/// A start that fails: one line on stderr and in the log, and an exception in `parsl.load()`.
fn refuse(reason: &str, side: Option<&SubmitSide>, log: Option<LogGuard>) -> ExitCode {
    let line = refusal(reason);
    let _ = writeln!(io::stderr(), "{line}");
    error!("{line}");
    tell_submit_side(&line, side);
    if let Some(log) = log {
        log.flush_for(logging::EXIT_FLUSH);
    }
    exit_at_once(REFUSED)
}

fn refusal(reason: &str) -> String {
    format!("htex-interchange refused to start: {reason}")
}

fn tell_submit_side(line: &str, side: Option<&SubmitSide>) {
    let Some(side) = side else {
        return;
    };
    match load_certificates(side) {
        Ok(certificates) => match sockets::refuse(side, certificates.as_ref(), line) {
            Ok(true) => info!("The submit side was told"),
            Ok(false) => warn!("The submit side did not ask, and was not told"),
            Err(error) => warn!("The submit side could not be told: {error}"),
        },
        Err(reason) => warn!("The submit side could not be told: {reason}"),
    }
}

fn load_certificates(side: &SubmitSide) -> Result<Option<Certificates>, String> {
    let certificates = side.cert_dir.as_deref().map(Certificates::load).transpose();
    certificates.map_err(|error| format!("the certificates cannot be used: {error}"))
}

/// The log as the config asks for it. A log configuration that only Python could run, or a format
/// that it could not, costs its look and nothing else.
fn start_log(wanted: &Logging) -> Result<LogGuard, String> {
    let logdir = &wanted.logdir;
    let mut warning = None;
    let spec = match &wanted.kind {
        LoggingKind::Default { level } => LogSpec::parsl_file(logdir, *level),
        LoggingKind::File {
            format: None,
            level,
        } => LogSpec::parsl_file(logdir, *level),
        LoggingKind::File {
            format: Some(format),
            level,
        } => LogSpec::file_logging(logdir, format, *level).unwrap_or_else(|error| {
            warning = Some(format!("Parsl's own line format is used: {error}"));
            LogSpec::parsl_file(logdir, *level)
        }),
        LoggingKind::Json { level } => LogSpec::json_logging(logdir, *level),
        LoggingKind::Noop => LogSpec::noop(),
        LoggingKind::Unknown { class, level } => {
            warning = Some(format!(
                "The log configuration {class} can only be run by Python; the default log is used"
            ));
            LogSpec::parsl_file(logdir, *level)
        }
    };
    let log = logging::start(&spec)
        .map_err(|error| format!("the log in {} cannot be opened: {error}", logdir.display()))?;
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    Ok(log)
}

fn log_config(config: &Config) {
    let host = observing::host();
    info!(
        "htex-interchange {} starts on {host}",
        env!("CARGO_PKG_VERSION")
    );
    if !config.unknown_keys.is_empty() {
        info!(
            "Ignoring unknown keys of the configuration: {}",
            config.unknown_keys.join(", ")
        );
    }
    let encryption = if config.submit_side.cert_dir.is_some() {
        "CURVE"
    } else {
        "none"
    };
    info!(
        "Encryption: {encryption}. Heartbeat threshold: {} s. Selector: {:?}. Monitoring: {}",
        config.heartbeat_threshold.as_secs_f64(),
        config.selector,
        config.hub.is_some()
    );
}

fn selector_of(choice: &SelectorChoice) -> Box<dyn Selector> {
    match choice {
        SelectorChoice::BlockId => Box::new(BlockIdSelector::default()),
        SelectorChoice::Random | SelectorChoice::User(_) => {
            Box::new(RandomSelector::new(rand::random()))
        }
    }
}

/// A selector of the user's own is run by the submit side's Python.
fn helper_of(
    choice: &SelectorChoice,
    hints: Hints,
    raw: &RawConfig<'_>,
) -> Result<Option<Helper>, String> {
    let SelectorChoice::User(class) = choice else {
        return Ok(None);
    };
    let trouble = |reason: String| format!("the manager selector {class} cannot be used: {reason}");
    let python = versions::python(&hints)
        .ok_or_else(|| trouble("there is no Python to run it with".to_owned()))?;
    info!(
        "The manager selector {class} is run by {}",
        python.display()
    );
    let config = raw.bytes().to_vec();
    let helper = Helper::start(HelperCommand { python, config });
    helper.map(Some).map_err(trouble)
}

fn settings_of(config: &Config, arguments: &Arguments) -> Settings {
    Settings {
        heartbeat_threshold: config.heartbeat_threshold,
        disconnect_grace: arguments.disconnect_grace,
        reconnect_patience: match arguments.reconnect_patience {
            None => Patience::Measured,
            Some(PatienceChoice::Seconds(patience)) => Patience::Fixed(patience),
            Some(PatienceChoice::Endless) => Patience::Endless,
        },
        version_check: config.version_check,
        monitoring: config.hub.is_some(),
        happenings: arguments.events.is_some(),
        worker_port: 0,
    }
}

fn hints(arguments: &Arguments, parent: Option<rustix::process::Pid>) -> Hints {
    Hints {
        python_flag: arguments.python_version,
        parsl_flag: arguments.parsl_version.clone(),
        parent_pid: parent.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()),
        path: env::var_os("PATH").unwrap_or_else(|| OsStr::new("").to_owned()),
        own_exe: env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
    }
}

fn version_finder(hints: Hints) -> FindVersions {
    Box::new(move || {
        let found = Search::start(hints)
            .ok()
            .and_then(|search| search.wait(VERSIONS_WITHIN));
        let found: SubmitVersions = found.unwrap_or_default();
        if let Some(python) = &found.python {
            info!(
                "The submit side has Python {}, by {}",
                python.version, python.source
            );
        }
        if let Some(parsl) = &found.parsl {
            info!(
                "The submit side has Parsl {}, by {}",
                parsl.version, parsl.source
            );
        }
        Versions {
            python: found.python.map(|known| known.version.to_string()),
            parsl: found.parsl.map(|known| known.version),
        }
    })
}

/// Each manager costs a descriptor; the soft limit is often 1,024 where the hard one is far higher.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) => info!("Up to {limit} descriptors may be open"),
        Err(error) => warn!("The limit of open descriptors could not be raised: {error}"),
    }
}
