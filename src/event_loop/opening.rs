//! Opens everything that the event loop owns.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use account::Account;
use keeper::Kept;
use rustix::event::epoll;
use tracing::info;
use turn::Turn;
use zmq::Context;

use super::EventLoop;
use super::clock::Clock;
use super::dialect::{AwaitsObservations, DialectWatch};
use super::frame_socket::FrameSocket;
use super::hub::HubSender;
use super::key_check::KeyCheck;
use super::memory::{self, Memory};
use super::ports::Ports;
use super::release::Release;
use super::reserved_port;
use super::restart::{self, Restarted};
use super::selector_helper::SelectorHelper;
use super::side_service::SideServiceError;
use super::signals::Signals;
use super::socket_monitor::SocketMonitor;
use super::sockets::{self, BindError, SubmitSockets};
use super::status_server::StatusServer;
use super::submit_watch::{ConnectionWatch, ProcessWatch, WatchedProcess};
use super::telemetry::Telemetry;
use super::threads::{ThreadShortage, check_threads};
use super::wait::{Descriptors, Source};
use super::worker_connections::WorkerConnections;
use broker::{Broker, Now, Selector, Settings};
use interchange::{FindVersions, Interchange};
use protocol::SelectorAnswer;
use submit_side::address::Address;
use submit_side::config::{Config, SubmitSide};
use submit_side::curve::Certificates;

/// libzmq's threads besides its I/O threads: one, which closes sockets.
pub(super) const OWN_THREADS: usize = 1;

/// Everything that the event loop is started with.
pub struct Start<'a> {
    /// The configuration that HTEX wrote to standard input.
    pub config: &'a Config,
    /// The CURVE certificates. None if nothing is encrypted.
    pub certificates: Option<Certificates>,
    /// The signals. Opened before the first thread starts, because threads inherit the signal mask.
    pub signals: Signals,
    /// The keeper, which reports if this process is killed.
    pub kept: Option<Kept>,
    /// When the first broker of the run began.
    pub began: Instant,
    /// The memory that outlives this broker; None if no other broker is to continue after it.
    pub memory: Option<journal::Memory>,
    /// The number of libzmq's I/O threads, which transfer and encrypt messages.
    pub io_threads: u8,
    /// Maximum size of queued tasks and unsent results; None for a share of the memory.
    pub max_queued_bytes: Option<usize>,
    /// The process whose end also ends the interchange.
    pub watched: WatchedProcess,
    /// The selector that decides which manager gets the next task.
    pub selector: Box<dyn Selector>,
    /// The process that runs the user's own selector, which then decides instead.
    pub helper: Option<SelectorHelper>,
    /// The broker's settings; the event loop fills in the worker port.
    pub settings: Settings,
    /// Finds the submit side's versions, when the first manager registers.
    pub find_versions: FindVersions,
    /// Reads in the executor's source whether an executor that sends no commands waits for
    /// observations.
    pub awaits_observations: AwaitsObservations,
    /// Status, metrics and events, and where they go.
    pub telemetry: Telemetry,
}

