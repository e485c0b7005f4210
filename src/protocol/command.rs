//! The requests and replies of the control channel. Each is one pickle, and every request gets a
//! reply.

use std::rc::Rc;

use crate::ids::{BlockId, ManagerId};
use crate::malformed::Malformed;
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::{Encoder, Tree, View};

/// A request of the executor. The requests of all supported releases have distinct names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Requests the port that managers connect to: the executor's first request.
    WorkerBinds,
    /// Requests the blocks that have ever had a manager.
    ConnectedBlocks,
    /// Requests the properties and the state of each manager.
    Managers,
    /// Requests the Python packages of each manager's node.
    ManagersPackages,
    /// Requests the sum of all worker counts. Used until 2026.07.06.
    Workers,
    /// Requests the number of queued and outstanding tasks. Used until 2024.10.07.
    Outstanding,
    /// Holds a manager: `["HOLD_MANAGER", id]`, or `"HOLD_WORKER;id"` until 2026.07.20. In the
    /// dialect without a control channel it is `["HOLD_WORKER", id]`, where the id is bytes.
    Hold(ManagerId),
    /// Requests the worker ports. Used before 2025.06.30, when managers had two ports.
    WorkerPorts,
    /// Any other request. The reply is None, as in Parsl; the text is for the log.
    Unknown(String),
}

impl Command {
    /// Reads a request. Every pickle is a request, either a known or an unknown one.
    ///
    /// # Errors
    /// [`Malformed::Pickle`] only.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let tree = Tree::read(bytes)?;
        let request = tree.root();
        if let Some(name) = request.as_str() {
            return Ok(Self::named(name));
        }
        let Some(items) = request.items().filter(|_| request.is_list()) else {
            return Ok(Self::Unknown(request.kind_name().to_owned()));
        };
        let items: Vec<View<'_, '_>> = items.take(3).collect();
        match items.as_slice() {
            [name, id] => Ok(match (name.as_str(), id.as_str(), id.as_bytes()) {
                (Some("HOLD_MANAGER"), Some(id), _) => Self::Hold(ManagerId::new(id.as_bytes())),
                (Some("HOLD_WORKER"), _, Some(id)) => Self::Hold(ManagerId::new(id)),
                (Some(name @ ("HOLD_MANAGER" | "HOLD_WORKER")), ..) => {
                    Self::Unknown(format!("{name} of {}", id.kind_name()))
                }
                _ => Self::of_other_things(request),
            }),
            _ => Ok(Self::of_other_things(request)),
        }
    }

    fn of_other_things(request: View<'_, '_>) -> Self {
        Self::Unknown(format!("{} with unknown contents", request.kind_name()))
    }

    fn named(name: &str) -> Self {
        if let Some(id) = name.strip_prefix("HOLD_WORKER;") {
            return Self::Hold(ManagerId::new(id.as_bytes()));
        }
        match name {
            "WORKER_BINDS" => Self::WorkerBinds,
            "CONNECTED_BLOCKS" => Self::ConnectedBlocks,
            "MANAGERS" => Self::Managers,
            "MANAGERS_PACKAGES" => Self::ManagersPackages,
            "WORKERS" => Self::Workers,
            "OUTSTANDING_C" => Self::Outstanding,
            "WORKER_PORTS" => Self::WorkerPorts,
            other => Self::Unknown(other.chars().take(80).collect()),
        }
    }
}

/// A reply of the interchange.
#[derive(Debug)]
pub enum Reply<B> {
    /// The command was carried out, or was not understood.
    None,
    /// A port or a count.
    Number(i64),
    /// The blocks that have ever had a manager.
    Blocks(Rc<Vec<BlockId>>),
    /// One dict for each manager.
    Managers(Vec<ManagerStatus>),
    /// The packages of each manager, from its registration.
    Packages(Vec<(ManagerId, Rc<Registration<B>>)>),
}

/// The state of one manager, as listed by MANAGERS.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagerStatus {
    /// The manager's id.
    pub manager: ManagerId,
    /// The block that the manager belongs to.
    pub block: BlockId,
    /// Number of workers, as reported by the manager.
    pub worker_count: i64,
    /// Number of tasks that the manager holds, including those that wait for a worker.
    pub tasks: usize,
    /// Seconds since the manager's last task ended, or since it registered; 0 while it has tasks.
    pub idle_duration_s: f64,
    /// False once the manager is held.
    pub active: bool,
    /// The Parsl version in the manager's registration.
    pub parsl_version: String,
    /// The Python version in the manager's registration, such as 3.11.7.
    pub python_version: String,
    /// Whether the manager is drained or draining, and gets no more tasks.
    pub draining: bool,
}

impl<F: AsRef<[u8]>> Reply<Opaque<F>> {
    /// Encodes the reply as one frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Self::None => {
                out.none();
            }
            Self::Number(number) => {
                out.int(*number);
            }
            Self::Blocks(blocks) => {
                out.begin_list();
                blocks.iter().for_each(|block| block.encode(&mut out));
                out.end_list();
            }
            Self::Managers(managers) => {
                out.begin_list();
                managers.iter().for_each(|manager| manager.encode(&mut out));
                out.end_list();
            }
            Self::Packages(managers) => encode_packages(managers, &mut out),
        }
        out.finish()
    }
}

