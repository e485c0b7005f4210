//! The event loop: sockets, descriptors and the clock around an [`Interchange`].
//!
//! One thread does everything. It collects what the parts around the [`Turn`] have noticed. Then it
//! lets the turn receive, decide and send through its [`Ports`]. If neither has work left, it waits
//! on all descriptors at once, until one is ready or the next deadline is due. This file holds the
//! [`EventLoop`], its pass and its end. The other files, in the order of a run:
//!
//! | file | what it does |
//! | --- | --- |
//! | `opening` | opens everything, in an order that never admits an unauthenticated peer |
//! | `refusal` | reports to the executor why a start failed, so that `parsl.load()` raises |
//! | `last_words` | reports, from another process, that the broker was killed |
//! | `aside` | the libzmq context that `refusal` and `last_words` use without the loop |
//! | **Input and output** | |
//! | `ports` | the sockets of tasks, results, commands and managers, as the turn sees them |
//! | `release` | wakes the loop when libzmq has released a message |
//! | `reserved_port` | keeps the worker port for the next broker |
//! | `worker_connections` | the connections of managers, in a table by descriptor |
//! | `worker_connections/descriptor_guard` | closes the worker port while descriptors run out |
//! | `worker_connections/listener_wait` | suspends and resumes libzmq's wait for new connections |
//! | `key_check` | answers libzmq whether a CURVE key is known (ZAP) |
//! | `hub` | reports to the monitoring hub; `hub/greeting` finds out whether it uses CURVE |
//! | **Waiting** | |
//! | `wait` | the only wait, on an epoll set of all descriptors |
//! | `timer` | wakes the loop for the next deadline; `clock` is the only reader of clocks |
//! | **Watched processes** | |
//! | `submit_watch` | whether the submit side lives: its process and its ports |
//! | `dialect` | whether the executor sends commands or waits for observations |
//! | `ancestry` | the parent process and its ancestors |
//! | `process` | a process, identified by pid and start time, and whether it lives |
//! | `signals` | SIGTERM, SIGINT and SIGHUP as a descriptor |
//! | `memory` | how much memory this process may use, and when to release it after a long queue |
//! | `heap_release` | releases heap memory in small steps |
//! | **Services beside the tasks** | |
//! | `selector_helper` | the Python process that runs a user's own manager selector |
//! | `selector_helper/keeper` | starts that process on a separate thread, which waits for its end |
//! | `status_server` | serves the status document and the page of metrics |
//! | `side_service` | whether a run starts without a service such as status or metrics |
//! | `restart` | takes over from an earlier broker, and prepares for a later one |
//! | `telemetry` | settings for status, metrics and events, from the caller that starts the loop |
//! | `threads` | whether enough threads are available; without them libzmq aborts |
//! | **Lower layers** | |
//! | `sockets` | opens the network sockets with all their options |
//! | `socket_monitor` | events of a socket's connections |
//! | `frame_socket`, `frame` | messages in libzmq's own form, without a copy |
//! | `statm` | memory figures of this process, from the kernel |
//! | `zmq_calls`, `system_calls` | unsafe calls that no crate wraps |

mod ancestry;
mod aside;
mod clock;
mod dialect;
mod frame;
mod frame_socket;
mod heap_release;
mod hub;
mod key_check;
mod last_words;
mod memory;
mod opening;
mod ports;
mod process;
mod refusal;
mod release;
mod reserved_port;
mod restart;
mod selector_helper;
mod side_service;
mod signals;
mod socket_monitor;
mod sockets;
mod statm;
mod status_server;
mod submit_watch;
mod system_calls;
mod telemetry;
mod threads;
mod timer;
mod wait;
mod worker_connections;
mod zmq_calls;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use keeper::Kept;
use rustix::event::epoll::EventFlags;
use tracing::info;
use turn::{Outlook, Rest, Turn};
use zmq::Context;

use broker::{Now, StopReason};
use interchange::{Complaint, Interchange};
use status::document::Restart;
use submit_side::curve::Certificates;

