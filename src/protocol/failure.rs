//! Results that the interchange creates for tasks that cannot have a result of their own.
//!
//! An exception is sent as `02\n` and an ordinary protocol-4 pickle, which every supported release
//! can read (guide/protocol, P-1.8.2). The class paths exist in all these releases.

use crate::ids::{ManagerId, TaskId, WideTaskId};
use pickle::Encoder;

/// The task id under which the executor fails all its unfinished tasks.
const EVERY_TASK: i64 = -1;
/// The header of Parsl's dill serializer, which also reads plain pickles.
const SERIALIZER_HEADER: &[u8] = b"02\n";

/// The reasons why a task ends without a result of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The task's manager is lost. The exception is `ManagerLost`, in the wrapper from which Parsl
    /// raises it again.
    ManagerLost {
        /// The task's id.
        task: TaskId,
        /// The manager that held the task.
        manager: ManagerId,
        /// The manager's host name.
        hostname: String,
        /// When the manager was declared lost, in seconds since the epoch.
        lost_at_s: f64,
    },
    /// The task's message cannot be passed on.
    Unreadable {
        /// The task's id.
        task: TaskId,
        /// The text shown to the user.
        reason: String,
    },
    /// The task's id has more than 64 bits, which is not supported.
    WideId {
        /// The task's id.
        task: WideTaskId,
        /// The text shown to the user.
        reason: String,
    },
    /// A manager has other versions than the submit side. Every task fails with `VersionMismatch`.
    VersionMismatch {
        /// The versions of the submit side, in words.
        interchange: String,
        /// The versions of the manager, in words.
        manager: String,
    },
    /// This program cannot continue. Every task fails with the reason.
    Broken {
        /// The text shown to the user.
        reason: String,
    },
}

impl Failure {
    /// Encodes the whole message for the result channel.
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

/// Encodes a bare exception, without a wrapper. The executor accepts any exception instance.
fn call(module: &str, class: &str, texts: &[&str]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.global(module, class).begin_tuple();
    for text in texts {
        out.str(text);
    }
    out.end_tuple().reduce();
    serialized(out)
}

/// Encodes `ManagerLost`. `RemoteExceptionWrapper` needs all four of its attributes; without one,
/// the user would see a DeserializationError instead. The manager's id is sent as bytes that
/// contain text, because the exception decodes the id to print itself.
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
