//! The loop: sockets, descriptors and the clock around an [`Interchange`].
//!
//! One thread reads whatever is there in bounded turns, lets the interchange decide once a turn,
//! and carries out what it wants done; only when a whole turn found nothing does it wait, on all
//! descriptors at once, until something comes or the next deadline is due.

mod alarm;
mod channel;
mod clock;
mod connections;
mod door;
mod facts;
mod frame;
mod greeting;
mod helper;
mod intake;
mod memory;
mod monitor;
mod observers;
mod outbox;
mod radio;
mod raw;
mod reading;
mod refusal;
mod sending;
mod sockets;
mod starter;
mod unsent;
mod wait;
mod watch;
mod zap;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::{error, info, warn};
use zmq::{Context, Socket};

use broker::{Broker, Now, Selector, Settings, StopReason};
use interchange::{FindVersions, Interchange};
use protocol::Answer;
use submit_side::config::{Config, SubmitSide};
use submit_side::curve::Certificates;

pub use facts::{EventSink, Observing};
pub use helper::{Helper, HelperCommand};
pub use refusal::refuse;
pub use starter::Starter;
pub use wait::is_readable_within;
pub use watch::{Signals, WatchTarget};

use channel::Channel;
use clock::Clock;
use connections::WorkerConnections;
use frame::Frame;
use intake::{Change, HeldBytes, Intake};
use memory::Memory;
use monitor::Monitor;
use observers::Observers;
use radio::Radio;
use reading::Arrived;
use sending::Sending;
use sockets::SubmitSockets;
use wait::{Descriptors, Ready};
use watch::{Asked, ConnectionWatch, ProcessWatch};
use zap::Doorkeeper;

/// Everything that the loop is started with.
pub struct Start<'a> {
    pub config: &'a Config,
    pub certificates: Option<Certificates>,
    pub signals: Signals,
    /// libzmq's own, that move bytes and encrypt.
    pub io_threads: u8,
    /// Most bytes of tasks and unsent results; None for a share of the memory.
    pub max_queued_bytes: Option<usize>,
    pub watch: WatchTarget,
    pub starter: Starter,
    pub selector: Box<dyn Selector>,
    /// Runs the user's own selector, which then decides instead.
    pub helper: Option<Helper>,
    pub settings: Settings,
    pub find_versions: FindVersions,
    pub observing: Observing,
}

/// How the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM: at once.
    Terminated,
    /// The submit side is gone.
    SubmitSideGone,
    /// A manager of other versions came.
    VersionMismatch,
    /// A fault of ours.
    Broken,
}

/// The loop. It holds every descriptor of the process.
pub struct EventLoop {
    clock: Clock,
    interchange: Interchange<Frame>,
    submit: SubmitSockets,
    workers: Channel,
    connections: WorkerConnections,
    sending: Sending,
    inbox: Vec<Arrived>,
    /// The submit side is gone.
    is_leaving: bool,
    memory: Memory,
    intake: Intake,
    /// Tasks are held up by results that libzmq has not done with.
    awaits_release: bool,
    radio: Option<Radio>,
    helper: Option<Helper>,
    doorkeeper: Option<Doorkeeper>,
    certificates: Option<Certificates>,
    submit_watch: ConnectionWatch,
    process_watch: ProcessWatch,
    /// Who stands behind the process that is watched, if that is our parent.
    behind: Option<(Starter, SubmitSide)>,
    signals: Signals,
    descriptors: Descriptors,
    observers: Observers,
    /// Closed last: its sockets are above.
    context: Context,
}

