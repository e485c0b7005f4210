//! Python's pickle format, read and written without ever running a pickle.
//!
//! A pickle is a program for a small stack machine. This room looks at such programs in three ways:
//!
//! * [`scan`] walks one to its STOP without building anything and says whether its body can be
//!   linked into another pickle as it stands; [`Program::append_to`] does the linking.
//! * [`Tree`] decodes one into inert data, in which classes, calls and instances are nodes.
//! * [`Encoder`] writes the few pickles of our own, and splices foreign ones into them.
//!
//! [`op`] holds the opcodes that all three share. The measure of what is well formed
//! is `pickle.loads` of Python, that is the unpickler in C; the pure Python one agrees except
//! where the text says so.
//!
//! The edge of the room: it knows Python's format and nothing of Parsl. It imports no sibling, does
//! no input or output, keeps no state between calls, and never panics on what a peer sent.
//! Everything is iterative, and time and memory are proportional to the bytes received.

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
pub use scan::scan;
pub use text::{BigText, Escaped};
pub use tree::Tree;
pub use view::{Entries, Instance, Items, View};
