//! The messages of Parsl's interchange as types, with their wire forms.
//!
//! | from → to | type | file |
//! | --- | --- | --- |
//! | executor → interchange | [`Task`] | `task` (read: `priority`, `foreign_names`) |
//! | | [`Needs`], part of a task | `needs` (read by `placement`) |
//! | executor → interchange | [`Command`] | `command` |
//! | interchange → executor | [`Reply`], [`refusal`] | `command` |
//! | interchange → executor | [`Failure`] (a result created here) | `failure` |
//! | | [`Observation`] (without a control channel) | `observation` |
//! | manager → interchange | [`FromManager`] | `from_manager` |
//! | | [`Registration`], one of these messages | `registration` |
//! | interchange → executor | [`Notice`] (with `--survive`) | `notice` |
//! | interchange → manager | [`ToManager`], [`encode_batch`] | `to_manager` |
//! | interchange → monitoring | [`Report`], [`NodeInfo`] | `report` |
//! | interchange ⇄ user's selector | [`SelectorQuestion`], [`SelectorAnswer`] | `user_selector` |
//!
//! A new message is a new variant of the type in its row. Its wire form belongs in the `parse` or
//! `encode` of that file, and the compiler then reports every `match` that must handle the variant.
//! It does not report tables of words: for a [`Command`], add the name to `Command::named`, to
//! `command` in broker/tests/script.rs, and to the list of commands in broker/tests/simulation.rs.
//!
//! All types share `ids`, [`Opaque`] (in `opaque`: bytes that are carried and never opened) and
//! [`Malformed`]. Values that applications may write as any Python type are read by `number` and
//! `text`. `affinity` makes one form of all values that Python calls equal, with integers from
//! `magnitude`. `needs_form` is the form of task requirements in the journal.
//!
//! Bytes become a typed message or a [`Malformed`] here, once; the rest of the program checks
//! nothing again. Releases of Parsl differ in small ways (guide/protocol). Those differences are
//! handled here, by the content of a message, never by a release's name. This crate has no sockets,
//! no clock and no policy.

// The clippy lints below forbid clocks, files and other side effects. `.cargo/clippy.toml` lists
// them.
#![forbid(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    unsafe_code
)]

mod affinity;
mod command;
mod failure;
mod foreign_names;
mod from_manager;
mod ids;
mod magnitude;
mod malformed;
mod needs;
mod needs_form;
mod notice;
mod number;
mod observation;
mod opaque;
mod placement;
mod priority;
mod registration;
mod report;
mod task;
mod text;
mod to_manager;
mod user_selector;
mod version_check;

pub use affinity::Affinity;
pub use command::{Command, ManagerFact, ManagerStatus, Reply, refusal};
pub use failure::Failure;
pub use from_manager::FromManager;
pub use ids::{AnyTaskId, BlockId, ManagerId, TaskId, WideTaskId};
pub use malformed::Malformed;
pub use needs::{Amount, Needs, NodeNeeds, Routing};
pub use notice::{IdRun, Notice};
pub use observation::{Observation, OfManager};
pub use opaque::{Opaque, SHARES_BUFFER_UP_TO_BYTES, Stay};
pub use placement::UnreadWords;
pub use priority::Priority;
pub use registration::Registration;
pub use report::{NodeInfo, Report};
pub use task::{Task, UnreadableTask};
pub use to_manager::{ToManager, encode_batch};
pub use user_selector::{SelectorAnswer, SelectorQuestion};
pub use version_check::VersionCheck;
