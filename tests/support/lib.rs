//! Helpers that the tests of several crates share.

/// Text of pages that tests generate from the program.
pub mod pages;

/// Captured log lines.
pub mod events;

/// CPython, which pickles messages as peers do, and loads this program's messages.
pub mod python;
