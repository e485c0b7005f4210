//! The steps from a configuration to a running event loop.

use std::env;
use std::io::{self, Write};
use std::panic;
use std::rc::Rc;

use tracing::info;

use broker::{Patience, Placement, Settings};
use event_loop::{
    Ancestry, End, EventLoop, EventSink, KEEPER_GONE, OnFailure, SideServiceError, Signals, Start,
    Telemetry, WatchTarget, WatchedProcess,
};
use htex_interchange::cli::{Arguments, PatienceChoice, RoutingChoice};
use journal::Memory;
use keeper::{Kept, Notes};
use logging::LogGuard;
use protocol::Routing;
use status::document::About;
use submit_side::config::{Config, RawConfig};

use super::exit::exit;
use super::last_words;
use super::log::{log_config, start_log};
use super::newer_parsl::hand_over_if_newer;
use super::refusal::{RefusedStart, load_certificates, refuse};
use super::selector::{helper_of, selector_of};
use super::survive::{self, Began};
use super::telemetry::{self, Events};
use super::versions::{awaits_observations, hints, version_finder};

/// The resources that a process has before the configuration is read.
pub(crate) struct Own {
    pub(crate) signals: Signals,
    /// The keeper, or why there is none.
    pub(crate) kept: io::Result<Kept>,
    pub(crate) ancestry: Ancestry,
    pub(crate) began: Began,
    /// The memory that outlives a broker, or why there is none; None without `--survive`.
    pub(crate) memory: Option<io::Result<Memory>>,
}

