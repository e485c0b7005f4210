//! Writes the pickles of our own, in protocol 4 without FRAME and MEMOIZE: every release of Python
//! and Parsl that we serve reads that, and it is the shortest.
//!
//! The encoder keeps no stack of its own: who calls `begin_list` calls `end_list`. In debug builds
//! [`Encoder::finish`] scans what was written, so a test that encodes also checks.

use crate::error::Fault;
use crate::literal::{push_bytes, push_str};
use crate::op;
use crate::program::Program;
use crate::scan::scan;

/// A pickle in the making.
#[derive(Debug, Clone)]
pub struct Encoder {
    out: Vec<u8>,
    memoized: u32,
    has_spliced: bool,
}

/// An entry of the memo that [`Encoder::memoize`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoIndex(u32);

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Begins a pickle.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Begins a pickle that is expected to take so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.extend([op::PROTO, 4]);
        Self {
            out,
            memoized: 0,
            has_spliced: false,
        }
    }

    /// Ends the pickle with its STOP.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(op::STOP);
        debug_assert!(
            is_well_formed(&self.out),
            "encoded a malformed pickle: {:02x?}",
            self.out
        );
        self.out
    }

    /// None.
    pub fn none(&mut self) -> &mut Self {
        self.code(op::NONE)
    }

    /// A bool.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.code(if value { op::NEWTRUE } else { op::NEWFALSE })
    }

    /// An int.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if let Ok(byte) = u8::try_from(value) {
            return self.coded(op::BININT1, &[byte]);
        }
        if let Ok(word) = u16::try_from(value) {
            return self.coded(op::BININT2, &word.to_le_bytes());
        }
        if let Ok(double) = i32::try_from(value) {
            return self.coded(op::BININT, &double.to_le_bytes());
        }
        self.coded(op::LONG1, &[8]);
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// An int of any size, in little-endian two's complement.
    ///
    /// # Panics
    /// If it has 2 GiB or more.
    pub fn big_int(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(len) => self.coded(op::LONG1, &[len]),
            Err(_) => {
                let len = i32::try_from(bytes.len()).expect("an int of less than 2 GiB");
                self.coded(op::LONG4, &len.to_le_bytes())
            }
        };
        self.out.extend_from_slice(bytes);
        self
    }

    /// A float.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.coded(op::BINFLOAT, &value.to_be_bytes())
    }

    /// A str.
    pub fn str(&mut self, text: &str) -> &mut Self {
        push_str(&mut self.out, text);
        self
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        push_bytes(&mut self.out, bytes);
        self
    }

    /// A list; its items follow.
    pub fn begin_list(&mut self) -> &mut Self {
        self.code(op::EMPTY_LIST).code(op::MARK)
    }

    /// The list is complete.
    pub fn end_list(&mut self) -> &mut Self {
        self.code(op::APPENDS)
    }

    /// A dict; keys and values follow in turns.
    pub fn begin_dict(&mut self) -> &mut Self {
        self.code(op::EMPTY_DICT).code(op::MARK)
    }

    /// More keys and values for the dict that is topmost, such as one that was spliced in.
    pub fn begin_update(&mut self) -> &mut Self {
        self.code(op::MARK)
    }

    /// The dict, or its update, is complete.
    pub fn end_dict(&mut self) -> &mut Self {
        self.code(op::SETITEMS)
    }

    /// A tuple; its items follow.
    pub fn begin_tuple(&mut self) -> &mut Self {
        self.code(op::MARK)
    }

    /// The tuple is complete.
    pub fn end_tuple(&mut self) -> &mut Self {
        self.code(op::TUPLE)
    }

    /// `()`.
    pub fn empty_tuple(&mut self) -> &mut Self {
        self.code(op::EMPTY_TUPLE)
    }

    /// A class, a function or another global.
    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.str(module).str(name).code(op::STACK_GLOBAL)
    }

    /// Calls the object below the topmost tuple with it.
    pub fn reduce(&mut self) -> &mut Self {
        self.code(op::REDUCE)
    }

    /// `cls.__new__(cls, *args)` of the two topmost objects.
    pub fn newobj(&mut self) -> &mut Self {
        self.code(op::NEWOBJ)
    }

    /// Gives the topmost object as state to the one below it.
    pub fn build(&mut self) -> &mut Self {
        self.code(op::BUILD)
    }

    /// Drops the topmost object.
    pub fn pop(&mut self) -> &mut Self {
        self.code(op::POP)
    }

    /// Stores the topmost object, to be had again by [`get`](Self::get).
    ///
    /// # Panics
    /// In debug builds, if an object was spliced in before: its body writes memo entries too, so
    /// that ours could not be numbered.
    pub fn memoize(&mut self) -> MemoIndex {
        debug_assert!(
            !self.has_spliced,
            "memo entries cannot be numbered after a splice"
        );
        let index = MemoIndex(self.memoized);
        self.memoized += 1;
        self.code(op::MEMOIZE);
        index
    }

    /// Pushes an object that was stored.
    ///
    /// # Panics
    /// In debug builds, if an object was spliced in before: it may have overwritten the entry.
    pub fn get(&mut self, MemoIndex(index): MemoIndex) -> &mut Self {
        debug_assert!(
            !self.has_spliced,
            "a spliced object may have overwritten the entry"
        );
        match u8::try_from(index) {
            Ok(index) => self.coded(op::BINGET, &[index]),
            Err(_) => self.coded(op::LONG_BINGET, &index.to_le_bytes()),
        }
    }

    /// The object of another pickle, from the bytes that were scanned.
    ///
    /// # Panics
    /// As [`Program::append_to`].
    pub fn object(&mut self, program: &Program, bytes: &[u8]) -> &mut Self {
        self.has_spliced |= program.is_spliceable();
        program.append_to(bytes, &mut self.out);
        self
    }

    /// The same, from the instructions that [`Program::append_to`] or [`Program::body`] has taken
    /// out of it before.
    pub fn body(&mut self, instructions: &[u8]) -> &mut Self {
        self.has_spliced = true;
        self.out.extend_from_slice(instructions);
        self
    }

    fn code(&mut self, code: u8) -> &mut Self {
        self.out.push(code);
        self
    }

    fn coded(&mut self, code: u8, arg: &[u8]) -> &mut Self {
        self.out.push(code);
        self.out.extend_from_slice(arg);
        self
    }
}

/// What was spliced in has lost its frame headers, so that a memo index in it may be beyond the
/// length of the whole: a bound of ours, which Python does not have.
fn is_well_formed(pickle: &[u8]) -> bool {
    scan(pickle).map_or_else(
        |error| matches!(error.fault, Fault::MemoIndexTooLarge(_)),
        |_| true,
    )
}
