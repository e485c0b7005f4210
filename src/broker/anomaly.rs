//! What managers, strangers and a user's selector say that does not fit the books.
//!
//! Each costs a line in the log, and whoever reaches the port may bring it about as often as they
//! like; a selector with a fault has it in each answer. So the broker logs none of these lines
//! itself: it reports what is wrong, at once (the line stands where it belongs), to whoever limits
//! what is logged.

use std::fmt;
use std::net::IpAddr;

use super::now::Now;
use protocol::{ManagerId, TaskId};

/// Something that does not fit. Its text is the log line.
pub enum Anomaly<'a> {
    /// A message of an identity that is not registered.
    NotRegistered {
        /// Who sent it.
        manager: &'a ManagerId,
        /// It was registered, and is told to exit.
        departed: bool,
        /// What it said.
        said: Remark,
    },
    /// The result of a task that the manager does not hold.
    ResultNotHeld {
        /// Who sent it.
        manager: &'a ManagerId,
        /// Whose result it would be.
        task: TaskId,
        /// The number of this late result, if the task was given up while the manager lived.
        late: Option<u64>,
    },
    /// A registration behind an identity that is registered.
    RegisteredAgain {
        /// Who registers.
        manager: &'a ManagerId,
        /// The line about any registration.
        line: &'a dyn fmt::Display,
    },
    /// A manager speaks from another address than before.
    AnotherAddress {
        /// Who speaks.
        manager: &'a ManagerId,
        /// The address that it spoke from.
        known: IpAddr,
        /// The one that it speaks from now.
        new: IpAddr,
    },
    /// The user's own selector does not do its work.
    Selector {
        /// What it did instead: the line.
        fault: &'a str,
    },
}

/// What an identity said that is not registered.
pub enum Remark {
    /// A result, whole or spoilt.
    Result {
        /// Of this task.
        task: TaskId,
        /// The number of this late result, if it comes of a manager that has departed.
        late: Option<u64>,
    },
    /// Any other message, by its kind on the wire.
    Other(&'static str),
}

/// Logs anomalies, as many as are good.
pub trait AnomalyLog {
    /// Whether it was logged: what else there is to say of it is logged only then.
    fn note(&mut self, anomaly: &Anomaly<'_>, now: Now) -> bool;
}

/// Logs each, which is right as long as no peer is a stranger.
pub(super) struct LogEach;

impl AnomalyLog for LogEach {
    fn note(&mut self, anomaly: &Anomaly<'_>, _now: Now) -> bool {
        anomaly.log();
        true
    }
}

impl Anomaly<'_> {
    /// Writes its line, at the level that it deserves.
    pub fn log(&self) {
        match self {
            Self::RegisteredAgain { .. } => codes::log!(MANAGER_REGISTERED, "{self}"),
            Self::NotRegistered { .. } => codes::log!(NOT_REGISTERED, "{self}"),
            Self::ResultNotHeld { .. } => codes::log!(RESULT_NOT_HELD, "{self}"),
            Self::AnotherAddress { .. } => codes::log!(ADDRESS_CHANGED, "{self}"),
            Self::Selector { .. } => codes::log!(SELECTOR_FAILED, "{self}"),
        }
    }

    /// Who is to blame for it, by name; of a selector, each fault by itself.
    pub fn source(&self) -> &[u8] {
        match self {
            Self::NotRegistered { manager, .. }
            | Self::ResultNotHeld { manager, .. }
            | Self::RegisteredAgain { manager, .. }
            | Self::AnotherAddress { manager, .. } => manager.as_bytes(),
            Self::Selector { fault } => fault.as_bytes(),
        }
    }
}

impl fmt::Display for Anomaly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegistered {
                manager,
                departed: true,
                said,
            } => write!(
                f,
                "Dropping {said} of {manager}, which is not registered any more; it is told to exit"
            ),
            Self::NotRegistered { manager, said, .. } => {
                write!(
                    f,
                    "Ignoring message from unknown manager: {manager}: {said}"
                )
            }
            Self::ResultNotHeld {
                manager,
                task,
                late: Some(late),
            } => write!(
                f,
                "Dropping the result of task {task} (late result number {late}): it was given up, \
                 in doubt since manager {manager} came back (see --reconnect-patience)"
            ),
            Self::ResultNotHeld { manager, task, .. } => {
                write!(
                    f,
                    "Dropping the result of task {task}: manager {manager} does not hold it"
                )
            }
            Self::RegisteredAgain { line, .. } => line.fmt(f),
            Self::AnotherAddress {
                manager,
                known,
                new,
            } => write!(
                f,
                "Manager {manager} now speaks from {new}, before from {known}"
            ),
            Self::Selector { fault } => f.write_str(fault),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result { task, late: None } => write!(f, "the result of task {task}"),
            Self::Result {
                task,
                late: Some(late),
            } => write!(f, "the result of task {task} (late result number {late})"),
            Self::Other(kind) => write!(f, "a message ({kind})"),
        }
    }
}
