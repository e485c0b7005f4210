//! Codes of log lines. Each line that an operator may need has a code, so that people can look it
//! up and programs can recognize it, while its text may be reworded.
//!
//! A code is a constant of the table. It has a name, a level, the component that the line concerns,
//! a meaning and a remedy. [`log!`] writes a line with a code:
//!
//! ```
//! codes::log!(MANAGER_LOST, held = false, tasks = 4, "Manager {} is silent", "b'a'");
//! ```
//!
//! The crate `logging` puts the code after the message, ` [manager-lost]`, or into the field `code`
//! of a JSON log. `doctor` finds a line by its code. `src/guide/codes.md` is made from the table.
//!
//! | file | subject of its lines |
//! | --- | --- |
//! | `run` | the process: its start, its end, another process in its place |
//! | `managers` | managers, and the user's own selector |
//! | `tasks` | tasks and results |
//! | `connections` | sockets, descriptors, keys, and the submit side |
//! | `services` | monitoring, metrics, status, events |
//!
//! This crate depends on no other crate of the project.

use tracing::Level;

#[doc(hidden)]
pub use tracing;

/// Defines the codes of a file: a constant for each, and `PART` for all of them.
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

/// The code of a log line, and what is known about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The constant's name in the source.
    pub constant: &'static str,
    /// The code's name in the log. The name never changes: people search for it, and programs match
    /// it.
    pub name: &'static str,
    /// The level of each line with this code.
    pub level: Level,
    /// The component that the line concerns.
    pub who: Who,
    /// What has happened, and what follows from it.
    pub meaning: &'static str,
    /// What an operator should do.
    pub remedy: &'static str,
}

/// The component that a line concerns: where to look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The interchange's own process, its machine and its flags.
    Interchange,
    /// The submit process: Parsl, the executor, the program that uses it.
    SubmitSide,
    /// A manager and its node.
    Manager,
    /// A task, and its author.
    Task,
    /// Any program that connects to the worker port.
    Peer,
    /// The user's own manager selector.
    Selector,
    /// Parsl's monitoring.
    Monitoring,
    /// Status, metrics and events, which no task depends on.
    SideServices,
}

impl Who {
    /// Returns the component's name for people.
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

/// Returns all codes, file by file.
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

/// Returns the code with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Code> {
    all().find(|code| code.name == name)
}

/// Returns Python's name of a level, as the log shows it.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        // Python has no level below DEBUG.
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// Writes a line with a code, at the code's level. The first argument is the name of the code's
/// constant. The others are those of `tracing::event!`.
#[macro_export]
macro_rules! log {
    ($code:ident, $($line:tt)+) => {
        $crate::tracing::event!($crate::$code.level, code = $crate::$code.name, $($line)+)
    };
}
