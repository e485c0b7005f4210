//! The control channel's questions and answers: one pickle each way, and always an answer.

use std::rc::Rc;

use crate::ids::{BlockId, ManagerId};
use crate::malformed::Malformed;
use crate::opaque::Opaque;
use crate::registration::Registration;
use pickle::{Encoder, Tree, View};

/// What the executor may ask. The names of all releases in the window, which do not collide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Which port managers connect to: the executor's first question.
    WorkerBinds,
    /// Which blocks have ever had a manager.
    ConnectedBlocks,
    /// What each manager is and does.
    Managers,
    /// Which Python packages each manager's node has.
    ManagersPackages,
    /// Until 2026.07.06: the sum of all worker counts.
    Workers,
    /// Until 2024.10.07: queued and outstanding tasks.
    Outstanding,
    /// `["HOLD_MANAGER", id]`, or `"HOLD_WORKER;id"` until 2026.07.20.
    Hold(String),
    /// Before 2025.06.30, when managers had two ports.
    WorkerPorts,
    /// Answered None, as Parsl does; the text is for the log.
    Unknown(String),
}

impl Command {
    /// Reads a request; whatever is a pickle is one, known or not.
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
            [name, id] if name.as_str() == Some("HOLD_MANAGER") => match id.as_str() {
                Some(id) => Ok(Self::Hold(id.to_owned())),
                None => Ok(Self::Unknown(format!("HOLD_MANAGER of {}", id.kind_name()))),
            },
            _ => Ok(Self::Unknown(format!(
                "{} of other things",
                request.kind_name()
            ))),
        }
    }

    fn named(name: &str) -> Self {
        if let Some(id) = name.strip_prefix("HOLD_WORKER;") {
            return Self::Hold(id.to_owned());
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

/// What the interchange answers.
#[derive(Debug)]
pub enum Reply<B> {
    /// Done, or not understood.
    None,
    /// A port or a count.
    Number(i64),
    /// The blocks that have ever had a manager.
    Blocks(Rc<Vec<BlockId>>),
    /// A dict for each manager.
    Managers(Vec<ManagerStatus>),
    /// A dict of each manager's packages, from its registration.
    Packages(Vec<(ManagerId, Rc<Registration<B>>)>),
}

/// One manager as MANAGERS lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagerStatus {
    /// Whose row it is.
    pub manager: ManagerId,
    /// Where it runs.
    pub block: BlockId,
    /// How many workers it has, by its own account.
    pub worker_count: i64,
    /// How many tasks it has in hand, those that wait for a worker included.
    pub tasks: usize,
    /// Seconds since its last task ended, or since it registered; 0 while it is busy.
    pub idle_duration_s: f64,
    /// False once it is held.
    pub active: bool,
    /// The Parsl that it registered with.
    pub parsl_version: String,
    /// And its Python, as in 3.11.7.
    pub python_version: String,
    /// It is drained, or about to be: it gets nothing more.
    pub draining: bool,
}

impl<F: AsRef<[u8]>> Reply<Opaque<F>> {
    /// The answer's one frame.
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

impl ManagerStatus {
    fn encode(&self, out: &mut Encoder) {
        out.begin_dict();
        out.str("manager").str(&self.manager.to_text());
        out.str("block_id");
        self.block.encode(out);
        out.str("worker_count").int(self.worker_count);
        out.str("tasks").int(self.tasks as i64);
        out.str("idle_duration").float(self.idle_duration_s);
        out.str("active").bool(self.active);
        out.str("parsl_version").str(&self.parsl_version);
        out.str("python_version").str(&self.python_version);
        out.str("draining").bool(self.draining);
        out.end_dict();
    }
}

/// The packages leave as they came: `operator.getitem(<the registration>, "packages")`, worked out
/// by whoever loads the answer. A manager that told none has an empty dict (stock dies on it).
fn encode_packages<F: AsRef<[u8]>>(
    managers: &[(ManagerId, Rc<Registration<Opaque<F>>>)],
    out: &mut Encoder,
) {
    out.begin_dict();
    for (id, registration) in managers {
        out.str(&id.to_text());
        if registration.has_packages {
            registration.message.append_item_to("packages", out);
        } else {
            out.begin_dict().end_dict();
        }
    }
    out.end_dict();
}

/// An answer that raises `ValueError(reason)` where it is loaded, so that a refused start ends in
/// an exception of `parsl.load()` and not in its time-out of 120 s.
///
/// A pickle can call, but not raise: a `concurrent.futures.Future` is given the exception, and
/// asked for its result. (`int(reason)` raises too, but cuts the text at 200 characters.)
pub fn refusal(reason: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.global("concurrent.futures", "Future")
        .empty_tuple()
        .reduce();
    // The Future is on the stack; both calls need it, so it goes through the memo.
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
