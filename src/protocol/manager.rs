//! What managers and the interchange say to each other on the worker port.
//!
//! A manager's message is `[identity, pickle]`; results and monitoring came behind a marker frame,
//! `[identity, pickle({type: result}), pickle(item)…]`, until 2026.10.5. Both forms are read from
//! whoever sends them.

use super::{BlockId, Malformed, ManagerId, Opaque, Stay, TaskId};
use pickle::{self, Encoder, Flat, FlatValue, Program, Tree, View};

/// A capacity that no manager has: what is claimed beyond it is cut to it.
const CAPACITY_MAX: i64 = 1 << 24;
/// A registration is kept for as long as its manager is; real ones have some kilobytes, most of it
/// names of packages.
const REGISTRATION_BYTES_MAX: usize = 4 << 20;
/// Its texts stand in log lines, in lists of the latest changes, and blocks are remembered.
const TEXT_BYTES_MAX: usize = 1024;

/// Everything that a manager may say.
#[derive(Debug)]
pub enum FromManager<B> {
    /// "Are you there?", asked before registering, by way of several addresses at once.
    ConnectionProbe,
    Registration(Box<Registration<B>>),
    Heartbeat,
    /// "Send me nothing more, and tell me when my last task is done."
    Drain,
    /// The outcome of one task, to be forwarded as the very frame that came.
    Result {
        task: TaskId,
        frame: B,
    },
    /// A result that would end the executor's only result thread: the task is done, and has no
    /// outcome that could be passed on.
    SpoiltResult {
        task: TaskId,
        reason: String,
    },
    /// A monitoring record for the hub: an object with a `payload` in it.
    Monitoring {
        message: B,
    },
}

/// A manager's account of itself.
#[derive(Debug)]
pub struct Registration<B> {
    pub block: BlockId,
    /// Most tasks that it may hold at a time, prefetched ones included.
    pub max_capacity: usize,
    pub worker_count: i64,
    pub hostname: String,
    pub parsl_version: String,
    pub python_version: String,
    /// Seconds since the epoch, on the manager's clock; infinite if it never drains by itself.
    pub drain_time_s: f64,
    pub start_time_s: f64,
    /// Whether the message tells the capacity itself: stock reports it as 0 where it does not.
    pub tells_capacity: bool,
    /// Whether the message tells the node's Python packages (since 2025.02.17).
    pub has_packages: bool,
    /// The whole message, as monitoring and MANAGERS_PACKAGES pass it on.
    pub message: B,
}