/// Runs the event loop to its end. From here on there is a log, and errors can be reported to the
/// executor.
pub(crate) fn start(arguments: &Arguments, (config, raw): (&[u8], RawConfig<'_>), own: Own) -> ! {
    let (signals, kept, ancestry) = (own.signals, own.kept, own.ancestry);
    let side = raw.submit_side().ok();
    let log = open_log(&raw);
    hand_over_if_newer(
        arguments,
        config,
        &ancestry,
        kept.as_ref().ok(),
        side.as_ref(),
        log.as_ref().ok(),
    );
    let log = log.unwrap_or_else(|reason| refuse(&reason, side.as_ref(), None));
    let refused = |reason: RefusedStart| -> ! { refuse(&reason, side.as_ref(), Some(&log)) };
    log_our_faults();
    let config = raw.check().unwrap_or_else(|error| refused(error.into()));
    log_config(&config);
    let kept = told(kept);
    let memory = survive::settled(own.memory, &config.submit_side, kept.as_ref());
    if arguments.is_of_endpoint {
        log_shim();
    }
    // Without certificates the executor cannot be notified of this error either.
    let certificates = load_certificates(&config.submit_side)
        .unwrap_or_else(|error| refuse(&error.into(), None, Some(&log)));
    raise_descriptor_limit();
    let watching = |target| WatchedProcess::of(target, &ancestry, &config.submit_side);
    let starter = watching(WatchTarget::Starter);
    let watched = arguments.watch_pid.map_or(starter, watching);
    let helper = helper_of(&config.selector, hints(arguments, starter.pid()), &raw)
        .unwrap_or_else(|error| refused(error.into()));
    // The user's selector may be large, so its pickle is not kept during the run.
    drop(raw);
    let about = telemetry::about(&config, watched.pid(), own.began.wall_s);
    let (events, telemetry) =
        telemetry_of(arguments, &config, &log, about).unwrap_or_else(|error| refused(error.into()));
    let notes = kept.as_ref().map(|kept| kept.notes().clone());
    let event_loop = EventLoop::open(Start {
        config: &config,
        certificates,
        signals,
        kept,
        began: own.began.at,
        memory,
        io_threads: arguments.io_threads,
        max_queued_bytes: arguments
            .max_queued_bytes
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        watched,
        find_versions: version_finder(hints(arguments, starter.pid())),
        awaits_observations: awaits_observations(hints(arguments, starter.pid())),
        selector: selector_of(&config.selector),
        helper,
        settings: settings_of(&config, arguments, events.is_some()),
        telemetry,
    })
    .unwrap_or_else(|error| refused(error.into()));
    serve(
        event_loop,
        (&config, notes.as_deref(), watched),
        &log,
        events.as_deref(),
    )
}

/// Reports a restart if there was one, runs the loop, and ends the process.
fn serve(
    event_loop: EventLoop,
    (config, notes, watched): (&Config, Option<&Notes>, WatchedProcess),
    log: &LogGuard,
    events: Option<&Events>,
) -> ! {
    if let Some(restart) = event_loop.restart() {
        survive::tell(restart);
        if let Some(events) = events {
            events.tell(restart);
        }
    }
    let end = event_loop.run();
    if let (End::KeeperGone, Some(notes)) = (end, notes) {
        last_words::tell(config, notes, KEEPER_GONE, watched, None);
    }
    exit(end, log, events)
}

/// Logs the process ids of the keeper and this process, or why there is no keeper.
fn told(kept: io::Result<Kept>) -> Option<Kept> {
    match kept {
        Ok(kept) => {
            info!(
                "Process {} is the keeper: if this process is killed, it notifies the executor and \
                 the managers",
                kept.keeper()
            );
            Some(kept)
        }
        Err(error) => {
            codes::log!(
                KEEPER_UNAVAILABLE,
                "Running without a keeper: if this process is killed, the executor is not \
                 notified: {error}"
            );
            None
        }
    }
}

/// Logs the path of this program, which an endpoint of Globus Compute has found by the name of its
/// own command.
fn log_shim() {
    let own = env::current_exe().unwrap_or_default();
    info!(
        "Started by an endpoint of Globus Compute, which found a shim for {} on PATH",
        own.display()
    );
}

fn open_log(raw: &RawConfig<'_>) -> Result<LogGuard, RefusedStart> {
    Ok(start_log(&raw.logging()?)?)
}

/// Logs every panic of this program, even if it is caught.
fn log_our_faults() {
    panic::set_hook(Box::new(|panic| {
        codes::log!(INTERNAL_ERROR, "Internal error: {panic}");
        let _ = writeln!(io::stderr(), "htex-interchange: internal error: {panic}");
    }));
}

/// Opens the events file if requested, and collects everything that is reported to the outside.
fn telemetry_of(
    arguments: &Arguments,
    config: &Config,
    log: &LogGuard,
    about: About,
) -> Result<(Option<Rc<Events>>, Telemetry), SideServiceError> {
    let logdir = &config.logging.logdir;
    let on_failure = match arguments.strict {
        true => OnFailure::Refuse,
        false => OnFailure::GoOn,
    };
    let (events, none) = match arguments.events.as_ref().map(|file| logdir.join(file)) {
        None => (None, None),
        Some(path) => match on_failure.settle(telemetry::events(&path, arguments, &about))? {
            Ok(events) => (Some(Rc::new(events)), None),
            Err(why) => (None, Some(telemetry::no_events(&path, why))),
        },
    };
    let told = events.clone();
    let telemetry = Telemetry {
        about,
        log_lines_dropped: log.dropped_counter(),
        log_moved_to: log.mover(),
        metrics_at: arguments.metrics,
        metrics_port_file: arguments
            .metrics_port_file
            .as_ref()
            .map(|file| logdir.join(file)),
        events: events.clone().map(|events| events as Rc<dyn EventSink>),
        event_file: Box::new(move || told.as_ref().map(|events| events.told()).or(none.clone())),
        on_failure,
    };
    Ok((events, telemetry))
}

fn settings_of(config: &Config, arguments: &Arguments, happenings: bool) -> Settings {
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
        happenings,
        worker_port: 0,
        placement: placement_of(arguments),
    }
}

fn placement_of(arguments: &Arguments) -> Placement {
    Placement {
        cores_per_worker: arguments.cores_per_worker,
        memory_per_worker_mb: arguments.memory_per_worker_mb,
        walltime: arguments.walltime_s,
        routing: match arguments.task_type_routing {
            RoutingChoice::Soft => Routing::Soft,
            RoutingChoice::Hard => Routing::Hard,
        },
        hold_failing_managers: arguments.hold_failing_managers,
        exact_capacity: arguments.exact_capacity,
    }
}

/// Raises the soft limit of file descriptors. Each manager needs one; the soft limit is often 1,024
/// while the hard limit is far higher.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) => info!("Up to {limit} descriptors may be open"),
        Err(error) => codes::log!(
            DESCRIPTOR_LIMIT,
            "The limit of open descriptors could not be raised: {error}"
        ),
    }
}
