//! Frames to messages and back, around a [`Broker`].
//!
//! A frame that is not what its channel carries ends here: one WARNING with who sent it, and it is
//! dropped. What the broker wants sent leaves here as bytes. No sockets: `F` is whatever the
//! sockets' ring calls a frame, and an output that passes one on hands back that very frame.

// .cargo/clippy.toml lists what only a program with a world around it may name.
#![forbid(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    unsafe_code
)]

mod carried;
mod complaints;
mod restart;
mod status_document;

pub mod event_line;

use std::fmt::Display;
use std::time::Duration;

use journal::{Journal, Record};
use tracing::debug;

use broker::{
    Anomaly, AnomalyLog as _, BatchRoom, Broker, Now, Origin, Output, Recipient, StopReason,
    Versions,
};
use protocol::{
    AnyTaskId, Command, FromManager, Malformed, ManagerId, Opaque, SelectorAnswer, Stay, Task,
    ToManager, UnreadWords, UnreadableTask, encode_batch,
};

pub use carried::Carried;
pub use complaints::{Complaint, Complaints};
pub use status_document::{Surroundings, document, timings};

/// Tasks in a queue of up to this length leave soon, and stay in the frames that they came in. A
/// small frame may pin a receive buffer of 8 KiB, so this is 16 MiB at the worst.
const SHORT_QUEUE_TASKS: usize = 2048;

/// What a queued task costs beside its body, about: measured with 1 KiB tasks.
const QUEUED_TASK_BYTES: usize = 200;

/// What a channel is to carry.
#[derive(Debug)]
pub enum Parcel<F> {
    /// A frame that came in, passed on untouched.
    Frame(F),
    /// Bytes of our own making.
    Bytes(Vec<u8>),
}

/// What a manager said, read.
pub struct Said<F>(Words<F>);

enum Words<F> {
    One(Read<F>),
    /// In the form of older releases, with a marker.
    Several(Vec<Read<F>>),
}

type Read<F> = Result<FromManager<Body<F>>, Malformed>;

/// What the broker carries.
type Body<F> = Opaque<Carried<F>>;

impl<F: AsRef<[u8]>> Said<F> {
    /// The frame behind the identity, and (in the form of older releases) those behind that.
    pub fn read(first: F, mut more: Vec<F>) -> Self {
        if more.is_empty() {
            return Self(Words::One(FromManager::parse(Carried::Frame(first))));
        }
        more.insert(0, first);
        let more = more.into_iter().map(Carried::Frame).collect();
        Self(Words::Several(FromManager::parse_marked(more)))
    }

    /// Whether it takes an identity: what came of the connection before must be known by then.
    pub fn registers(&self) -> bool {
        matches!(&self.0, Words::One(Ok(FromManager::Registration(_))))
    }
}

/// Something to send, and where: in the order in which it is to leave.
#[derive(Debug)]
pub enum Transmit<F> {
    /// A word to a manager.
    Manager {
        /// Who is told.
        to: ManagerId,
        /// What, in Parsl's form by [`ToManager::encode`].
        message: ToManager,
    },
    /// A result, to the executor.
    Result(Parcel<F>),
    /// A record for the monitoring hub.
    Report(Vec<u8>),
    /// A line for the file of events.
    Event(Vec<u8>),
    /// A question for the process that runs the user's manager selector.
    Rank(Vec<u8>),
    /// This manager is not registered any more: what it has not taken need not reach it.
    Forget(ManagerId),
    /// The last one.
    Stop(StopReason),
}

/// Finds the submit side's versions. Asked once, when the first manager registers: it may read
/// files and run an interpreter, which start-up has no time for.
pub type FindVersions = Box<dyn FnOnce() -> Versions>;

/// A broker with its doors.
pub struct Interchange<F> {
    broker: Broker<Body<F>>,
    find_versions: Option<FindVersions>,
    complaints: Complaints,
    /// How many there were.
    commands: u64,
    /// What of the needs of tasks could not be read.
    unread: UnreadWords,
    /// Parsl's name of the run, for reports.
    run_id: Option<String>,
    /// Where one is kept.
    journal: Option<Journal>,
    kept_totals: Option<Record>,
}

