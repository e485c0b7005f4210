//! Tests of `src/protocol/`: Parsl's vocabulary on the wire, with CPython at the other end.

/// What is logged.
#[path = "support/events.rs"]
mod events;

/// CPython, which pickles what peers send and loads what we send.
#[path = "support/python.rs"]
mod python;

/// Tasks, and what of them we route by.
#[path = "protocol/tasks.rs"]
mod tasks;

/// What managers say, in every dialect.
#[path = "protocol/managers.rs"]
mod managers;

/// Questions and answers of the command channel.
#[path = "protocol/commands.rs"]
mod commands;

/// Results and batches that we author.
#[path = "protocol/authored.rs"]
mod authored;

/// Records for monitoring.
#[path = "protocol/reports.rs"]
mod reports;

/// Questions to a user's selector, and its answers.
#[path = "protocol/ranking.rs"]
mod ranking;

/// Messages cut short, and bytes that are none.
#[path = "protocol/broken.rs"]
mod broken;
