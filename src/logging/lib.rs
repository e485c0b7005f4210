//! Parsl's log formats for `tracing`. A separate thread writes the lines and may stall without
//! blocking the event loop.
//!
//! A log directory is often on a network file system. So each event is formatted on its own thread,
//! queued in a bounded queue, and written by the writer's thread. A line is dropped and counted if
//! the queue is full. Parsl defines the format of the lines (`parsl.log_utils` and
//! `parsl.logconfigs`), because users grep and parse these files with tools made for the stock
//! interchange.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `spec` | [`LogSpec`]: which log the start-up configuration requests |
//! | `start` | [`start()`]: opens the log, and sends every event there |
//! | `guard` | [`LogGuard`]: count of dropped lines, and the flush when the process ends |
//! | `record`, `clock` | an event with the attributes of a Python `LogRecord`, escaped and cut |
//! | `format` | lines of text, by a %-format of Python's `logging` |
//! | `json` | lines of JSON |
//! | `line_queue` | the bounded queue before a file, and the writer behind it |
//! | `event_file` | [`EventFile`]: lines of another crate, through the same kind of queue |
//! | `event_file/rotating_file` | events files of bounded size |
//! | `event_file/own_file` | locks, so that two processes do not write to one events file |
//! | `directory` | makes the directories of the files |
//!
//! This crate depends on no other crate of this workspace but `codes`, whose names appear in the
//! lines. It does not decide which events are logged, nor how to handle an unknown log
//! configuration: the configuration and `main` do.

mod clock;
mod directory;
mod event_file;
mod format;
mod guard;
mod json;
mod line_queue;
mod record;
mod spec;
mod start;

pub use event_file::{EventFile, EventFileSpec, EventFileState};
pub use format::{BadFormat, PARSL_FORMAT};
pub use guard::{EXIT_FLUSH, LogGuard};
pub use line_queue::TellGap;
pub use spec::LogSpec;
pub use start::{open, start};
