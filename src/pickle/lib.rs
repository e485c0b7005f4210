//! Reads and writes Python's pickle format without ever running a pickle.
//!
//! A pickle is a program for a small stack machine. This crate inspects such programs:
//!
//! ```
//! use pickle::{Encoder, Tree, scan};
//!
//! // pickle.dumps([1, "a"], protocol=4), without its frame and memo.
//! let original = b"\x80\x04](K\x01\x8c\x01ae.";
//!
//! // Looked into: an inert tree, whatever classes and calls are in it.
//! let tree = Tree::read(original)?;
//! let mut items = tree.root().items().expect("it is a list");
//! assert_eq!(items.next().and_then(|item| item.as_i64()), Some(1));
//!
//! // And carried: linked into a pickle of our own, as it stands.
//! let program = scan(original)?;
//! assert!(program.is_spliceable());
//! let mut pair = Encoder::new();
//! pair.begin_tuple().none().object(&program, original).end_tuple();
//! assert_eq!(pair.finish(), b"\x80\x04(N](K\x01\x8c\x01aet.");
//!
//! // An error says what is wrong, and at which byte.
//! let error = scan(b"\x80\x04]K\x01ss.").unwrap_err();
//! assert_eq!(error.to_string(), "stack underflow at byte 5");
//! # Ok::<(), pickle::PickleError>(())
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | [`op`] | the opcodes |
//! | `opcode_table` | for each opcode, the form of its argument and its effect on the stack |
//! | `text` | the lines of text of protocol 0 |
//! | `instruction` | [`Instructions`]: an iterator over instructions with decoded arguments |
//! | `marks`, `memo` | compact models of the stack and the memo for walking a pickle |
//! | `literal` | writing a str or bytes as instructions |
//! | `nested`, `program` | [`Program`]: how a pickle travels inside another one |
//! | `scan` | [`scan`](scan()), [`Scanner`]: a walk to STOP that builds nothing |
//! | `flat` | [`Flat`]: a dict of plain values, read in one walk without a tree |
//! | `read`, `tree`, `view` | [`Tree`] and [`View`]: any object, as inert data |
//! | `encode` | [`Encoder`]: writes pickles, with other pickles spliced in |
//! | `error` | [`PickleError`]: the cause of an error and its byte offset |
//!
//! A file refers only to files above it in this table, with two exceptions: `read`, `tree` and
//! `view` refer to each other, and all files refer to `error`.
//!
//! The reference for well-formed input is Python's `pickle.loads`, that is, the unpickler in C. The
//! unpickler in pure Python agrees with it, except where a comment says otherwise.
//!
//! The crate knows only the pickle format, not the messages that use it. It does no input or
//! output, keeps no state between calls, and never panics on bytes from a peer. No function
//! recurses, and time and memory are proportional to the bytes received.

// The clippy lints below forbid clocks, files and other side effects. `.cargo/clippy.toml` lists
// them.
#![forbid(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    unsafe_code
)]

mod encode;
mod error;
mod flat;
mod instruction;
mod literal;
mod marks;
mod memo;
mod nested;
pub mod op;
mod opcode_table;
mod program;
mod read;
mod scan;
mod text;
mod tree;
mod view;

pub use encode::{Encoder, MemoIndex};
pub use error::{Fault, PickleError};
pub use flat::{Flat, FlatDict, FlatValue};
pub use instruction::{Arg, FRAME_HEADER_LEN, Instruction, Instructions};
pub use program::Program;
pub use scan::{Scanner, scan};
pub use text::{BigText, Escaped};
pub use tree::Tree;
pub use view::{Entries, Instance, Items, View};

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
