//! What fuzzing does with its inputs: each target's body is a function of any bytes, which panics
//! where a promise is broken. `targets/` hands them to LLVM's fuzzer, `tests/fuzz.rs` runs them on
//! what is committed.

/// CPython itself, in a process of its own.
#[path = "../../../src/pickle/tests/oracle.rs"]
mod oracle;

/// What a tree holds, in the oracle's words.
#[path = "../../../src/pickle/tests/describe.rs"]
mod describe;

/// What we say of a pickle, judged by the oracle.
#[path = "../../../src/pickle/tests/judging.rs"]
mod judging;

/// The reader of flat dicts, judged by the tree.
#[path = "../../../src/pickle/tests/agreement.rs"]
mod agreement;

/// Several frames in one input.
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

/// Whether CPython could load what we made, as far as its instructions go. Splicing leaves frame
/// headers out, so a memo index may be beyond what we would take from a peer.
fn is_well_formed(made: &[u8]) -> bool {
    walk(made).map_or_else(
        |error| matches!(error.fault, Fault::MemoIndexTooLarge(_)),
        |_| true,
    )
}

/// A target by its name.
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
