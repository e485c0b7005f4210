//! The interchange of Parsl's HighThroughputExecutor as one self-contained program.
//!
//! Tasks come from the executor, go to *managers* (one a node, each with many workers) that have
//! room, and their results go back. Three rings, each a crate that can be tested at its own rim:
//!
//! * [`broker`]: messages. A pure state machine without bytes, sockets or clock.
//! * [`interchange`]: frames. Bytes to messages and back, around a broker; and what is seen of it
//!   from outside.
//! * [`event_loop`]: sockets. The loop that waits, reads, feeds, dispatches and sends.
//!
//! Beside them `protocol` is Parsl's vocabulary, `pickle` is Python's format, [`submit_side`] what
//! the executor said at the start (configuration, keys, versions), [`logging`] the shape of log
//! lines, `keeper` the process that outlives the broker and tells its end, [`status`] the document
//! that people and programs outside get of a run, [`tools`] what people run by hand, and
//! [`mod@guide`] the pages that explain all of it to users, operators and contributors.

pub mod cli;

#[doc(inline)]
pub use guide;
