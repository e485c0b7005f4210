//! Tests of `src/protocol/`: Parsl's vocabulary on the wire, with CPython at the other end.

/// What is logged.
use support::events;

/// CPython, which pickles what peers send and loads what we send.
use support::python;

/// Tasks, and what of them we route by.
mod tasks;

/// What they ask of their managers.
mod needs;

/// Which of them a manager may be unable to load.
mod foreign_names;

/// What managers say, in every dialect.
mod managers;

/// Questions and answers of the command channel.
mod commands;

/// Results and batches that we author.
mod authored;

/// Records for monitoring.
mod reports;

/// Questions to a user's selector, and its answers.
mod user_selector;

/// Messages cut short, and bytes that are none.
mod broken;