impl<F: AsRef<[u8]>> Interchange<F> {
    /// `run_id` is Parsl's name of the run, which reports bear.
    pub fn new(
        mut broker: Broker<Body<F>>,
        find_versions: FindVersions,
        run_id: Option<String>,
    ) -> Self {
        let complaints = Complaints::default();
        broker.log_anomalies_by(Box::new(complaints.clone()));
        Self {
            broker,
            find_versions: Some(find_versions),
            complaints,
            commands: 0,
            unread: UnreadWords::default(),
            run_id,
            journal: None,
            kept_totals: None,
        }
    }

    /// A frame from the task channel.
    pub fn handle_task(&mut self, frame: F, now: Now) {
        let stay = match self.broker.queued() < SHORT_QUEUE_TASKS {
            true => Stay::Short,
            false => Stay::Long,
        };
        let (frame, stay) = self.write_task_down(frame, stay, now);
        match Task::parse(frame, stay, &mut self.unread) {
            Ok(task) => {
                let bytes = held_bytes(&task.body);
                self.broker.handle_task(task, bytes, now);
            }
            Err(unreadable) => self.handle_unreadable_task(unreadable, now),
        }
    }

    /// A message of the worker port.
    pub fn handle_manager(&mut self, id: &ManagerId, said: Said<F>, origin: Origin, now: Now) {
        match said.0 {
            Words::One(message) => self.handle_message(id, message, origin, now),
            Words::Several(messages) => {
                for message in messages {
                    self.handle_message(id, message, origin, now);
                }
            }
        }
    }

    /// A request of the command channel, and its reply: whatever it is, it gets one.
    #[must_use]
    pub fn handle_command(&mut self, frame: &[u8], now: Now) -> Vec<u8> {
        self.commands += 1;
        let command = Command::parse(frame).unwrap_or_else(|reason| {
            codes::log!(COMMAND_UNREADABLE, "Failed to read a command: {reason}");
            Command::Unknown("an unreadable request".to_owned())
        });
        self.broker.handle_command(command, now).encode()
    }

    /// An answer of the process that runs the user's manager selector.
    pub fn handle_answer(&mut self, bytes: &[u8], now: Now) {
        match SelectorAnswer::parse(bytes) {
            Ok(answer) => self.broker.handle_answer(answer, now),
            Err(reason) => {
                let fault = format!("An answer of the manager selector cannot be read: {reason}");
                let fault = Anomaly::Selector { fault: &fault };
                self.complaints.note(&fault, now);
            }
        }
    }

    /// The submit side is gone, and nobody is left to answer.
    pub fn handle_submit_side_gone(&mut self, how: &str, now: Now) {
        codes::log!(
            SUBMIT_SIDE_GONE,
            "The submit side is gone ({how}); telling all managers to exit"
        );
        self.broker.handle_submit_side_gone(now);
    }

    /// The broker, for its getters.
    pub fn broker(&self) -> &Broker<Body<F>> {
        &self.broker
    }

    /// The broker, for what comes as no frame: a closed connection, who takes nothing, whether
    /// tasks may leave, who gets the next. Frames, time and the end of the submit side have doors
    /// of their own here. Whatever it was, drain [`Self::poll_transmit`] after it.
    pub fn broker_mut(&mut self) -> &mut Broker<Body<F>> {
        &mut self.broker
    }

    /// How many commands the executor has sent.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Decides whether a line about bad input is written, here and in the sockets' ring.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// What they take, about.
    pub fn queued_bytes(&self) -> usize {
        self.broker.queued_weight()
    }

    /// Time has passed: whoever is overdue is lost, and what was held back of the log is told.
    pub fn handle_time(&mut self, now: Now) {
        // A sleep of the process is logged before what was held back in it.
        self.broker.begin_turn(now);
        self.complaints.handle_time(now);
        self.broker.handle_time(now);
    }

