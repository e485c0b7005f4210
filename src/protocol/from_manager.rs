//! What managers say on the worker port.
//!
//! A manager's message is `[identity, pickle]`; results and monitoring came behind a marker frame,
//! `[identity, pickle({type: result}), pickle(item)…]`, until 2026.10.5. Both forms are read from
//! whoever sends them.

use crate::ids::TaskId;
use crate::malformed::Malformed;
use crate::opaque::{Opaque, Stay};
use crate::registration::Registration;
use pickle::{self, Flat, FlatValue, Tree, View};

/// Everything that a manager may say.
#[derive(Debug)]
pub enum FromManager<B> {
    /// "Are you there?", asked before registering, by way of several addresses at once.
    ConnectionProbe,
    /// "I am here, with so many workers": from now on it may get tasks.
    Registration(Box<Registration<B>>),
    /// "I am still here", every few seconds; it is echoed.
    Heartbeat,
    /// "Send me nothing more, and tell me when my last task is done."
    Drain,
    /// The outcome of one task, to be forwarded as the very frame that came.
    Result {
        /// Which task is done.
        task: TaskId,
        /// Whether it has an exception, and no result.
        is_exception: bool,
        /// What came.
        frame: B,
    },
    /// A result that would end the executor's only result thread: the task is done, and has no
    /// outcome that could be passed on.
    SpoiltResult {
        /// Which task is done.
        task: TaskId,
        /// What is wrong with its outcome.
        reason: String,
    },
    /// A monitoring record for the hub: an object with a `payload` in it.
    Monitoring {
        /// The object.
        message: B,
    },
}

impl<B> FromManager<B> {
    /// Its `type` on the wire.
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
    /// Reads a message of one frame, the identity aside.
    ///
    /// # Errors
    /// What is wrong with it, for a log line.
    pub fn parse(frame: F) -> Result<Self, Malformed> {
        let bytes = frame.as_ref();
        // By reference: what was read is half a kilobyte, and would be copied into a closure.
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

    /// Reads a message of several frames: a marker, and items behind it. An item that cannot be
    /// read takes none of its neighbours with it.
    pub fn parse_marked(mut frames: Vec<F>) -> Vec<Result<Self, Malformed>> {
        let count = frames.len();
        match frames.first() {
            Some(marker) if is_marker(marker.as_ref()) => {
                frames.drain(1..).map(parse_item).collect()
            }
            _ => vec![Err(Malformed::shape(format!(
                "{count} frames without a result marker in the first"
            )))],
        }
    }
}

fn parse_thoroughly<F: AsRef<[u8]>>(frame: F) -> Result<FromManager<Opaque<F>>, Malformed> {
    let bytes = frame.as_ref();
    // What is read refuses what is scanned, and stops at a number of objects.
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

/// What managers say all the time, in the shape in which they write it.
enum Plain {
    Heartbeat,
    Result { task: TaskId, is_exception: bool },
}

/// None for any other message.
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

/// An item behind a marker: results and monitoring only, as every release sent them.
fn parse_item<F: AsRef<[u8]>>(frame: F) -> Result<FromManager<Opaque<F>>, Malformed> {
    match FromManager::parse(frame)? {
        item @ (FromManager::Result { .. }
        | FromManager::SpoiltResult { .. }
        | FromManager::Monitoring { .. }) => Ok(item),
        FromManager::ConnectionProbe
        | FromManager::Registration(_)
        | FromManager::Heartbeat
        | FromManager::Drain => Err(Malformed::shape(
            "neither a result nor monitoring stands behind a marker",
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

/// The executor's one result thread ends on a message without an outcome, or with an outcome that
/// is not bytes. Below protocol 3 bytes are written as a call, which is taken for what it says.
fn spoilt(message: View<'_, '_>) -> Option<String> {
    let Some(outcome) = message.get("result").or_else(|| message.get("exception")) else {
        return Some("it has neither a 'result' nor an 'exception'".to_owned());
    };
    let is_bytes = outcome.as_bytes().is_some() || outcome.instance().is_some();
    (!is_bytes).then(|| format!("its outcome should be bytes, not {}", outcome.kind_name()))
}

/// What a peer wrote, as far as a log line wants it.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
