//! The loop: sockets, descriptors and the clock around an [`Interchange`].
//!
//! One thread reads whatever is there in bounded turns, lets the interchange decide once a turn,
//! and carries out what it wants done; only when a whole turn found nothing does it wait, on all
//! descriptors at once, until something comes or the next deadline is due. This file holds the
//! [`EventLoop`], its turn and its end. The others, in the order of a run:
//!
//! | file | what it does |
//! | --- | --- |
//! | `opening` | opens everything in an order that lets nobody in unasked |
//! | `refusal` | tells the executor why a start failed, so that `parsl.load()` raises |
//! | **What comes** | |
//! | `reading` | reads each socket, within a budget |
//! | `intake` | bounds the bytes that are held; above the bound no task is read |
//! | `worker_connections` | the connections of managers, in a table by descriptor |
//! | `worker_connections/descriptor_guard` | shuts the worker port while descriptors run out |
//! | `worker_connections/listener_wait` | has libzmq wait for the port no longer, and again |
//! | `key_check` | answers libzmq whether a CURVE key is known (ZAP) |
//! | **What leaves** | |
//! | `sending` | results to the executor, batches and words to managers; what waits |
//! | `outbox` | the queues behind sockets, counted in bytes |
//! | `unsent_batches` | what each manager has been sent and has not taken |
//! | `hub` | reports to the monitoring hub; `hub/greeting` asks it whether it wants CURVE |
//! | **When nothing is to do** | |
//! | `wait` | the one wait, on an epoll set of all descriptors |
//! | `timer` | wakes it for the next deadline; `clock` is the only reader of clocks |
//! | **Who is watched** | |
//! | `submit_watch` | whether the submit side lives: its process and its ports |
//! | `ancestry` | who started us, and who stands behind that |
//! | `process` | a process by its number and its start, and whether it lives |
//! | `signals` | SIGTERM, SIGINT and SIGHUP as a descriptor |
//! | `memory` | what this process may use, and when memory of a long queue is given back |
//! | `heap_release` | gives it back in small steps |
//! | **Beside the tasks** | |
//! | `selector_helper` | the Python process that runs a user's own manager selector |
//! | `selector_helper/keeper` | starts it on a thread of its own, which waits for its end |
//! | `status_server` | serves the status document and the page of metrics |
//! | `telemetry` | what is told outside, as whoever starts the loop gives it |
//! | `threads` | whether there are the threads that libzmq aborts without |
//! | **Below all of these** | |
//! | `sockets` | opens the network sockets with all their options |
//! | `socket_monitor` | what happens to the connections of a socket |
//! | `frame_socket`, `frame` | messages in libzmq's own form, without a copy |
//! | `statm` | what the system counts of our memory |
//! | `zmq_calls`, `system_calls` | the unsafe calls that no crate makes for us |

mod ancestry;
mod clock;
mod frame;
mod frame_socket;
mod heap_release;
mod hub;
mod intake;
mod key_check;
mod memory;
mod opening;
mod outbox;
mod process;
mod reading;
mod refusal;
mod selector_helper;
mod sending;
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
mod unsent_batches;
mod wait;
mod worker_connections;
mod zmq_calls;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::{error, info, warn};
use zmq::Context;

use broker::{Now, StopReason};
use interchange::{Complaint, Interchange};
use submit_side::curve::Certificates;

pub use ancestry::Ancestry;
pub use opening::{OpenError, Start};
pub use refusal::refuse;
pub use selector_helper::{SelectorHelper, SelectorHelperCommand, SelectorHelperError};
pub use signals::Signals;
pub use sockets::BindError;
pub use status_server::StatusServerError;
pub use submit_watch::{WatchTarget, WatchedProcess};
pub use telemetry::{EventSink, Telemetry};
pub use threads::{ThreadShortage, check_threads};
pub use wait::is_readable_within;

use clock::Clock;
use frame::Frame;
use frame_socket::FrameSocket;
use hub::HubSender;
use intake::{Change, HeldBytes, Intake};
use key_check::KeyCheck;
use memory::Memory;
use reading::Arrived;
use sending::Sending;
use signals::SignalMeaning;
use sockets::SubmitSockets;
use status_server::StatusServer;
use submit_watch::{ConnectionWatch, ProcessWatch};
use wait::{Descriptors, Ready};
use worker_connections::WorkerConnections;

/// One of each kind that there is, and the one that came meanwhile.
const SIGNALS_A_TURN: usize = 4;

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
    workers: FrameSocket,
    connections: WorkerConnections,
    sending: Sending,
    inbox: Vec<Arrived>,
    /// The submit side is gone.
    is_leaving: bool,
    memory: Memory,
    intake: Intake,
    /// Tasks are held up by results that libzmq has not done with.
    awaits_release: bool,
    hub: Option<HubSender>,
    helper: Option<SelectorHelper>,
    key_check: Option<KeyCheck>,
    certificates: Option<Certificates>,
    submit_watch: ConnectionWatch,
    process_watch: ProcessWatch,
    signals: Signals,
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
        if let Some(hub) = &mut self.hub {
            hub.advance(&self.context, self.certificates.as_ref(), now);
        }
        self.listen_to_helper(now);
        if ready.signals && self.is_told_to_stop(now) {
            return Turn::End(End::Terminated);
        }
        self.look_at_submit_side(ready, now);
        self.serve_status_clients(ready.status_clients, now);
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
        for event in helper.advance() {
            match event {
                selector_helper::HelperEvent::Answer(answer) => {
                    self.interchange.handle_answer(&answer, now)
                }
                selector_helper::HelperEvent::StartedAgain => {
                    self.interchange.broker_mut().handle_asked_again(now)
                }
                selector_helper::HelperEvent::Ended(why) => {
                    self.interchange
                        .broker_mut()
                        .give_up_asking(&why.to_string());
                    self.helper = None;
                    return;
                }
            }
        }
    }

    fn is_told_to_stop(&mut self, now: Now) -> bool {
        // Whoever sends more than these has the next turn's share.
        for _ in 0..SIGNALS_A_TURN {
            let Some((asked, signal)) = self.signals.next() else {
                return false;
            };
            match asked {
                SignalMeaning::Stop => {
                    self.interchange.complaints().tell();
                    info!(
                        "Exiting on {signal}. {}",
                        self.interchange.broker().unfinished()
                    );
                    return true;
                }
                SignalMeaning::Nothing => {
                    let complaints = self.interchange.complaints();
                    let name = signal.as_str().as_bytes();
                    if complaints.may_say(Complaint::IgnoredSignal, name, now) {
                        info!("Ignoring {signal}: the submit side lives, and will end us itself");
                    }
                }
            }
        }
        false
    }

    fn look_at_submit_side(&mut self, ready: Ready, now: Now) {
        if self.is_leaving {
            return;
        }
        let how = self.process_watch.verdict(ready.process, now);
        if let Some(how) = how.or_else(|| self.submit_watch.verdict(now)) {
            self.is_leaving = true;
            self.descriptors.disregard_process(&self.process_watch);
            self.interchange.handle_submit_side_gone(how, now);
        }
    }

    /// Everything ends here. What is still to be said (managers are told to exit, the executor
    /// that everything failed) has a moment to leave.
    fn close(self, end: End) {
        let Self {
            interchange,
            mut sending,
            submit,
            workers,
            context,
            status_server,
            ..
        } = self;
        drop(status_server);
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