pub use ancestry::Ancestry;
pub use dialect::AwaitsObservations;
pub use last_words::LastWords;
pub use opening::{OpenError, Start};
pub use refusal::refuse;
pub use selector_helper::{SelectorHelper, SelectorHelperCommand, SelectorHelperError};
pub use side_service::{OnFailure, SideServiceError};
pub use signals::Signals;
pub use sockets::BindError;
pub use status_server::{NoStatusSocket, remove_status_socket_of};
pub use submit_watch::{WatchTarget, WatchedProcess};
pub use telemetry::{EventSink, Telemetry};
pub use threads::{ThreadShortage, check_threads};
pub use wait::is_readable_within;
pub use zmq_calls::{LinkedLibraries, linked_libraries};

use clock::Clock;
use dialect::DialectWatch;
use frame::Frame;
use key_check::KeyCheck;
use memory::Memory;
use ports::Ports;
use selector_helper::HelperEvent;
use signals::SignalMeaning;
use status_server::StatusServer;
use submit_watch::{ConnectionWatch, ProcessWatch};
use wait::{Descriptors, Ready, Source};

/// Time limit for delivering the last messages to managers: managers must exit soon after the
/// submit side ends.
const LAST_WORDS_TO_WORKERS_WITHIN: Duration = Duration::from_millis(500);
/// Time limit for delivering the last messages to the executor.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// Maximum number of key checks answered in one pass.
const KEY_CHECKS_A_PASS: usize = 256;
/// Maximum number of signals handled in one pass: one of each kind, and one that arrives meanwhile.
const SIGNALS_A_PASS: usize = 4;

/// The text that users read when the keeper was killed.
pub const KEEPER_GONE: &str =
    "htex-interchange was killed: the process that HTEX started has ended";

/// Why the loop ended, and so how the process has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGTERM arrived: the process ends at once.
    Terminated,
    /// The submit side is gone.
    SubmitSideGone,
    /// A manager with other versions registered.
    VersionMismatch,
    /// An internal error.
    Broken,
    /// An internal error, after which another broker continues; no loss was reported.
    GoneOnFrom,
    /// The keeper was killed. HTEX knows no other process of the interchange, so the interchange
    /// has to end. The [`LastWords`] are still to be sent.
    KeeperGone,
}

/// The event loop. It owns every descriptor of the process.
pub struct EventLoop {
    clock: Clock,
    turn: Turn<Frame>,
    ports: Ports,
    /// Whether the submit side is gone.
    is_leaving: bool,
    memory: Memory,
    key_check: Option<KeyCheck>,
    certificates: Option<Certificates>,
    submit_watch: ConnectionWatch,
    dialect_watch: DialectWatch,
    process_watch: ProcessWatch,
    signals: Signals,
    kept: Option<Kept>,
    descriptors: Descriptors,
    status_server: StatusServer,
    /// The libzmq context. Closed last, after the sockets above.
    context: Context,
}

