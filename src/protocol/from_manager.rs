//! The messages that managers send to the worker port.
//!
//! A manager's message is `[identity, pickle]`. Until 2026.10.5, results and monitoring records
//! came behind a marker frame: `[identity, pickle({type: result}), pickle(item)…]`. Both forms are
//! read from every manager.

use crate::ids::TaskId;
use crate::malformed::Malformed;
use crate::opaque::{Opaque, Stay};
use crate::registration::Registration;
use pickle::{self, Flat, FlatValue, Tree, View};

/// A message of a manager.
#[derive(Debug)]
pub enum FromManager<B> {
    /// A probe for connectivity. A manager sends it before it registers, to several addresses at
    /// once.
    ConnectionProbe,
    /// A registration with the number of workers. From now on the manager may get tasks.
    Registration(Box<Registration<B>>),
    /// A sign of life, sent every few seconds. The interchange echoes it.
    Heartbeat,
    /// A request to get no more tasks, and to be notified when the last task is done.
    Drain,
    /// The outcome of one task. The received frame is forwarded unchanged.
    Result {
        /// The task that is done.
        task: TaskId,
        /// Whether the outcome is an exception rather than a result.
        is_exception: bool,
        /// The received frame.
        frame: B,
    },
    /// A result that would end the executor's only result thread. The task is done, but its outcome
    /// cannot be passed on.
    SpoiltResult {
        /// The task that is done.
        task: TaskId,
        /// The error in the outcome.
        reason: String,
    },
    /// A monitoring record for the hub: a dict with a `payload`.
    Monitoring {
        /// The whole dict.
        message: B,
    },
}

impl<B> FromManager<B> {
    /// Returns the message's `type` on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConnectionProbe => "connection_probe",
            Self::Registration(_) => "registration",
            Self::Heartbeat => "heartbeat",
            Self::Drain => "drain",
            Self::Result { .. } | Self::SpoiltResult { .. } => "result",
            Self::Monitoring { .. } => "monitoring",
        }
    }
}

impl<F: AsRef<[u8]>> FromManager<Opaque<F>> {
    /// Reads a message of one frame, which follows the identity.
    ///
    /// # Errors
    /// The error in the message, for a log line.
    pub fn parse(frame: F) -> Result<Self, Malformed> {
        let bytes = frame.as_ref();
        // Matched by reference: the value of half a kilobyte would otherwise be copied into a
        // closure.
        let plain = match &Flat::read(bytes) {
            Some(message) => plain(message),
            None => None,
        };
        match plain {
            Some(Plain::Heartbeat) => Ok(Self::Heartbeat),
            Some(Plain::Result { task, is_exception }) => {
                let frame = Opaque::whole(frame);
                Ok(Self::Result {
                    task,
                    is_exception,
                    frame,
                })
            }
            None => parse_thoroughly(frame),
        }
    }

    /// Reads a message of several frames: a marker, followed by items. An item that cannot be read
    /// does not affect the other items.
    pub fn parse_marked(mut frames: Vec<F>) -> Vec<Result<Self, Malformed>> {
        let count = frames.len();
        match frames.first() {
            Some(marker) if is_marker(marker.as_ref()) => {
                frames.drain(1..).map(parse_item).collect()
            }
            _ => vec![Err(Malformed::shape(format!(
                "{count} frames, the first of which is not a result marker"
            )))],
        }
    }
}