impl EventLoop {
    /// Opens everything, in an order that lets nobody in unasked, and connects to the executor
    /// last: its first command is answered by a program that is ready.
    ///
    /// # Errors
    /// One line that says what could not be opened; the executor is owed it.
    pub fn open(start: Start<'_>) -> Result<Self, String> {
        let config = start.config;
        let clock = Clock::start();
        let now = clock.now();
        let certificates = start.certificates;
        let context = open_context(start.io_threads)?;
        let doorkeeper = open_doorkeeper(&context, certificates.as_ref())
            .map_err(trouble("cannot open the socket for authentication"))?;
        let mut submit = SubmitSockets::open(&context, certificates.as_ref())
            .map_err(trouble("cannot open the sockets to the submit side"))?;
        let submit_watch = watch_submit_side(&submit, &context, now)
            .map_err(trouble("cannot watch the sockets to the submit side"))?;
        let threshold = start.settings.heartbeat_threshold;
        let (workers, worker_monitor, port) =
            open_worker_port(&context, certificates.as_ref(), config, threshold)?;
        let process_watch = ProcessWatch::open(start.watch, &start.starter, &config.submit_side)
            .ok_or("the process that started it is gone")?;
        let observers = Observers::open(start.observing, config.interchange_address, port)?;
        let connections = WorkerConnections::new(worker_monitor);
        let descriptors = Descriptors::of(&wait::Sources {
            commands: &submit.commands,
            tasks: &submit.tasks,
            workers: &workers,
            results: &submit.results,
            connections: connections.socket(),
            submit_connections: submit_watch.sockets(),
            doorkeeper: doorkeeper.as_ref().map(Doorkeeper::socket),
            signals: start.signals.descriptor(),
            process: process_watch.descriptor(),
            observers: observers.descriptor(),
        })
        .map_err(trouble("cannot wait for the sockets"))?;
        // Nothing fails after this: a command taken by a start that is refused has no answer.
        submit
            .connect(&config.submit_side)
            .map_err(trouble("cannot connect to the submit side"))?;
        log_connected(&config.submit_side);
        let broker = broker(
            (start.settings, port),
            start.selector,
            start.helper.is_some(),
            now,
        );
        Ok(Self {
            interchange: Interchange::new(broker, start.find_versions, config.run_id.clone()),
            submit,
            workers,
            connections,
            sending: Sending::new(),
            inbox: Vec::new(),
            is_leaving: false,
            memory: Memory::new(),
            intake: Intake::new(start.max_queued_bytes),
            awaits_release: false,
            radio: config.hub.clone().map(|hub| Radio::new(hub, now)),
            helper: start.helper,
            doorkeeper,
            certificates,
            submit_watch,
            process_watch,
            behind: (start.watch == WatchTarget::Parent)
                .then(|| (start.starter, config.submit_side.clone())),
            signals: start.signals,
            descriptors,
            observers,
            clock,
            context,
        })
    }

