//! The bodies of the fuzz targets. Each is a function of arbitrary bytes that panics if a guarantee
//! is broken. `targets/` connects them to LLVM's fuzzer; `tests/fuzz.rs` runs them on the committed
//! files.

/// CPython, in a separate process.
#[path = "../../../src/pickle/tests/oracle.rs"]
mod oracle;

/// Describes the content of a tree in the oracle's format.
#[path = "../../../src/pickle/tests/describe.rs"]
mod describe;

/// Compares this project's results for a pickle with the oracle's.
#[path = "../../../src/pickle/tests/judging.rs"]
mod judging;

/// Compares the reader of flat dicts with the tree.
#[path = "../../../src/pickle/tests/agreement.rs"]
mod agreement;

/// Splits an input into several frames.
mod frames;

pub mod against_cpython;
pub mod answer;
pub mod certificate;
pub mod command;
pub mod config;
pub mod conversation;
pub mod flat;
pub mod journal;
pub mod manager;
pub mod marked;
pub mod scan;
pub mod task;
pub mod tree;
pub mod zap;

use pickle::{Fault, scan as walk};

/// Whether CPython could load this output, as far as its instructions show. Joining bodies removes
/// frame headers, so a memo index may exceed the limit for peers' pickles.
fn is_well_formed(made: &[u8]) -> bool {
    walk(made).map_or_else(
        |error| matches!(error.fault, Fault::MemoIndexTooLarge(_)),
        |_| true,
    )
}

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("scan", scan::run),
    ("flat", flat::run),
    ("tree", tree::run),
    ("task", task::run),
    ("manager", manager::run),
    ("marked", marked::run),
    ("command", command::run),
    ("answer", answer::run),
    ("config", config::run),
    ("certificate", certificate::run),
    ("zap", zap::run),
    ("conversation", conversation::run),
    ("journal", journal::run),
    ("against_cpython", against_cpython::run),
];
