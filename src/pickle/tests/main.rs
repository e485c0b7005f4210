//! Tests of `src/pickle/`, from the plain to the hostile.

/// CPython itself, in a process of its own, to compare with.
mod oracle;

/// What a tree holds, in the oracle's words.
mod describe;

/// What we say of a pickle, judged by the oracle.
mod judging;

/// The reader of flat dicts, judged by the tree.
mod agreement;

/// Random programs and mutations.
mod programs;

/// Whatever is accepted arrives unchanged in a batch, and nothing lawful is refused.
mod survival;

/// Rule by rule, programs written by hand.
mod refusals;

/// The shapes that Parsl sends, from files that CPython wrote.
mod golden;

/// Flat dicts, written by hand and at random.
mod flat;

/// The encoder, and second opinions on the tree.
mod encoding;

/// Pickles that arrive in pieces.
mod pieces;

/// Hostile bytes and what they may cost.
mod attacks;
