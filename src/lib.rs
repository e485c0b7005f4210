//! The interchange of Parsl's HighThroughputExecutor as one self-contained program.
//!
//! Tasks come from the executor, go to *managers* (one a node, each with many workers) that have
//! room, and their results go back. Three rings, each of which can be tested at its own rim:
//!
//! * [`broker`]: messages. A pure state machine without bytes, sockets or clock.
//! * [`interchange`]: frames. Bytes to messages and back, around a broker.
//! * [`io`]: sockets. The loop that waits, reads, feeds, dispatches and sends.
//!
//! Beside them [`protocol`] is Parsl's vocabulary, [`pickle`] is Python's format, [`curve`] holds
//! keys and verdicts, [`config`] what the executor said at the start, [`versions`] what Python and
//! Parsl the submit side runs, [`logging`] the shape of log lines, [`telemetry`] what people and
//! programs outside are told of a run, and [`tools`] what people run by hand.

pub mod broker;
pub mod children;
pub mod cli;
pub mod config;
pub mod curve;
pub mod interchange;
pub mod io;
pub mod logging;
pub mod pickle;
pub mod protocol;
pub mod telemetry;
pub mod tools;
pub mod versions;