impl EventLoop {
    /// Serves until there is a reason to end, and returns that reason.
    pub fn run(mut self) -> End {
        let mut ready = Ready::everywhere();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.pass(ready))) {
                Ok(Pass::Again(next)) => ready = next,
                Ok(Pass::End(end)) => {
                    self.close(end);
                    return end;
                }
                Err(panic) if self.survives() => {
                    let _ = reason_of(&*panic);
                    self.close(End::GoneOnFrom);
                    return End::GoneOnFrom;
                }
                Err(panic) => {
                    let reason = reason_of(&*panic);
                    self.turn.fail_everything(&mut self.ports, &reason);
                    self.close(End::Broken);
                    return End::Broken;
                }
            }
        }
    }

    /// Returns the restart after which this broker took over; None for the first broker of a run.
    pub fn restart(&self) -> Option<&Restart> {
        Some(&self.status_server.restarted.as_ref()?.restart)
    }

    /// Turns `--survive` off if the journal is incomplete: no broker can continue from such a
    /// journal.
    fn look_at_journal(&mut self) {
        if let Some(reason) = self.turn.interchange().unwritten()
            && self.survives()
            && let Some(kept) = &self.kept
        {
            kept.notes().set_survives(false);
            codes::log!(
                SURVIVE_OFF,
                "--survive is no longer in effect: this run ends when its interchange process \
                 ends: {reason}"
            );
        }
    }

    /// Whether another broker can continue after this one.
    fn survives(&self) -> bool {
        self.kept
            .as_ref()
            .is_some_and(|kept| kept.notes().survives())
    }

    /// Runs one pass: handles what the parts have noticed, takes one turn, and waits.
    fn pass(&mut self, ready: Ready) -> Pass {
        let now = self.clock.now();
        self.wake_channels(ready, now);
        if ready.has(Source::Signals)
            && let Some(end) = self.end_by_signal(now)
        {
            return Pass::End(end);
        }
        self.look_at_submit_side(ready, now);
        self.look_for_dialect(now);
        self.answer_key_checks(ready, now);
        if let Some(hub) = &mut self.ports.hub {
            hub.advance(&self.context, self.certificates.as_ref(), now);
        }
        self.listen_to_helper(now);
        self.serve_status_clients(ready.has(Source::StatusClients), now);
        let (traffic, batches) = (self.turn.traffic(), self.turn.batches());
        if let Some(reason) = self.turn.take(&mut self.ports, now) {
            return Pass::End(match reason {
                StopReason::SubmitSideGone => End::SubmitSideGone,
                StopReason::VersionMismatch => End::VersionMismatch,
            });
        }
        self.look_at_journal();
        if self.turn.batches() > batches {
            let took = self.clock.monotonic().saturating_sub(now.monotonic);
            self.status_server.dispatch_latency.add(took);
        }
        let moved = self.turn.traffic();
        if (moved.tasks_bytes, moved.results_bytes) != (traffic.tasks_bytes, traffic.results_bytes)
        {
            self.memory.handle_traffic(now);
        }
        let queued = self.turn.interchange().broker().queued();
        self.memory
            .handle_time(queued, self.turn.unsent_results(), now);
        Pass::Again(self.rest(now))
    }

    /// Marks each channel that is ready or due.
    fn wake_channels(&mut self, ready: Ready, now: Now) {
        let ports = &mut self.ports;
        for (source, socket) in [
            (Source::Commands, &ports.submit.commands),
            (Source::Tasks, &ports.submit.tasks),
            (Source::Workers, &ports.workers),
        ] {
            if ready.has(source) {
                socket.note_wake_up();
            }
        }
        let due = ports.connections.next_deadline();
        ports.has_connection_events |=
            ready.has(Source::Connections) || due.is_some_and(|at| at <= now.monotonic);
        if ready.has(Source::Release) {
            ports.release.take();
            ports.has_released = true;
        }
    }

    /// Waits if no work is left, and returns which sources are ready.
    fn rest(&mut self, now: Now) -> Ready {
        let has_key_checks = (self.key_check.as_ref()).is_some_and(KeyCheck::may_have_more);
        let outlook = self.turn.rest(&mut self.ports, now);
        self.choose_sources(outlook);
        let rest = match outlook.rest {
            Rest::Until(deadline) if !has_key_checks => Rest::Until(self.first_deadline(deadline)),
            Rest::Until(_) | Rest::No => Rest::No,
        };
        let rests = rest != Rest::No;
        let broker = self.turn.interchange().broker();
        if rests {
            broker.note_rest(true);
        }
        let ready = self.descriptors.wait(rest, now.monotonic);
        if rests {
            broker.note_rest(false);
        }
        ready
    }

    /// Selects, among the sources that are of interest only at times, those to wait for now.
    fn choose_sources(&mut self, outlook: Outlook) {
        let (ports, leaves) = (&self.ports, self.is_leaving);
        let helper = ports.helper.as_ref();
        // A descriptor that is ready but never read would end every wait at once.
        let tasks = &ports.submit.tasks;
        let tasks = outlook.awaits_tasks.then(|| tasks.descriptor());
        let results = &ports.submit.results;
        let results = outlook.awaits_results_socket.then(|| results.descriptor());
        let process = self.process_watch.descriptor().filter(|_| !leaves);
        let answers = helper.map(|helper| helper.answers());
        let questions = helper.and_then(|helper| helper.unsent_questions());
        let to_read = |descriptor| (descriptor, EventFlags::IN);
        for (source, wanted) in [
            (Source::Tasks, tasks.map(to_read)),
            (Source::Results, results.map(to_read)),
            (Source::Process, process.map(to_read)),
            (Source::StatusClients, self.status_server.waits_on()),
            (
                Source::Hub,
                ports.hub.as_ref().and_then(|hub| hub.waits_on()),
            ),
            (Source::HelperAnswers, answers.map(to_read)),
            (
                Source::HelperQuestions,
                questions.map(|pipe| (pipe, EventFlags::OUT)),
            ),
        ] {
            self.descriptors.wait_for(source, wanted);
        }
    }

    /// Returns the earliest deadline: the loop must act then even if nothing arrives.
    fn first_deadline(&self, of_turn: Option<Duration>) -> Option<Duration> {
        // A submit side that is gone is not watched any more.
        let is_watched = !self.is_leaving;
        let deadlines = [
            of_turn,
            self.memory.next_deadline(),
            self.ports.connections.next_deadline(),
            self.dialect_watch.next_deadline(),
            self.status_server.next_deadline(),
            self.ports.hub.as_ref().and_then(|hub| hub.next_deadline()),
            self.process_watch.next_deadline().filter(|_| is_watched),
            self.submit_watch.next_deadline().filter(|_| is_watched),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn answer_key_checks(&mut self, ready: Ready, now: Now) {
        let Some(key_check) = &self.key_check else {
            return;
        };
        if ready.has(Source::KeyCheck) {
            key_check.note_wake_up();
        }
        if key_check.may_have_more() {
            let complaints = self.turn.interchange().complaints();
            let may_say = |address: &[u8]| complaints.may_say(Complaint::PeerRefused, address, now);
            let _ = (0..KEY_CHECKS_A_PASS).all(|_| key_check.answer_one(may_say));
        }
    }

    fn listen_to_helper(&mut self, now: Now) {
        let Some(helper) = &mut self.ports.helper else {
            return;
        };
        let interchange = self.turn.interchange_mut();
        for event in helper.advance() {
            match event {
                HelperEvent::Answer(answer) => interchange.handle_answer(&answer, now),
                HelperEvent::StartedAgain => interchange.broker_mut().handle_asked_again(now),
                HelperEvent::Ended(why) => {
                    interchange.broker_mut().give_up_asking(&why.to_string());
                    self.ports.helper = None;
                    return;
                }
            }
        }
    }

    fn end_by_signal(&mut self, now: Now) -> Option<End> {
        // Signals beyond this number are handled in the next pass.
        for _ in 0..SIGNALS_A_PASS {
            let (asked, signal) = self.signals.next()?;
            match asked {
                SignalMeaning::Stop => {
                    let interchange = self.turn.interchange();
                    interchange.complaints().tell();
                    let broker = interchange.broker();
                    codes::log!(
                        EXITING,
                        queued = broker.queued(),
                        in_flight = broker.in_flight(),
                        "Exiting on {signal}. {}",
                        broker.unfinished()
                    );
                    return Some(End::Terminated);
                }
                SignalMeaning::LookForKeeper => {
                    if self.kept.as_ref().is_some_and(|kept| !kept.is_kept()) {
                        let broker = self.turn.interchange().broker();
                        codes::log!(
                            KEEPER_GONE,
                            queued = broker.queued(),
                            in_flight = broker.in_flight(),
                            "{KEEPER_GONE}. {}",
                            broker.unfinished()
                        );
                        return Some(End::KeeperGone);
                    }
                }
                SignalMeaning::Nothing => {
                    let complaints = self.turn.interchange().complaints();
                    let name = signal.as_str().as_bytes();
                    if complaints.may_say(Complaint::IgnoredSignal, name, now) {
                        info!(
                            "Ignoring {signal}: the submit side still runs, and ends this process \
                             when it is done"
                        );
                    }
                }
            }
        }
        None
    }

    fn look_at_submit_side(&mut self, ready: Ready, now: Now) {
        if ready.has(Source::SubmitConnections) {
            self.submit_watch.read_events(now);
        }
        if self.is_leaving {
            return;
        }
        if let Some(place) = self.submit_watch.take_broken(now)
            && let Err(error) = self.ports.submit.connect_again(place)
        {
            codes::log!(
                CONNECTION_LOST,
                "Cannot reconnect to the submit side: {error}"
            );
        }
        let has_ended = ready.has(Source::Process);
        let how = self.process_watch.verdict(has_ended, now);
        if let Some(how) = how.or_else(|| self.submit_watch.verdict(now)) {
            self.is_leaving = true;
            self.turn
                .interchange_mut()
                .handle_submit_side_gone(how, now);
        }
    }

    /// Starts sending observations to an executor that sends no commands.
    fn look_for_dialect(&mut self, now: Now) {
        let interchange = self.turn.interchange_mut();
        let has_asked = interchange.commands() > 0;
        if self.dialect_watch.is_found_waiting(has_asked, now) {
            info!("The executor sends no commands; sending it the state without requests");
            interchange.broker_mut().begin_observations(now);
        }
    }

    /// Closes everything. The last messages (managers must exit, the executor's tasks failed) get a
    /// bounded time to leave.
    fn close(mut self, end: End) {
        let (to_submit_side, to_workers) = match end {
            End::Terminated => (Duration::ZERO, Duration::ZERO),
            End::SubmitSideGone => (Duration::ZERO, LAST_WORDS_TO_WORKERS_WITHIN),
            // Managers stay. Pending results have no other way to the executor.
            End::GoneOnFrom => (LAST_WORDS_WITHIN, Duration::ZERO),
            End::VersionMismatch | End::Broken | End::KeeperGone => {
                (LAST_WORDS_WITHIN, LAST_WORDS_TO_WORKERS_WITHIN)
            }
        };
        if end != End::Terminated {
            self.flush_results_within(to_submit_side);
        }
        let Self {
            turn,
            ports,
            context,
            status_server,
            ..
        } = self;
        drop(status_server);
        let interchange: Interchange<Frame> = turn.into_interchange();
        interchange.complaints().tell();
        // Its tasks are in the journal or failed by now. Freeing a long queue would only delay the
        // exit.
        std::mem::forget(interchange);
        if end == End::Terminated {
            std::mem::forget((ports, context));
            return;
        }
        for (socket, patience) in [
            (&ports.submit.results, to_submit_side),
            (&ports.submit.commands, to_submit_side),
            (&ports.workers, to_workers),
        ] {
            let _ = socket.set_linger(patience.as_millis() as i32);
        }
        // Dropping the context waits for the lingering messages, up to their limits.
        drop(ports);
        drop(context);
    }

    /// Waits until all results have been sent, for a bounded time.
    fn flush_results_within(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while let (count, awaits_socket) = self.turn.flush_results(&mut self.ports)
            && count > 0
        {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                codes::log!(
                    RESULTS_UNTAKEN,
                    "Exiting with {count} results that the executor did not read"
                );
                return;
            }
            let left = left.min(turn::RETRY_EVERY);
            if awaits_socket {
                let results = &self.ports.submit.results;
                let _ = results.poll(zmq::POLLOUT, left.as_millis().max(1) as i64);
            } else {
                std::thread::sleep(left);
            }
        }
    }
}

/// The outcome of a pass.
enum Pass {
    Again(Ready),
    End(End),
}

/// Returns the text of a panic, for users whose tasks fail because of the panic.
fn reason_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned());
    codes::log!(INTERNAL_ERROR, "Internal error: {text}");
    format!("htex-interchange ended by an internal error: {text}")
}