    /// Serves until there is a reason to end.
    pub fn run(mut self) -> End {
        let mut ready = Ready::everywhere();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn(ready))) {
                Ok(Turn::Again(next)) => ready = next,
                Ok(Turn::End(end)) => {
                    self.close(end);
                    return end;
                }
                Err(panic) => {
                    self.sending
                        .fail_everything(&self.submit.results, &reason_of(&*panic));
                    self.close(End::Broken);
                    return End::Broken;
                }
            }
        }
    }

    /// One turn, in a fixed order: connections, commands, tasks, managers, authentication, the
    /// hub, the watches; then time; then one dispatch; then everything that wants to leave; then
    /// rest, if nothing is left to read.
    fn turn(&mut self, ready: Ready) -> Turn {
        let now = self.clock.now();
        let mut left = self.read(ready, now);
        if let Some(radio) = &mut self.radio {
            radio.advance(&self.context, self.certificates.as_ref(), now);
        }
        self.listen_to_helper(now);
        if ready.signals && self.is_told_to_stop() {
            return Turn::End(End::Terminated);
        }
        self.look_at_submit_side(ready, now);
        self.see_observers(ready.observers, now);
        self.interchange.handle_time(now);
        self.memory
            .handle_time(self.interchange.broker().queued(), now);
        self.awaits_release = false;
        let in_transit = self.sending.in_transit();
        let unsent = self.sending.unsent_results_bytes();
        let may_dispatch = self.intake.may_dispatch(unsent);
        self.note_held_up(!may_dispatch, in_transit);
        self.interchange
            .broker_mut()
            .handle_dispatching(may_dispatch);
        self.interchange.broker_mut().dispatch(now);
        if let Some(reason) = self.transmit(now) {
            return Turn::End(match reason {
                StopReason::SubmitSideGone => End::SubmitSideGone,
                StopReason::VersionMismatch => End::VersionMismatch,
            });
        }
        self.regulate_intake(&mut left);
        Turn::Again(self.wait(left, now))
    }

    /// Shuts the task channel while too much is held. While it is shut nobody waits for it: its
    /// descriptor would be ready all the time.
    fn regulate_intake(&mut self, left: &mut Ready) {
        let in_transit = self.sending.in_transit();
        let change = self.intake.decide(self.held_bytes());
        self.note_held_up(!self.intake.is_open(), in_transit);
        let changed = match change {
            None => return,
            Some(Change::Shut) => {
                left.tasks = false;
                self.descriptors.disregard_tasks(&self.submit.tasks)
            }
            Some(Change::Open) => {
                left.tasks = true;
                self.descriptors.regard_tasks(&self.submit.tasks)
            }
        };
        if let Err(error) = changed {
            warn!("The task socket cannot be waited for as it should: {error}");
        }
    }

    /// Nobody tells when libzmq has done with results. Who is held up by them has to look again;
    /// `in_transit` was read before that was decided, because it only shrinks meanwhile.
    fn note_held_up(&mut self, is_held_up: bool, in_transit: usize) {
        self.awaits_release |= is_held_up && in_transit > 0;
    }

    fn held_bytes(&self) -> HeldBytes {
        HeldBytes {
            queued: self.interchange.queued_bytes(),
            unsent_batches: self.sending.unsent_batches_bytes(),
            unsent_results: self.sending.unsent_results_bytes(),
        }
    }

    fn listen_to_helper(&mut self, now: Now) {
        let Some(helper) = &mut self.helper else {
            return;
        };
        for news in helper.advance() {
            match news {
                helper::News::Answer(answer) => self.interchange.handle_answer(&answer, now),
                helper::News::StartedAgain => self.interchange.broker_mut().handle_asked_again(now),
                helper::News::Ended(why) => {
                    self.interchange.broker_mut().give_up_asking(&why);
                    self.helper = None;
                    return;
                }
            }
        }
    }

    fn is_told_to_stop(&mut self) -> bool {
        while let Some((asked, signal)) = self.signals.next() {
            match asked {
                Asked::Stop => {
                    self.interchange.complaints().tell();
                    info!(
                        "Exiting on {signal}. {}",
                        self.interchange.broker().unfinished()
                    );
                    return true;
                }
                Asked::Nothing => {
                    info!("Ignoring {signal}: the submit side lives, and will end us itself");
                }
            }
        }
        false
    }

    fn look_at_submit_side(&mut self, ready: Ready, now: Now) {
        if self.is_leaving {
            return;
        }
        let process_has_ended = self.process_watch.has_ended(ready.process, now);
        let how = match process_has_ended && !self.watches_who_is_behind() {
            true => Some("the process that started us has ended"),
            false => self.submit_watch.verdict(now),
        };
        if let Some(how) = how {
            self.is_leaving = true;
            self.descriptors.disregard_process(&self.process_watch);
            self.interchange.handle_submit_side_gone(how, now);
        }
    }

    /// Whether the process that has ended was a wrapper, and the one behind it is watched now.
    fn watches_who_is_behind(&mut self) -> bool {
        let Some((next, process)) = self
            .behind
            .take()
            .and_then(|(starter, side)| ProcessWatch::behind(&starter, &side))
        else {
            return false;
        };
        self.descriptors.disregard_process(&self.process_watch);
        if self.descriptors.regard_process(&next).is_err() {
            return false;
        }
        info!("The process that started us has ended, the submit process behind it lives");
        self.process_watch = next;
        self.observers.watches(process);
        true
    }

    /// Everything ends here. What is still to be said (managers are told to exit, the executor
    /// that everything failed) has a moment to leave.
    fn close(self, end: End) {
        let Self {
            mut interchange,
            mut sending,
            submit,
            workers,
            context,
            observers,
            ..
        } = self;
        drop(observers);
        interchange.complaints().tell();
        // Its tasks are written down or failed by now; walking a long queue to free it is time that
        // nobody has.
        std::mem::forget(interchange);
        let (to_submit_side, to_workers) = match end {
            End::Terminated => {
                std::mem::forget((sending, submit, workers, context));
                return;
            }
            End::SubmitSideGone => (Duration::ZERO, sending::LAST_WORDS_TO_WORKERS_WITHIN),
            End::VersionMismatch | End::Broken => (
                sending::LAST_WORDS_WITHIN,
                sending::LAST_WORDS_TO_WORKERS_WITHIN,
            ),
        };
        sending.flush_for(&submit.results, to_submit_side);
        for (socket, patience) in [
            (&submit.results, to_submit_side),
            (&submit.commands, to_submit_side),
            (&workers, to_workers),
        ] {
            let _ = socket.set_linger(patience.as_millis() as i32);
        }
        // The context waits for what lingers, and no longer.
        drop((submit, workers, sending));
        drop(context);
    }
}