/// Why the loop could not be opened. The executor is notified, so that `parsl.load()` raises this
/// error.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// libzmq refuses this number of threads.
    #[error("cannot have {count} I/O threads: {error}")]
    IoThreads {
        /// The number of I/O threads that the command line asks for.
        count: u8,
        /// libzmq's error.
        error: zmq::Error,
    },
    /// Too few threads are available; libzmq would abort without them.
    #[error(transparent)]
    Threads(#[from] ThreadShortage),
    /// The ZAP handler's socket cannot be opened; without it no peer that uses CURVE is admitted.
    #[error("cannot open the socket for authentication: {0}")]
    KeyCheck(#[source] io::Error),
    /// The sockets for tasks, results and commands cannot be opened.
    #[error("cannot open the sockets to the submit side: {0}")]
    SubmitSockets(#[source] io::Error),
    /// The monitors of these sockets cannot be opened. They show whether the submit side lives.
    #[error("cannot watch the sockets to the submit side: {0}")]
    SubmitWatch(#[source] io::Error),
    /// The socket that managers connect to cannot be opened.
    #[error("cannot open the socket for workers: {0}")]
    WorkerSocket(#[source] io::Error),
    /// The monitor of the worker socket cannot be opened. It reports which connections open and
    /// close.
    #[error("cannot watch the socket for workers: {0}")]
    WorkerWatch(#[source] io::Error),
    /// No port for managers could be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The process that started the interchange is gone.
    #[error("the process that started it has ended")]
    StarterGone,
    /// The previous broker's journal cannot be read.
    #[error("cannot continue from the state that the previous process left: {0}")]
    Journal(#[source] io::Error),
    /// A service that `--strict` requires cannot start.
    #[error(transparent)]
    SideService(#[from] SideServiceError),
    /// An epoll set for the loop's wait cannot be created.
    #[error("cannot wait for the sockets: {0}")]
    Wait(#[source] io::Error),
    /// libzmq refuses to connect to the submit side's address.
    #[error("cannot connect to the submit side: {0}")]
    Connect(#[source] io::Error),
}

impl EventLoop {
    /// Opens everything, in an order that never admits an unauthenticated peer. The connection to
    /// the executor is last, so that the program is ready when the executor's first command
    /// arrives.
    ///
    /// # Errors
    /// What could not be opened; the caller reports it to the executor.
    pub fn open(start: Start<'_>) -> Result<Self, OpenError> {
        let config = start.config;
        let clock = Clock::since(start.began);
        let now = clock.now();
        let certificates = start.certificates;
        let context = open_context(start.io_threads)?;
        let key_check = KeyCheck::open_if_encrypted(&context, certificates.as_ref())
            .map_err(OpenError::KeyCheck)?;
        let bound_bytes = memory::bound_bytes(start.max_queued_bytes);
        memory::warn_if_scarce();
        let ahead = sockets::read_ahead_tasks(start.max_queued_bytes, certificates.is_some());
        let submit = SubmitSockets::open(&context, certificates.as_ref(), ahead)
            .map_err(OpenError::SubmitSockets)?;
        let submit_watch =
            watch_submit_side(&submit, &context, now).map_err(OpenError::SubmitWatch)?;
        let threshold = start.settings.heartbeat_threshold;
        let kept = start.kept.as_ref();
        let (workers, worker_monitor) = open_workers(&context, certificates.as_ref(), threshold)?;
        let (workers, port) = bind_workers(workers, config, kept, start.memory.is_some())?;
        let process_watch = watch_process(start.watched, kept.is_some())?;
        let address = config.interchange_address.clone();
        let status_server = open_status_server(start.telemetry, kept, address, port)?;
        let ports = Ports {
            submit,
            workers,
            connections: WorkerConnections::new(worker_monitor),
            has_connection_events: true,
            hub: config.hub.clone().map(|hub| HubSender::new(hub, now)),
            helper: start.helper,
            events: status_server.telemetry.events.clone(),
            notes: start.kept.as_ref().map(|kept| kept.notes().clone()),
            noted_managers: HashSet::new(),
            messages: 0,
            large_results: Account::default(),
            release: Release::leaked().map_err(OpenError::Wait)?,
            has_released: false,
        };
        let descriptors = descriptors(&ports, &submit_watch, key_check.as_ref(), &start.signals)
            .map_err(OpenError::Wait)?;
        let asks = ports.helper.is_some();
        let broker = broker((start.settings, port), start.selector, asks, now);
        let interchange = Interchange::new(broker, start.find_versions, config.run_id.clone());
        let interchange = restart::keep_journal(interchange, start.memory.as_ref(), kept, &clock)?;
        let mut event_loop = Self {
            turn: Turn::new(interchange, bound_bytes, ahead),
            ports,
            is_leaving: false,
            memory: Memory::new(),
            key_check,
            certificates,
            submit_watch,
            dialect_watch: DialectWatch::new(start.awaits_observations, now),
            process_watch,
            signals: start.signals,
            kept: start.kept,
            descriptors,
            status_server,
            clock,
            context,
        };
        event_loop.note_readiness();
        // Nothing may fail after this point: if a start failed after it received a command, that
        // command would get no answer.
        connect(&mut event_loop.ports.submit, &config.submit_side)?;
        Ok(event_loop)
    }
}

impl EventLoop {
    /// Notes that this broker is ready now. A restart is reported at this point, once it is over.
    fn note_readiness(&mut self) {
        self.status_server.restarted = Restarted::of(self.kept.as_ref(), &self.clock);
        if let Some(Restarted { restart, .. }) = &self.status_server.restarted {
            let broker = self.turn.interchange_mut().broker_mut();
            broker.tell_restart(restart.number, &restart.why, restart.down_s);
        }
    }
}

/// Creates the epoll set, with the descriptors that are open from the start to the end of the loop.
fn descriptors(
    ports: &Ports,
    submit_watch: &ConnectionWatch,
    key_check: Option<&KeyCheck>,
    signals: &Signals,
) -> io::Result<Descriptors> {
    let descriptors = Descriptors::new()?;
    let [one, two, three] = submit_watch.sockets();
    for (source, socket) in [
        (Source::Commands, &*ports.submit.commands),
        (Source::Workers, &*ports.workers),
        (Source::Connections, ports.connections.socket()),
        (Source::SubmitConnections, one),
        (Source::SubmitConnections, two),
        (Source::SubmitConnections, three),
    ] {
        descriptors.add_socket(source, socket)?;
    }
    if let Some(key_check) = key_check {
        descriptors.add_socket(Source::KeyCheck, key_check.socket())?;
    }
    descriptors.add(Source::Release, ports.release.descriptor())?;
    descriptors.add(Source::Signals, signals.descriptor())?;
    Ok(descriptors)
}

/// Opens the status server. A system that refuses this epoll set would refuse the loop's own set
/// too, hence [`OpenError::Wait`].
fn open_status_server(
    telemetry: Telemetry,
    kept: Option<&Kept>,
    address: Option<Address>,
    port: u16,
) -> Result<StatusServer, OpenError> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC);
    let set = set.map_err(|error| OpenError::Wait(error.into()))?;
    Ok(StatusServer::open(set, telemetry, kept, address, port)?)
}

fn open_context(io_threads: u8) -> Result<Context, OpenError> {
    let context = Context::new();
    let set = context.set_io_threads(io_threads.into());
    let count = io_threads;
    set.map_err(|error| OpenError::IoThreads { count, error })?;
    check_threads(OWN_THREADS + usize::from(io_threads))?;
    Ok(context)
}

/// Opens the worker socket and its monitor, before any manager can connect.
fn open_workers(
    context: &Context,
    certificates: Option<&Certificates>,
    threshold: Duration,
) -> Result<(FrameSocket, SocketMonitor), OpenError> {
    let workers = sockets::open_workers(context, certificates)
        .and_then(|open| sockets::probe_if_silent(open, threshold))
        .map_err(OpenError::WorkerSocket)?;
    let monitor =
        SocketMonitor::of(&workers, context, "workers").map_err(OpenError::WorkerWatch)?;
    Ok((workers, monitor))
}

fn bind_workers(
    mut workers: FrameSocket,
    config: &Config,
    kept: Option<&Kept>,
    survives: bool,
) -> Result<(FrameSocket, u16), OpenError> {
    let wanted = (config.interchange_address.as_ref(), config.worker_port);
    let port = reserved_port::bind_workers(workers.socket_mut(), wanted, kept, survives)?;
    if let Some(kept) = kept {
        kept.notes().set_worker_port(port);
    }
    codes::log!(
        LISTENING,
        "Bound to port {port} for incoming worker connections"
    );
    Ok((workers, port))
}

fn watch_process(watched: WatchedProcess, is_kept: bool) -> Result<ProcessWatch, OpenError> {
    let watch = ProcessWatch::open(watched, is_kept).ok_or(OpenError::StarterGone)?;
    info!("Watching for the end of {watched}");
    Ok(watch)
}

fn watch_submit_side(
    submit: &SubmitSockets,
    context: &Context,
    now: Now,
) -> io::Result<ConnectionWatch> {
    let tasks = SocketMonitor::of(&submit.tasks, context, "tasks")?;
    let results = SocketMonitor::of(&submit.results, context, "results")?;
    let commands = SocketMonitor::of(&submit.commands, context, "commands")?;
    Ok(ConnectionWatch::new(
        [
            ("tasks", tasks),
            ("results", results),
            ("commands", commands),
        ],
        now,
    ))
}

fn connect(submit: &mut SubmitSockets, side: &SubmitSide) -> Result<(), OpenError> {
    submit.connect(side).map_err(OpenError::Connect)?;
    codes::log!(
        CONNECTED,
        "Connected to client {} on ports: {},{},{}",
        side.address,
        side.task_port,
        side.result_port,
        side.command_port
    );
    Ok(())
}

/// Creates the broker, which uses the user's own selector if a process runs that selector.
fn broker<B>(
    (settings, worker_port): (Settings, u16),
    own: Box<dyn Selector>,
    asks: bool,
    now: Now,
) -> Broker<B> {
    let settings = Settings {
        worker_port,
        ..settings
    };
    let mut broker = Broker::new(settings, own, now);
    if asks {
        broker.ask_for_order(rand::random(), now);
        broker.handle_answer(SelectorAnswer::Loaded, now);
    }
    broker
}
