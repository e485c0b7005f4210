//! Parsl's line formats on `tracing`, written by a thread that may stall without stopping us.
//!
//! A log directory is often on a network file system. So an event is formatted where it happens,
//! put into a bounded queue, and written by another thread; a line that finds the queue full is
//! dropped and counted. What the lines look like is Parsl's to say (`parsl.log_utils` and
//! `parsl.logconfigs`): users grep and parse these files with tools made for the stock one.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `spec` | [`LogSpec`]: which log the start-up configuration asks for |
//! | `start` | [`start()`]: opens it, and sends every event there |
//! | `guard` | [`LogGuard`]: what was dropped, and the last lines when the process ends |
//! | `record`, `clock` | an event with the attributes of a Python `LogRecord`, made harmless |
//! | `format` | lines of text, by a %-format of Python's `logging` |
//! | `json` | lines of JSON |
//! | `line_queue` | the bounded queue before a file, and the writer behind it |
//! | `event_file` | [`EventFile`]: lines made elsewhere, by the same queue |
//! | `event_file/rotating_file` | the files that they go to, whatever becomes of these |
//! | `event_file/own_file` | that none of these is another process's |
//! | `directory` | where files are made |
//!
//! This room imports no other room but `codes`, whose names it puts where each format has them. It
//! does not decide what is worth a line, nor what happens
//! to a log configuration that nobody here knows: that is for the configuration and `main`.

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
