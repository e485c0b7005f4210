//! Python's pickle format, read and written without ever running a pickle.
//!
//! A pickle is a program for a small stack machine. This crate looks at such programs:
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
//! | file | what is in it |
//! | --- | --- |
//! | [`op`] | the opcodes |
//! | `opcode_table` | what follows each of them, and what it does to the stack |
//! | `text` | the lines of text of protocol 0 |
//! | `instruction` | [`Instructions`]: one after another, with decoded arguments |
//! | `marks`, `memo` | what a walk keeps in place of a stack and a memo |
//! | `literal` | a str and bytes as instructions |
//! | `nested`, `program` | [`Program`]: how a pickle travels inside another one |
//! | `scan` | [`scan`](scan()), [`Scanner`]: a walk to STOP that builds nothing |
//! | `flat` | [`Flat`]: a dict of plain values, read in one walk without a tree |
//! | `read`, `tree`, `view` | [`Tree`] and [`View`]: anything, as inert data |
//! | `encode` | [`Encoder`]: pickles of our own, with others spliced in |
//! | `error` | [`PickleError`]: what was wrong and at which byte |
//!
//! Each file names only files above it, except that `read`, `tree` and `view` name each other; and
//! all of them `error`.
//!
//! The measure of what is well formed is `pickle.loads` of Python, that is the unpickler in C; the
//! pure Python one agrees except where the text says so.
//!
//! The edge of the crate: it knows Python's format and nothing of who speaks in it. It does no
//! input or output, keeps no state between calls, and never panics on what a peer sent. Everything
//! is iterative, and time and memory are proportional to the bytes received.

// .cargo/clippy.toml lists what only a program with a world around it may name.
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

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
