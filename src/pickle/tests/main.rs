//! Tests of `src/pickle/`, from plain input to hostile input.

/// CPython in a separate process, as the reference.
mod oracle;

/// The content of a tree, in the oracle's words.
mod describe;

/// Comparison of this crate with the oracle.
mod judging;

/// Comparison of the reader of flat dicts with the tree.
mod agreement;

/// Random programs and mutations.
mod programs;

/// Every accepted pickle arrives unchanged in a batch, and no valid pickle is refused.
mod survival;

/// Programs written by hand, for each rule.
mod refusals;

/// The shapes that Parsl sends, from files that CPython wrote.
mod golden;

/// Flat dicts, written by hand and at random.
mod flat;

/// The encoder, and second opinions on the tree.
mod encoding;

/// Pickles that arrive in pieces.
mod pieces;

/// Hostile bytes and their cost.
mod attacks;