    /// On the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        let deadlines = [self.broker.next_deadline(), self.complaints.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// A batch for a recipient that [`Broker::next_recipient`] named just now: how many tasks are
    /// in it, and its bytes in Parsl's form.
    /// What is told of it is the last of what [`Self::poll_transmit`] has then, and leaves first.
    pub fn hand_out(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> (usize, Vec<u8>) {
        let shipment = self.broker.hand_out(to, room, now);
        (shipment.len(), encode_batch(shipment.bodies()))
    }

    /// Whether [`Self::poll_transmit`] has something.
    pub fn has_effects(&self) -> bool {
        self.broker.has_outputs()
    }

    /// The next thing to send.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit<F>> {
        loop {
            return Some(match self.broker.poll_output()? {
                Output::ToManager { to, message } => Transmit::Manager { to, message },
                Output::Notice(notice) => Transmit::Result(Parcel::Bytes(notice.encode())),
                Output::Result(result) => match result.into_frame().and_then(Carried::into_frame) {
                    Some(frame) => Transmit::Result(Parcel::Frame(frame)),
                    None => {
                        debug_assert!(false, "results are kept whole");
                        continue;
                    }
                },
                Output::Failure(failure) => Transmit::Result(Parcel::Bytes(failure.encode())),
                Output::Observation(told) => Transmit::Result(Parcel::Bytes(told.encode())),
                Output::Report(report) => Transmit::Report(report.encode(self.run_id.as_deref())),
                Output::Happening(happening) => {
                    Transmit::Event(event_line::of_happening(&happening))
                }
                Output::Rank(question) => Transmit::Rank(question.encode()),
                Output::Forgotten(manager) => Transmit::Forget(manager),
                Output::Stop(reason) => Transmit::Stop(reason),
            });
        }
    }

    fn handle_unreadable_task(&mut self, task: UnreadableTask, now: Now) {
        let UnreadableTask { id, reason } = task;
        match id {
            Some(AnyTaskId::Ordinary(id)) => {
                codes::log!(TASK_UNREADABLE, "Failing task {id}: unreadable: {reason}");
                let reason = unreadable_text(&id, &reason);
                self.broker.handle_unreadable_task(id, reason, now);
            }
            Some(AnyTaskId::Wide(id)) => {
                codes::log!(
                    TASK_UNREADABLE,
                    "Failing task {id}: cannot be served: {reason}"
                );
                let reason = unreadable_text(&id, &reason);
                self.broker.handle_task_of_wide_id(id, reason, now);
            }
            None => codes::log!(TASK_MESSAGE_DROPPED, "Dropping a task message: {reason}"),
        }
    }

    fn handle_message(&mut self, id: &ManagerId, message: Read<F>, origin: Origin, now: Now) {
        let mut message = match message {
            Ok(message) => message,
            Err(reason) => {
                let unreadable = Complaint::UnreadableMessage;
                if !self.complaints.may_say(unreadable, id.as_bytes(), now) {
                    return;
                }
                let from = origin.address.map(|address| format!(" at {address}"));
                let from = from.unwrap_or_default();
                codes::log!(
                    MESSAGE_UNREADABLE,
                    "Failed to read manager message; ignoring message of {id}{from}: {reason}"
                );
                return;
            }
        };
        debug!(
            "Processing message type '{}' from manager {id}",
            message.kind()
        );
        if let FromManager::Registration(registration) = &mut message {
            self.learn_versions();
            self.write_registration_down(id, registration, now);
        }
        self.broker.handle_manager(id, message, origin, now);
    }

    fn learn_versions(&mut self) {
        if let Some(find) = self.find_versions.take() {
            self.broker.handle_versions(find());
        }
    }
}

fn held_bytes<F: AsRef<[u8]>>(body: &Body<F>) -> usize {
    body.appended_len() + QUEUED_TASK_BYTES
}

fn unreadable_text(id: &dyn Display, reason: &Malformed) -> String {
    format!("htex-interchange could not read the message of task {id}: {reason}")
}
