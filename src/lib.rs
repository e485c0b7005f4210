//! The interchange of Parsl's HighThroughputExecutor as one self-contained program.
//!
//! It receives tasks from the executor, sends them to *managers* (one per node, each with many
//! workers) that have free capacity, and returns the results. It has three layers; each is a crate
//! that can be tested through its own interface:
//!
//! * [`broker`]: messages. A pure state machine without bytes, sockets or clock.
//! * [`interchange`]: frames. It wraps a broker, converts between bytes and messages, and produces
//!   what observers outside see of the run.
//! * [`event_loop`]: sockets. The loop that waits, reads, feeds, dispatches and sends.
//!
//! Other crates: `protocol` is Parsl's vocabulary, and `pickle` is Python's format. [`submit_side`]
//! holds what the executor sends at the start (configuration, keys, versions). [`logging`] formats
//! log lines. `keeper` is the process that outlives the broker and reports its end. [`status`] is
//! the document about a run for users and programs. [`tools`] are the commands that users run by
//! hand. [`mod@guide`] holds the pages that explain all of this to users, operators and
//! contributors.

pub mod cli;

#[doc(inline)]
pub use guide;