fn parse_thoroughly<F: AsRef<[u8]>>(frame: F) -> Result<FromManager<Opaque<F>>, Malformed> {
    let bytes = frame.as_ref();
    // Reading a tree refuses everything that scanning refuses, and limits the number of objects.
    let tree = Tree::read(bytes)?;
    let message = tree.root();
    let kind = kind_of(message)?;
    match kind {
        "result" => {
            let task = result_task(message)?;
            if let Some(reason) = spoilt(message) {
                return Ok(FromManager::SpoiltResult { task, reason });
            }
            Ok(FromManager::Result {
                task,
                is_exception: message.get("result").is_none(),
                frame: Opaque::whole(frame),
            })
        }
        "heartbeat" => Ok(FromManager::Heartbeat),
        "connection_probe" => Ok(FromManager::ConnectionProbe),
        "drain" => Ok(FromManager::Drain),
        "monitoring" => {
            if message.get("payload").is_none() {
                return Err(Malformed::shape("a monitoring message needs a 'payload'"));
            }
            let program = pickle::scan(bytes)?;
            Ok(FromManager::Monitoring {
                message: Opaque::object(frame, program, Stay::Short),
            })
        }
        "registration" => {
            let program = pickle::scan(bytes)?;
            let facts = Registration::read(message, bytes.len())?;
            Ok(FromManager::Registration(Box::new(
                facts.with(frame, program),
            )))
        }
        other => Err(Malformed::shape(format!(
            "unknown message type '{}'",
            shorten(other)
        ))),
    }
}

/// The frequent messages of managers, in the shape in which managers write them.
enum Plain {
    Heartbeat,
    Result { task: TaskId, is_exception: bool },
}

/// Reads a frequent message. Returns `None` for any other message.
fn plain(message: &Flat<'_>) -> Option<Plain> {
    let FlatValue::Ascii(kind) = message.get("type")? else {
        return None;
    };
    match kind {
        b"result" => plain_result(message),
        b"heartbeat" => Some(Plain::Heartbeat),
        _ => None,
    }
}

fn plain_result(message: &Flat<'_>) -> Option<Plain> {
    let result = message.get("result");
    let is_exception = result.is_none();
    let Some(FlatValue::Bytes(_)) = result.or_else(|| message.get("exception")) else {
        return None;
    };
    let task = TaskId::of_flat(message.get("task_id")?)?;
    Some(Plain::Result { task, is_exception })
}

/// Reads an item behind a marker. Every release sent only results and monitoring records there.
fn parse_item<F: AsRef<[u8]>>(frame: F) -> Result<FromManager<Opaque<F>>, Malformed> {
    match FromManager::parse(frame)? {
        item @ (FromManager::Result { .. }
        | FromManager::SpoiltResult { .. }
        | FromManager::Monitoring { .. }) => Ok(item),
        FromManager::ConnectionProbe
        | FromManager::Registration(_)
        | FromManager::Heartbeat
        | FromManager::Drain => Err(Malformed::shape(
            "a frame behind a marker is neither a result nor a monitoring message",
        )),
    }
}

fn is_marker(bytes: &[u8]) -> bool {
    let Ok(tree) = Tree::read(bytes) else {
        return false;
    };
    let marker = tree.root();
    marker.get("task_id").is_none() && kind_of(marker).is_ok_and(|kind| kind == "result")
}

fn kind_of<'t>(message: View<'t, '_>) -> Result<&'t str, Malformed> {
    if !message.is_dict() {
        let kind = message.kind_name();
        return Err(Malformed::shape(format!(
            "a message should be a dict, not {kind}"
        )));
    }
    message
        .get("type")
        .and_then(View::as_str)
        .ok_or_else(|| Malformed::shape("a message needs a 'type', a str"))
}

fn result_task(message: View<'_, '_>) -> Result<TaskId, Malformed> {
    let task = message.get("task_id").and_then(TaskId::read);
    task.ok_or_else(|| Malformed::shape("a result needs a 'task_id', an int"))
}

/// Returns the reason if a result's outcome cannot be passed on. A message without an outcome, or
/// with an outcome that is not bytes, ends the executor's only result thread. Below protocol 3
/// bytes are written as a call, so a call is accepted unchecked.
fn spoilt(message: View<'_, '_>) -> Option<String> {
    let Some(outcome) = message.get("result").or_else(|| message.get("exception")) else {
        return Some("it has neither a 'result' nor an 'exception'".to_owned());
    };
    let is_bytes = outcome.as_bytes().is_some() || outcome.instance().is_some();
    (!is_bytes).then(|| format!("its outcome should be bytes, not {}", outcome.kind_name()))
}

/// Cuts a text from a peer to the length that a log line needs.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
