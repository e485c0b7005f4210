//! Turns frames into messages and back, around a [`Broker`].
//!
//! A frame that is not a valid message of its channel is dropped here, with one WARNING that names
//! its sender. The broker's outputs leave here as bytes. This crate has no sockets: `F` is the
//! frame type of the socket code. An output that forwards a frame returns exactly the frame that
//! arrived.

// The clippy lints below forbid clocks, files and other side effects. `.cargo/clippy.toml` lists
// them.
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

/// Maximum length of a queue whose tasks stay in the frames in which they arrived, since they leave
/// soon. A small frame may pin a receive buffer of 8 KiB, so this costs at most 16 MiB.
const SHORT_QUEUE_TASKS: usize = 2048;

/// Approximate memory of a queued task in addition to its body, measured with 1 KiB tasks.
const QUEUED_TASK_BYTES: usize = 200;

/// A message to send on a channel.
#[derive(Debug)]
pub enum Parcel<F> {
    /// A received frame, forwarded unchanged.
    Frame(F),
    /// Bytes that the interchange encoded.
    Bytes(Vec<u8>),
}

/// The decoded messages of one transmission from a manager.
pub struct Said<F>(Words<F>);

enum Words<F> {
    One(Read<F>),
    /// Several messages behind a marker, in the form of older releases.
    Several(Vec<Read<F>>),
}

type Read<F> = Result<FromManager<Body<F>>, Malformed>;

/// The type of the message bodies that the broker carries.
type Body<F> = Opaque<Carried<F>>;

impl<F: AsRef<[u8]>> Said<F> {
    /// Decodes the frame after the identity, and in the form of older releases also the frames
    /// after that.
    pub fn read(first: F, mut more: Vec<F>) -> Self {
        if more.is_empty() {
            return Self(Words::One(FromManager::parse(Carried::Frame(first))));
        }
        more.insert(0, first);
        let more = more.into_iter().map(Carried::Frame).collect();
        Self(Words::Several(FromManager::parse_marked(more)))
    }

    /// Whether the message is a registration. A registration claims an identity, so the caller must
    /// first process the closing of an earlier connection with that identity.
    pub fn registers(&self) -> bool {
        matches!(&self.0, Words::One(Ok(FromManager::Registration(_))))
    }
}

/// Something to send and its destination. The items are in the order in which they must be sent.
#[derive(Debug)]
pub enum Transmit<F> {
    /// A message to a manager.
    Manager {
        /// The recipient.
        to: ManagerId,
        /// The message, which [`ToManager::encode`] turns into Parsl's form.
        message: ToManager,
    },
    /// A result or another message on the result channel, for the executor.
    Result(Parcel<F>),
    /// A record for the monitoring hub.
    Report(Vec<u8>),
    /// A line for the file of events.
    Event(Vec<u8>),
    /// A question for the process that runs the user's manager selector.
    Rank(Vec<u8>),
    /// A manager that is no longer registered. Messages that it has not taken need not be
    /// delivered.
    Forget(ManagerId),
    /// The last item: the process stops for this reason.
    Stop(StopReason),
}

/// Finds the versions on the submit side. It is called once, when the first manager registers: it
/// may read files and run an interpreter, which would delay start-up.
pub type FindVersions = Box<dyn FnOnce() -> Versions>;

/// A broker, with encoding and decoding around it.
pub struct Interchange<F> {
    broker: Broker<Body<F>>,
    find_versions: Option<FindVersions>,
    complaints: Complaints,
    /// Number of commands received.
    commands: u64,
    /// The keys of task requirements whose values were unreadable so far.
    unread: UnreadWords,
    /// Parsl's name of the run, for monitoring records.
    run_id: Option<String>,
    /// The journal, if one is kept.
    journal: Option<Journal>,
    kept_totals: Option<Record>,
}

impl<F: AsRef<[u8]>> Interchange<F> {
    /// Creates an interchange. `run_id` is Parsl's name of the run, for monitoring records.
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

    /// Handles a frame from the task channel.
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

    /// Handles a message from the worker port.
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

    /// Handles a request on the command channel and returns the reply. Every request gets a reply.
    #[must_use]
    pub fn handle_command(&mut self, frame: &[u8], now: Now) -> Vec<u8> {
        self.commands += 1;
        let command = Command::parse(frame).unwrap_or_else(|reason| {
            codes::log!(COMMAND_UNREADABLE, "Failed to read a command: {reason}");
            Command::Unknown("an unreadable request".to_owned())
        });
        self.broker.handle_command(command, now).encode()
    }

    /// Handles an answer of the process that runs the user's manager selector.
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

    /// Handles the end of the submit side, which can no longer receive results.
    pub fn handle_submit_side_gone(&mut self, how: &str, now: Now) {
        codes::log!(
            SUBMIT_SIDE_GONE,
            "The submit side is gone ({how}); telling all managers to exit"
        );
        self.broker.handle_submit_side_gone(now);
    }

    /// Returns the broker, for its getters.
    pub fn broker(&self) -> &Broker<Body<F>> {
        &self.broker
    }

    /// Returns the broker, for events that are not frames: closed connections, managers that take
    /// no messages, whether tasks may be dispatched, and the choice of the next recipient. Frames,
    /// time and the end of the submit side have methods of this type. After any call, drain
    /// [`Self::poll_transmit`].
    pub fn broker_mut(&mut self) -> &mut Broker<Body<F>> {
        &mut self.broker
    }

    /// Returns how many commands the executor has sent.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Returns the object that decides whether a line about bad input is written. The socket code
    /// uses it too.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// Returns the approximate memory of the queued tasks, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.broker.queued_weight()
    }

    /// Handles the passing of time: declares overdue managers lost, and logs how many lines were
    /// suppressed.
    pub fn handle_time(&mut self, now: Now) {
        // A suspension of the process is logged before the lines that were suppressed during it.
        self.broker.begin_turn(now);
        self.complaints.handle_time(now);
        self.broker.handle_time(now);
    }

    /// Returns when [`Self::handle_time`] must be called next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        let deadlines = [self.broker.next_deadline(), self.complaints.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Takes a batch for a recipient that [`Broker::next_recipient`] has just returned. Returns the
    /// number of tasks in the batch, and its bytes in Parsl's form. Reports about the batch are
    /// then the last items of [`Self::poll_transmit`], and must be sent before the batch.
    pub fn hand_out(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> (usize, Vec<u8>) {
        let shipment = self.broker.hand_out(to, room, now);
        (shipment.len(), encode_batch(shipment.bodies()))
    }

    /// Whether [`Self::poll_transmit`] has an item.
    pub fn has_effects(&self) -> bool {
        self.broker.has_outputs()
    }

    /// Returns the next item to send.
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
