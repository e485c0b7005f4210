//! Tests of `src/protocol/`: Parsl's messages on the wire, with CPython as the other side.

/// Captured log lines.
use support::events;

/// CPython, which pickles what peers send and loads what the interchange sends.
use support::python;

/// Tasks, and the values in them that routing needs.
mod tasks;

/// Requirements of tasks on their managers.
mod needs;

/// Names in tasks that a manager may be unable to load.
mod foreign_names;

/// Messages of managers, in every dialect.
mod managers;

/// Requests and replies of the command channel.
mod commands;

/// Results and batches that this crate creates.
mod authored;

/// Monitoring records.
mod reports;

/// Questions to a user's selector, and its answers.
mod user_selector;

/// Messages that are cut short, and bytes that are not messages.
mod broken;
