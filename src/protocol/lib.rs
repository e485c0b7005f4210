//! Who says what to whom: the vocabulary of Parsl's interchange as types, and their wire forms.
//!
//! | from → to | type | file |
//! | --- | --- | --- |
//! | executor → interchange | [`Task`] | `task` (read: `priority`, `foreign_names`) |
//! | | [`Needs`], in one of these | `needs` (read by `placement`) |
//! | executor → interchange | [`Command`] | `command` |
//! | interchange → executor | [`Reply`], [`refusal`] | `command` |
//! | interchange → executor | [`Failure`] (a result of our own) | `failure` |
//! | | [`Observation`] (where nobody asks) | `observation` |
//! | manager → interchange | [`FromManager`] | `from_manager` |
//! | | [`Registration`], one of these | `registration` |
//! | | [`Notice`] (to one that lets its interchange survive) | `notice` |
//! | interchange → manager | [`ToManager`], [`encode_batch`] | `to_manager` |
//! | interchange → monitoring | [`Report`], [`NodeInfo`] | `report` |
//! | interchange ⇄ user's selector | [`SelectorQuestion`], [`SelectorAnswer`] | `user_selector` |
//!
//! A new type of message is a variant of the type in its row: the file's `parse` or `encode` is
//! where its wire form goes, and the compiler then names whoever has to decide what it means.
//! All of them share `ids`, [`Opaque`] (in `opaque`: bytes that are carried and never opened) and
//! [`Malformed`]. What applications write as any of Python's types is read by `number` and `text`;
//! `affinity` makes one form of whatever Python calls equal, with integers from `magnitude`, and
//! `needs_form` is how the journal has needs.
//!
//! Bytes become a typed message or a [`Malformed`] here, once; behind this room nothing is checked
//! again. Releases of Parsl differ in small ways (guide/protocol), and those differences are told
//! apart here, by what a message holds, never by a release's name. No sockets, no clock, no policy.

// .cargo/clippy.toml lists what only a program with a world around it may name.
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
pub use opaque::{Opaque, Stay};
pub use placement::UnreadWords;
pub use priority::Priority;
pub use registration::Registration;
pub use report::{NodeInfo, Report};
pub use task::{Task, UnreadableTask};
pub use to_manager::{ToManager, encode_batch};
pub use user_selector::{SelectorAnswer, SelectorQuestion};
pub use version_check::VersionCheck;