impl<B> Registration<B> {
    /// `3.11` of `3.11.7`: what is compared, as Parsl compares it.
    pub fn python_minor(&self) -> &str {
        match self.python_version.rsplit_once('.') {
            Some((minor, _)) => minor,
            None => &self.python_version,
        }
    }
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
            Some(Plain::Result(task)) => {
                let frame = Opaque::whole(frame);
                Ok(Self::Result { task, frame })
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
    let program = pickle::scan(bytes)?;
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
            Ok(FromManager::Monitoring {
                message: Opaque::object(frame, program, Stay::Short),
            })
        }
        "registration" if bytes.len() > REGISTRATION_BYTES_MAX => Err(Malformed::shape(format!(
            "a registration of {} bytes; more than {REGISTRATION_BYTES_MAX} are not taken",
            bytes.len()
        ))),
        "registration" => {
            let facts = registration(message)?;
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
    Result(TaskId),
}

/// None for any other message.
fn plain(message: &Flat<'_>) -> Option<Plain> {
    match message.get("type")? {
        FlatValue::Ascii(b"result") => plain_result(message).map(Plain::Result),
        FlatValue::Ascii(b"heartbeat") => Some(Plain::Heartbeat),
        _ => None,
    }
}

fn plain_result(message: &Flat<'_>) -> Option<TaskId> {
    let outcome = message.get("result").or_else(|| message.get("exception"));
    match (message.get("task_id"), outcome) {
        (Some(FlatValue::Int(task)), Some(FlatValue::Bytes(_))) => Some(TaskId(task)),
        _ => None,
    }
}

/// An item behind a marker: results and monitoring only, as every release sent them.
fn parse_item<F: AsRef<[u8]>>(frame: F) -> Result<FromManager<Opaque<F>>, Malformed> {
    match FromManager::parse(frame)? {
        item @ (FromManager::Result { .. }
        | FromManager::SpoiltResult { .. }
        | FromManager::Monitoring { .. }) => Ok(item),
        _ => Err(Malformed::shape(
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
    let task = message.get("task_id").and_then(View::as_i64);
    task.map(TaskId)
        .ok_or_else(|| Malformed::shape("a result needs a 'task_id', an int"))
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

fn registration(message: View<'_, '_>) -> Result<Registration<()>, Malformed> {
    for key in ["block_id", "hostname", "parsl_v", "python_v"] {
        let text = message.get(key).and_then(View::as_str);
        if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Malformed::shape(format!(
                "a registration's '{key}' is longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
    }
    let text = |key: &str| message.get(key).and_then(View::as_str).map(str::to_owned);
    let needed = |key: &str| {
        text(key).ok_or_else(|| Malformed::shape(format!("a registration needs '{key}', a str")))
    };
    let block = message
        .get("block_id")
        .and_then(BlockId::read)
        .ok_or_else(|| Malformed::shape("a registration needs a 'block_id', a str or an int"))?;
    // Stock takes one that does not tell its capacity, and never gives it anything.
    let max_capacity = match message.get("max_capacity") {
        None => 0,
        Some(view) => view
            .as_i64()
            .ok_or_else(|| Malformed::shape("a registration's 'max_capacity' should be an int"))?,
    };
    // A manager that has no room gets nothing; that is its own affair.
    let max_capacity = max_capacity.clamp(0, CAPACITY_MAX) as usize;
    Ok(Registration {
        block,
        max_capacity,
        worker_count: message
            .get("worker_count")
            .and_then(View::as_i64)
            .unwrap_or(0),
        hostname: text("hostname").unwrap_or_else(|| "unknown".to_owned()),
        parsl_version: needed("parsl_v")?,
        python_version: needed("python_v")?,
        drain_time_s: seconds(message.get("drain_time")).unwrap_or(f64::INFINITY),
        start_time_s: seconds(message.get("start_time")).unwrap_or(0.0),
        tells_capacity: message.get("max_capacity").is_some(),
        has_packages: message.get("packages").is_some(),
        message: (),
    })
}

/// A point in time as a number of seconds; NaN is none.
fn seconds(view: Option<View<'_, '_>>) -> Option<f64> {
    let view = view?;
    view.as_f64()
        .or_else(|| view.as_i64().map(|s| s as f64))
        .filter(|s| !s.is_nan())
}

impl Registration<()> {
    fn with<F: AsRef<[u8]>>(self, frame: F, program: Program) -> Registration<Opaque<F>> {
        Registration {
            block: self.block,
            max_capacity: self.max_capacity,
            worker_count: self.worker_count,
            hostname: self.hostname,
            parsl_version: self.parsl_version,
            python_version: self.python_version,
            drain_time_s: self.drain_time_s,
            start_time_s: self.start_time_s,
            tells_capacity: self.tells_capacity,
            has_packages: self.has_packages,
            message: Opaque::object(frame, program, Stay::Long),
        }
    }
}

/// What a peer wrote, as far as a log line wants it.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What the interchange says to a manager, besides batches of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToManager {
    /// The answer to a probe: an empty frame.
    ProbeAnswer,
    /// The answer to a heartbeat.
    HeartbeatEcho,
    /// "You are drained (or not known any more): exit."
    Shutdown,
}

impl ToManager {
    pub fn encode(self) -> &'static [u8] {
        // The pickled numbers 2³²−1 and 2³²−2, as LONG1 of five bytes.
        match self {
            Self::ProbeAnswer => b"",
            Self::HeartbeatEcho => b"\x80\x04\x8a\x05\xff\xff\xff\xff\x00.",
            Self::Shutdown => b"\x80\x04\x8a\x05\xfe\xff\xff\xff\x00.",
        }
    }
}

/// A batch: the pickled list of the task dicts, each as the executor wrote it.
pub fn encode_batch<'a, F: AsRef<[u8]> + 'a>(
    bodies: impl Iterator<Item = &'a Opaque<F>> + Clone,
) -> Vec<u8> {
    // PROTO, EMPTY_LIST, MARK; APPENDS, STOP. Exact, so that the room is handed on as it is.
    const AROUND_BYTES: usize = 6;
    let bytes = bodies.clone().map(Opaque::appended_len).sum::<usize>() + AROUND_BYTES;
    let mut out = Encoder::with_capacity(bytes);
    out.begin_list();
    for body in bodies {
        body.append_to(&mut out);
    }
    out.end_list();
    out.finish()
}

/// How a manager is shown in a log line with where it runs.
impl<B> Registration<B> {
    pub fn place(&self, id: &ManagerId) -> String {
        format!("{id} on {} (block {})", self.hostname, self.block)
    }
}
