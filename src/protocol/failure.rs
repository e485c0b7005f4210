//! Results that we author: what the executor is told when a task cannot have its own.
//!
//! Exceptions go out as `02\n` and an ordinary protocol-4 pickle, which every release of the
//! window can read (guide/protocol, P-1.8.2); class paths are those of all its releases.

use crate::ids::{ManagerId, TaskId, WideTaskId};
use pickle::Encoder;

/// The id under which the executor fails everything that it has in hand.
const EVERY_TASK: i64 = -1;
/// Header of Parsl's dill serializer, which also reads plain pickles.
const SERIALIZER_HEADER: &[u8] = b"02\n";

/// Why a task ends without a result of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Its manager is gone; `ManagerLost`, in the wrapper that Parsl reraises from.
    ManagerLost {
        /// Which task.
        task: TaskId,
        /// Who had it.
        manager: ManagerId,
        /// Where that one ran.
        hostname: String,
        /// When it was declared lost, in seconds since the epoch.
        lost_at_s: f64,
    },
    /// The task's own message could not be passed on.
    Unreadable {
        /// Which task.
        task: TaskId,
        /// What the user reads.
        reason: String,
    },
    /// The task's id is beyond what is served.
    WideId {
        /// Which task.
        task: WideTaskId,
        /// What the user reads.
        reason: String,
    },
    /// A manager runs other versions; every task fails with `VersionMismatch`.
    VersionMismatch {
        /// What the submit side runs, in words.
        interchange: String,
        /// And the manager.
        manager: String,
    },
    /// This program cannot go on; every task fails with the reason.
    Broken {
        /// What the user reads.
        reason: String,
    },
}

impl Failure {
    /// The whole message for the result channel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.begin_dict();
        out.str("type").str("result");
        out.str("task_id");
        let exception = match self {
            Self::ManagerLost {
                task,
                manager,
                hostname,
                lost_at_s,
            } => {
                out.int(task.0);
                manager_lost(manager, hostname, *lost_at_s)
            }
            Self::Unreadable { task, reason } => {
                out.int(task.0);
                call("parsl.serialize.errors", "DeserializationError", &[reason])
            }
            Self::WideId { task, reason } => {
                task.encode(&mut out);
                call("builtins", "OverflowError", &[reason])
            }
            Self::VersionMismatch {
                interchange,
                manager,
            } => {
                out.int(EVERY_TASK);
                let texts = [interchange.as_str(), manager.as_str()];
                call(ERRORS, "VersionMismatch", &texts)
            }
            Self::Broken { reason } => {
                out.int(EVERY_TASK);
                call("builtins", "RuntimeError", &[reason])
            }
        };
        out.str("exception").bytes(&exception);
        out.end_dict();
        out.finish()
    }
}

const ERRORS: &str = "parsl.executors.high_throughput.errors";

/// A bare exception: the executor takes any instance.
fn call(module: &str, class: &str, texts: &[&str]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.global(module, class).begin_tuple();
    for text in texts {
        out.str(text);
    }
    out.end_tuple().reduce();
    serialized(out)
}

/// `RemoteExceptionWrapper` needs all four of its attributes; a missing one would show the user a
/// DeserializationError instead. The id goes out as text in bytes, because the exception decodes it
/// to print itself.
fn manager_lost(manager: &ManagerId, hostname: &str, lost_at_s: f64) -> Vec<u8> {
    let id = manager.to_text();
    let mut out = Encoder::new();
    out.global("parsl.app.errors", "RemoteExceptionWrapper")
        .empty_tuple()
        .newobj();
    out.begin_dict();
    out.str("e_type").global(ERRORS, "ManagerLost");
    out.str("e_value").global(ERRORS, "ManagerLost");
    out.begin_tuple()
        .bytes(id.as_bytes())
        .str(hostname)
        .end_tuple()
        .reduce();
    out.begin_dict();
    out.str("manager_id").bytes(id.as_bytes());
    out.str("tstamp").float(lost_at_s);
    out.str("hostname").str(hostname);
    out.end_dict().build();
    out.str("e_traceback").none();
    out.str("cause").none();
    out.end_dict().build();
    serialized(out)
}

fn serialized(out: Encoder) -> Vec<u8> {
    [SERIALIZER_HEADER, &out.finish()].concat()
}