/// What a turn leads to.
enum Turn {
    Again(Ready),
    End(End),
}

/// What could not be opened, and why.
fn trouble(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn open_context(io_threads: u8) -> Result<Context, String> {
    let context = Context::new();
    context
        .set_io_threads(io_threads.into())
        .map_err(|error| format!("cannot have {io_threads} I/O threads: {error}"))?;
    Ok(context)
}

/// One that asks the user's own selector, if there is a process that runs it.
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
        broker.handle_answer(Answer::Loaded, now);
    }
    broker
}

fn open_doorkeeper(
    context: &Context,
    certificates: Option<&Certificates>,
) -> std::io::Result<Option<Doorkeeper>> {
    certificates
        .map(|certificates| Doorkeeper::open(context, certificates.keyring().clone()))
        .transpose()
}

/// Watched before anybody can come.
fn open_worker_port(
    context: &Context,
    certificates: Option<&Certificates>,
    config: &Config,
    threshold: Duration,
) -> Result<(Channel, Monitor, u16), String> {
    let mut workers = sockets::open_workers(context, certificates)
        .and_then(|open| sockets::probe_if_silent(open, threshold))
        .map_err(trouble("cannot open the socket for workers"))?;
    let monitor = Monitor::of(&workers, context, "workers")
        .map_err(trouble("cannot watch the socket for workers"))?;
    let (address, port) = (config.interchange_address, config.worker_port);
    let port = sockets::bind_workers(workers.socket_mut(), address, port)?;
    info!("Bound to port {port} for incoming worker connections");
    Ok((workers, monitor, port))
}

fn watch_submit_side(
    submit: &SubmitSockets,
    context: &Context,
    now: Now,
) -> std::io::Result<ConnectionWatch> {
    let tasks = Monitor::of(&submit.tasks, context, "tasks")?;
    let results = Monitor::of(&submit.results, context, "results")?;
    let commands = Monitor::of(&submit.commands, context, "commands")?;
    Ok(ConnectionWatch::new([tasks, results, commands], now))
}

fn log_connected(side: &SubmitSide) {
    info!(
        "Connected to client {} on ports: {},{},{}",
        side.address, side.task_port, side.result_port, side.command_port
    );
}

/// The text of a panic, for the users whose tasks it fails.
fn reason_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned());
    error!("A fault of htex-interchange itself: {text}");
    format!("htex-interchange ended by a fault of its own: {text}")
}

fn is_readable(socket: &Socket) -> bool {
    socket
        .get_events()
        .is_ok_and(|events| events.contains(zmq::POLLIN))
}

fn is_writable(socket: &Socket) -> bool {
    socket
        .get_events()
        .is_ok_and(|events| events.contains(zmq::POLLOUT))
}
