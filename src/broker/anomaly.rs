//! Messages of managers, strangers and a user's selector that contradict the broker's records.
//!
//! Each anomaly costs a log line, and any peer that reaches the port can cause as many as it likes;
//! a faulty selector causes one with each answer. So the broker does not write these lines itself.
//! It reports each anomaly at once, so that its line is in the right place, to an [`AnomalyLog`],
//! which limits the lines.

use std::fmt;
use std::net::IpAddr;

use super::now::Now;
use protocol::{ManagerId, TaskId};

/// A message that contradicts the broker's records, or a failure of a user's selector. The
/// `Display` text is the log line.
pub enum Anomaly<'a> {
    /// A message of an identity that is not registered.
    NotRegistered {
        /// The sender.
        manager: &'a ManagerId,
        /// Whether the identity was registered earlier and is now told to exit.
        departed: bool,
        /// What the message says.
        said: Remark,
    },
    /// The result of a task that the manager does not hold.
    ResultNotHeld {
        /// The sender.
        manager: &'a ManagerId,
        /// The task of the result.
        task: TaskId,
        /// The number of this late result, if the task was given up while the manager lived.
        late: Option<u64>,
    },
    /// A registration under an identity that is already registered.
    RegisteredAgain {
        /// The manager that registers.
        manager: &'a ManagerId,
        /// The log line that any registration gets.
        line: &'a dyn fmt::Display,
    },
    /// A message of a manager from another address than before.
    AnotherAddress {
        /// The manager.
        manager: &'a ManagerId,
        /// The address of its earlier messages.
        known: IpAddr,
        /// The address of this message.
        new: IpAddr,
    },
    /// A failure of the user's own selector.
    Selector {
        /// The log line that describes the failure.
        fault: &'a str,
    },
}

/// The message of an identity that is not registered.
pub enum Remark {
    /// A result, whether intact or unreadable.
    Result {
        /// The task of the result.
        task: TaskId,
        /// The number of this late result, if it is from a manager that has departed.
        late: Option<u64>,
    },
    /// Any other message, by its kind on the wire.
    Other(&'static str),
}

/// A log of anomalies that limits how many lines it writes.
pub trait AnomalyLog {
    /// Logs an anomaly, unless the limit is reached. Returns whether it was logged; further lines
    /// about the anomaly are written only then.
    fn note(&mut self, anomaly: &Anomaly<'_>, now: Now) -> bool;
}

/// Logs every anomaly, which is right as long as all peers are trusted.
pub(super) struct LogEach;

impl AnomalyLog for LogEach {
    fn note(&mut self, anomaly: &Anomaly<'_>, _now: Now) -> bool {
        anomaly.log();
        true
    }
}

impl Anomaly<'_> {
    /// Writes the log line, at the level of its code.
    pub fn log(&self) {
        match self {
            Self::RegisteredAgain { .. } => codes::log!(MANAGER_REGISTERED, "{self}"),
            Self::NotRegistered { .. } => codes::log!(NOT_REGISTERED, "{self}"),
            Self::ResultNotHeld { .. } => codes::log!(RESULT_NOT_HELD, "{self}"),
            Self::AnotherAddress { .. } => codes::log!(ADDRESS_CHANGED, "{self}"),
            Self::Selector { .. } => codes::log!(SELECTOR_FAILED, "{self}"),
        }
    }

    /// Returns the identity that caused the anomaly; for a selector, the text of the failure.
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
                "Dropping {said} of {manager}, which is no longer registered; telling it to exit"
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
                "Dropping the result of task {task} (late result number {late}): the task was \
                 reported lost before, since no result came within --reconnect-patience after \
                 manager {manager} reconnected"
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
                "Manager {manager} now sends from {new}; before, it sent from {known}"
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
