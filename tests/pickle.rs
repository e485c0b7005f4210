//! Tests of `src/pickle/`, from the plain to the hostile.

/// CPython itself, in a process of its own, to compare with.
#[path = "pickle/oracle.rs"]
mod oracle;

/// What a tree holds, in the oracle's words.
#[path = "pickle/describe.rs"]
mod describe;

/// Random programs and mutations.
#[path = "pickle/programs.rs"]
mod programs;

/// Whatever is accepted arrives unchanged in a batch, and nothing lawful is refused.
#[path = "pickle/survival.rs"]
mod survival;

/// Rule by rule, programs written by hand.
#[path = "pickle/refusals.rs"]
mod refusals;

/// The shapes that Parsl sends, from files that CPython wrote.
#[path = "pickle/golden.rs"]
mod golden;

/// The reader of flat dicts, against the tree.
#[path = "pickle/flat.rs"]
mod flat;

/// The encoder, and second opinions on the tree.
#[path = "pickle/encoding.rs"]
mod encoding;

/// Hostile bytes and what they may cost.
#[path = "pickle/attacks.rs"]
mod attacks;
