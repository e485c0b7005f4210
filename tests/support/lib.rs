//! What the tests of several rooms share.

/// What is logged.
pub mod events;

/// CPython, which pickles what peers send and loads what we send.
pub mod python;
