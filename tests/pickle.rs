//! Tests of `src/pickle/`, from the plain to the hostile.

/// CPython itself, in a process of its own, to compare with.
#[path = "pickle/oracle.rs"]
mod oracle;

/// What a tree holds, in the oracle's words.
#[path = "pickle/describe.rs"]
mod describe;

/// What we say of a pickle, judged by the oracle.
#[path = "pickle/judging.rs"]
mod judging;

/// The reader of flat dicts, judged by the tree.
#[path = "pickle/agreement.rs"]
mod agreement;

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

/// Flat dicts, written by hand and at random.
#[path = "pickle/flat.rs"]
mod flat;

/// The encoder, and second opinions on the tree.
#[path = "pickle/encoding.rs"]
mod encoding;

/// Hostile bytes and what they may cost.
#[path = "pickle/attacks.rs"]
mod attacks;
