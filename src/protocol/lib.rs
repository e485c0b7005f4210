//! Who says what to whom: the vocabulary of Parsl's interchange as types, and their wire forms.
//!
//! Bytes become a typed message or a [`Malformed`] here, once; behind this room nothing is checked
//! again. Releases of Parsl differ in small ways (PROTOCOL.md 2), and those differences are told
//! apart here, by what a message holds, never by a release's name. What we need not understand
//! travels as [`Opaque`]. No sockets, no clock, no policy.

mod command;
mod failure;
mod ids;
mod manager;
mod opaque;
mod priority;
mod ranking;
mod report;
mod task;
mod version_check;

pub use command::{Command, ManagerStatus, Reply, refusal};
pub use failure::Failure;
pub use ids::{BlockId, ManagerId, TaskId};
pub use manager::{FromManager, Registration, ToManager, encode_batch};
pub use opaque::{Opaque, Stay};
pub use priority::Priority;
pub use ranking::{Answer, Question};
pub use report::{NodeInfo, Report};
pub use task::{Task, UnreadableTask};
pub use version_check::VersionCheck;

use pickle::PickleError;

/// Why a message was not understood. The text is for one log line.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a pickle, or one that no unpickler would load.
    #[error("not a readable pickle: {0}")]
    Pickle(#[from] PickleError),
    /// A pickle of something else than the message expected there.
    #[error("{0}")]
    Shape(String),
}

impl Malformed {
    pub(crate) fn shape(text: impl Into<String>) -> Self {
        Self::Shape(text.into())
    }
}