/// One entry of a manager's dict.
#[derive(Debug, Clone, PartialEq)]
pub enum ManagerFact {
    /// The manager's id.
    Manager(ManagerId),
    /// See [`ManagerStatus::block`].
    Block(BlockId),
    /// See [`ManagerStatus::worker_count`].
    WorkerCount(i64),
    /// See [`ManagerStatus::tasks`].
    Tasks(usize),
    /// See [`ManagerStatus::idle_duration_s`].
    IdleDurationS(f64),
    /// See [`ManagerStatus::active`].
    Active(bool),
    /// See [`ManagerStatus::parsl_version`].
    ParslVersion(String),
    /// See [`ManagerStatus::python_version`].
    PythonVersion(String),
    /// See [`ManagerStatus::draining`].
    Draining(bool),
}

impl ManagerStatus {
    /// Returns the entries, in Parsl's order.
    pub fn into_facts(self) -> [ManagerFact; 9] {
        [
            ManagerFact::Manager(self.manager),
            ManagerFact::Block(self.block),
            ManagerFact::WorkerCount(self.worker_count),
            ManagerFact::Tasks(self.tasks),
            ManagerFact::IdleDurationS(self.idle_duration_s),
            ManagerFact::Active(self.active),
            ManagerFact::ParslVersion(self.parsl_version),
            ManagerFact::PythonVersion(self.python_version),
            ManagerFact::Draining(self.draining),
        ]
    }

    fn encode(&self, out: &mut Encoder) {
        out.begin_dict();
        for fact in self.clone().into_facts() {
            out.str(fact.key());
            fact.encode(out);
        }
        out.end_dict();
    }
}

impl ManagerFact {
    /// Returns the entry's key in the dict.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Manager(_) => "manager",
            Self::Block(_) => "block_id",
            Self::WorkerCount(_) => "worker_count",
            Self::Tasks(_) => "tasks",
            Self::IdleDurationS(_) => "idle_duration",
            Self::Active(_) => "active",
            Self::ParslVersion(_) => "parsl_version",
            Self::PythonVersion(_) => "python_version",
            Self::Draining(_) => "draining",
        }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Manager(id) => {
                out.str(&id.to_text());
            }
            Self::Block(block) => block.encode(out),
            Self::WorkerCount(count) => {
                out.int(*count);
            }
            Self::Tasks(count) => {
                out.int(*count as i64);
            }
            Self::IdleDurationS(seconds) => {
                out.float(*seconds);
            }
            Self::Active(is_so) | Self::Draining(is_so) => {
                out.bool(*is_so);
            }
            Self::ParslVersion(version) | Self::PythonVersion(version) => {
                out.str(version);
            }
        }
    }
}

/// Encodes the packages without reading them, as `operator.getitem(<the registration>,
/// "packages")`. The loading process evaluates this call. A manager whose registration has no
/// packages gets an empty dict (Parsl's own interchange crashes on it).
fn encode_packages<F: AsRef<[u8]>>(
    managers: &[(ManagerId, Rc<Registration<Opaque<F>>>)],
    out: &mut Encoder,
) {
    out.begin_dict();
    for (id, registration) in managers {
        out.str(&id.to_text());
        encode_packages_of(registration, out);
    }
    out.end_dict();
}

/// Encodes the packages of one manager.
pub(crate) fn encode_packages_of<F: AsRef<[u8]>>(
    registration: &Registration<Opaque<F>>,
    out: &mut Encoder,
) {
    if registration.has_packages {
        registration.message.append_item_to("packages", out);
    } else {
        out.begin_dict().end_dict();
    }
}

/// Encodes a reply that raises `ValueError(reason)` when it is loaded. A refused start then ends in
/// an exception of `parsl.load()`, and not in its time-out of 120 s.
///
/// A pickle can call functions, but not raise. Therefore the reply sets the exception on a
/// `concurrent.futures.Future` and requests its result. (`int(reason)` raises too, but cuts the
/// text at 200 characters.)
pub fn refusal(reason: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.global("concurrent.futures", "Future")
        .empty_tuple()
        .reduce();
    // Two calls use the Future on the stack, so the memo stores it.
    let future = out.memoize();
    out.pop();
    out.global("builtins", "getattr").begin_tuple();
    out.get(future).str("set_exception").end_tuple().reduce();
    out.begin_tuple();
    out.global("builtins", "ValueError")
        .begin_tuple()
        .str(reason)
        .end_tuple()
        .reduce();
    out.end_tuple().reduce().pop();
    out.global("builtins", "getattr").begin_tuple();
    out.get(future).str("result").end_tuple().reduce();
    out.empty_tuple().reduce();
    out.finish()
}
