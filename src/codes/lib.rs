//! Codes of log lines. Each line that an operator may need carries one, so that people look it up
//! and programs recognise it, while its text stays free to be reworded.
//!
//! A code is a constant of the table: its name, its level, whom it concerns, what it means and
//! what to do. [`log!`] writes a line by it:
//!
//! ```
//! codes::log!(MANAGER_LOST, held = false, tasks = 4, "Manager {} is silent", "b'a'");
//! ```
//!
//! The crate `logging` puts the code behind the message, ` [manager-lost]`, or into the field
//! `code` of a JSON log. `doctor` finds a line by it. `src/guide/codes.md` is made from the table.
//!
//! | file | its lines are about |
//! | --- | --- |
//! | `run` | the process: its start, its end, another one in its place |
//! | `managers` | managers, and the user's own selector |
//! | `tasks` | tasks and results |
//! | `connections` | sockets, descriptors, keys, and the submit side |
//! | `services` | monitoring, metrics, status, events |
//!
//! This room imports no other room.

use tracing::Level;

#[doc(hidden)]
pub use tracing;

/// Defines the codes of a file: a constant each, and `PART`, all of them.
macro_rules! table {
    ($(
        $constant:ident: $level:ident, $name:literal, $who:expr,
        $meaning:literal,
        $remedy:literal;
    )+) => {
        $(
            #[doc = $meaning]
            pub const $constant: Code = Code {
                constant: stringify!($constant),
                name: $name,
                level: Level::$level,
                who: $who,
                meaning: $meaning,
                remedy: $remedy,
            };
        )+
        pub(crate) const PART: &[&Code] = &[$(&$constant),+];
    };
}

mod connections;
mod managers;
mod run;
mod services;
mod tasks;

pub use connections::*;
pub use managers::*;
pub use run::*;
pub use services::*;
pub use tasks::*;

/// What a log line is about, and what there is to know of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The constant's name in the source.
    pub constant: &'static str,
    /// In the log. It never changes: people search for it, and programs match it.
    pub name: &'static str,
    /// Of each line that carries it.
    pub level: Level,
    /// Whom it concerns.
    pub who: Who,
    /// What has happened, and what follows from it.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// Whom a line concerns: where to look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The interchange's own process, its machine and its flags.
    Interchange,
    /// The submit process: Parsl, the executor, the program that uses it.
    SubmitSide,
    /// A manager and its node.
    Manager,
    /// A task, and who wrote it.
    Task,
    /// Whoever reaches the worker port.
    Peer,
    /// The user's own manager selector.
    Selector,
    /// Parsl's monitoring.
    Monitoring,
    /// Status, metrics and events, which no task depends on.
    SideServices,
}

impl Who {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Interchange => "interchange",
            Self::SubmitSide => "submit side",
            Self::Manager => "manager",
            Self::Task => "task",
            Self::Peer => "peer",
            Self::Selector => "manager selector",
            Self::Monitoring => "monitoring",
            Self::SideServices => "status, metrics, events",
        }
    }
}

/// All codes, part by part.
pub fn all() -> impl Iterator<Item = &'static Code> {
    let parts = [
        run::PART,
        managers::PART,
        tasks::PART,
        connections::PART,
        services::PART,
    ];
    parts.into_iter().flatten().copied()
}

/// The code of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Code> {
    all().find(|code| code.name == name)
}

/// Python's name of a level, which is what stands in the log.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        // Python has no name below DEBUG.
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// Writes a line that carries a code, at the code's level. The code comes first, by the name of
/// its constant; what follows is as for `tracing::event!`.
#[macro_export]
macro_rules! log {
    ($code:ident, $($line:tt)+) => {
        $crate::tracing::event!($crate::$code.level, code = $crate::$code.name, $($line)+)
    };
}
