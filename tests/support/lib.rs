//! What the tests of several rooms share.

/// Pages that tests make of what the program has.
pub mod pages;

/// What is logged.
pub mod events;

/// CPython, which pickles what peers send and loads what we send.
pub mod python;
