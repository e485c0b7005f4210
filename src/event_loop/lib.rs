//! The loop: sockets, descriptors and the clock around an [`Interchange`].
//!
//! One thread does everything: it learns what the parts around the [`Turn`] have seen, lets the
//! turn learn, decide and send by its [`Ports`], and rests only if neither has anything to do, on
//! all descriptors at once, until something comes or the next deadline is due. This file holds the
//! [`EventLoop`], its pass and its end. The others, in the order of a run:
//!
//! | file | what it does |
//! | --- | --- |
//! | `opening` | opens everything in an order that lets nobody in unasked |
//! | `refusal` | tells the executor why a start failed, so that `parsl.load()` raises |
//! | `last_words` | tells everybody that the broker was killed, from another process |
//! | `aside` | what these two need, which run without the loop |
//! | **What comes and what leaves** | |
//! | `ports` | the sockets of tasks, results, commands and managers, as the turn knows them |
//! | `release` | the wake-up when libzmq has done with something |
//! | `reserved_port` | keeps the worker port for the next broker |
//! | `worker_connections` | the connections of managers, in a table by descriptor |
//! | `worker_connections/descriptor_guard` | shuts the worker port while descriptors run out |
//! | `worker_connections/listener_wait` | has libzmq wait for the port no longer, and again |
//! | `key_check` | answers libzmq whether a CURVE key is known (ZAP) |
//! | `hub` | reports to the monitoring hub; `hub/greeting` asks it whether it wants CURVE |
//! | **When nothing is to do** | |
//! | `wait` | the one wait, on an epoll set of all descriptors |
//! | `timer` | wakes it for the next deadline; `clock` is the only reader of clocks |
//! | **Who is watched** | |
//! | `submit_watch` | whether the submit side lives: its process and its ports |
//! | `dialect` | whether the executor asks, or waits to be told |
//! | `ancestry` | who started us, and who stands behind that |
//! | `process` | a process by its number and its start, and whether it lives |
//! | `signals` | SIGTERM, SIGINT and SIGHUP as a descriptor |
//! | `memory` | what this process may use, and when memory of a long queue is given back |
//! | `heap_release` | gives it back in small steps |
//! | **Beside the tasks** | |
//! | `selector_helper` | the Python process that runs a user's own manager selector |
//! | `selector_helper/keeper` | starts it on a thread of its own, which waits for its end |
//! | `status_server` | serves the status document and the page of metrics |
//! | `side_service` | what only tells of a run does not decide it |
//! | `restart` | that this broker follows another one |
//! | `telemetry` | what is told outside, as whoever starts the loop gives it |
//! | `threads` | whether there are the threads that libzmq aborts without |
//! | **Below all of these** | |
//! | `sockets` | opens the network sockets with all their options |
//! | `socket_monitor` | what happens to the connections of a socket |
//! | `frame_socket`, `frame` | messages in libzmq's own form, without a copy |
//! | `statm` | what the system counts of our memory |
//! | `zmq_calls`, `system_calls` | the unsafe calls that no crate makes for us |

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

/// How long the last words to managers may take: they are to be gone soon after the submit side.
const LAST_WORDS_TO_WORKERS_WITHIN: Duration = Duration::from_millis(500);
/// How long the last words to the executor may take.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// Most questions about keys that are answered in a pass.
const KEY_CHECKS_A_PASS: usize = 256;
/// One of each kind that there is, and the one that came meanwhile.
const SIGNALS_A_PASS: usize = 4;

/// As users read it.
pub const KEEPER_GONE: &str =
    "htex-interchange was killed: the process that HTEX started has ended";

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
    /// A fault of ours, and another broker goes on: nobody was told of a loss.
    GoneOnFrom,
    /// The keeper was killed, and whoever did that means the interchange: HTEX knows no other
    /// process of it. The [`LastWords`] are still to be said.
    KeeperGone,
}

/// The loop. It holds every descriptor of the process.
pub struct EventLoop {
    clock: Clock,
    turn: Turn<Frame>,
    ports: Ports,
    /// The submit side is gone.
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
    /// Closed last: its sockets are above.
    context: Context,
}

impl EventLoop {
    /// Serves until there is a reason to end.
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

    /// That this broker follows another one, if it does.
    pub fn restart(&self) -> Option<&Restart> {
        Some(&self.status_server.restarted.as_ref()?.restart)
    }

    /// Nobody can go on from a journal that is not whole.
    fn look_at_journal(&mut self) {
        if let Some(reason) = self.turn.interchange().unwritten()
            && self.survives()
            && let Some(kept) = &self.kept
        {
            kept.notes().set_survives(false);
            codes::log!(
                SURVIVE_OFF,
                "--survive: from now on this run does not survive the end of its broker: {reason}"
            );
        }
    }

    /// Whether another broker can go on from here.
    fn survives(&self) -> bool {
        self.kept
            .as_ref()
            .is_some_and(|kept| kept.notes().survives())
    }

    /// Once around: what the parts have learned, one turn, and rest.
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
        if self.turn.traffic().tasks_bytes > traffic.tasks_bytes {
            self.memory.handle_tasks(now);
        }
        let queued = self.turn.interchange().broker().queued();
        self.memory.handle_time(queued, now);
        Pass::Again(self.rest(now))
    }

    /// Tells each channel that was found ready, or is due.
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

    /// Rests if nothing is left to do, and tells what is ready then.
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

    /// What is waited for at times only, as things are now.
    fn choose_sources(&mut self, outlook: Outlook) {
        let (ports, leaves) = (&self.ports, self.is_leaving);
        let helper = ports.helper.as_ref();
        // Who is not read would be ready all the time.
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

    /// Something is to be done by then even if nothing comes.
    fn first_deadline(&self, of_turn: Option<Duration>) -> Option<Duration> {
        // Once the submit side is gone it is not looked for.
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
        // Whoever sends more than these has the next pass's share.
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
                        info!("Ignoring {signal}: the submit side lives, and will end us itself");
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

    /// An executor that does not ask is told from now on.
    fn look_for_dialect(&mut self, now: Now) {
        let interchange = self.turn.interchange_mut();
        let has_asked = interchange.commands() > 0;
        if self.dialect_watch.is_found_waiting(has_asked, now) {
            info!("The executor asks nothing and is told what it would ask");
            interchange.broker_mut().begin_observations(now);
        }
    }

    /// Everything ends here. What is still to be said (managers are told to exit, the executor
    /// that everything failed) has a moment to leave.
    fn close(mut self, end: End) {
        let (to_submit_side, to_workers) = match end {
            End::Terminated => (Duration::ZERO, Duration::ZERO),
            End::SubmitSideGone => (Duration::ZERO, LAST_WORDS_TO_WORKERS_WITHIN),
            // Managers stay. What the executor is still to have has no other way to it.
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
        // Its tasks are written down or failed by now; walking a long queue to free it is time that
        // nobody has.
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
        // The context waits for what lingers, and no longer.
        drop(ports);
        drop(context);
    }

    /// Waits until all results have left, for a bounded time.
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

/// What a pass leads to.
enum Pass {
    Again(Ready),
    End(End),
}

/// The text of a panic, for the users whose tasks it fails.
fn reason_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned());
    codes::log!(INTERNAL_ERROR, "Internal error: {text}");
    format!("htex-interchange ended by an internal error: {text}")
}
