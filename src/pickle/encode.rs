//! Writes pickles in protocol 4 without FRAME and MEMOIZE. Every supported release of Python and
//! Parsl reads this form, and it is the shortest.
//!
//! The encoder keeps no stack: a caller of `begin_list` must call `end_list`. In debug builds
//! [`Encoder::finish`] scans the written pickle, so a test that encodes also checks the encoding.

use crate::error::Fault;
use crate::literal::{push_bytes, push_str};
use crate::op;
use crate::program::Program;
use crate::scan::scan;

/// A pickle that is being written.
#[derive(Debug, Clone)]
pub struct Encoder {
    out: Vec<u8>,
    memoized: u32,
    has_spliced: bool,
}

/// A memo entry that [`Encoder::memoize`] wrote.
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

    /// Begins a pickle, with room for the given number of bytes.
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

    /// Ends the pickle with STOP and returns its bytes.
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

    /// Writes None.
    pub fn none(&mut self) -> &mut Self {
        self.code(op::NONE)
    }

    /// Writes a bool.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.code(if value { op::NEWTRUE } else { op::NEWFALSE })
    }

    /// Writes an int.
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

    /// Writes an int of any size, given in little-endian two's complement.
    ///
    /// # Panics
    /// If the int takes 2 GiB or more.
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

    /// Writes a float.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.coded(op::BINFLOAT, &value.to_be_bytes())
    }

    /// Writes a str.
    pub fn str(&mut self, text: &str) -> &mut Self {
        push_str(&mut self.out, text);
        self
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        push_bytes(&mut self.out, bytes);
        self
    }

    /// Begins a list. The caller writes its items next.
    pub fn begin_list(&mut self) -> &mut Self {
        self.code(op::EMPTY_LIST).code(op::MARK)
    }

    /// Ends a list.
    pub fn end_list(&mut self) -> &mut Self {
        self.code(op::APPENDS)
    }

    /// Begins a dict. The caller writes keys and values in alternation next.
    pub fn begin_dict(&mut self) -> &mut Self {
        self.code(op::EMPTY_DICT).code(op::MARK)
    }

    /// Begins more keys and values for the topmost dict, which may be a spliced object.
    pub fn begin_update(&mut self) -> &mut Self {
        self.code(op::MARK)
    }

    /// Ends a dict, or the keys and values that [`begin_update`](Self::begin_update) began.
    pub fn end_dict(&mut self) -> &mut Self {
        self.code(op::SETITEMS)
    }

    /// Begins a tuple. The caller writes its items next.
    pub fn begin_tuple(&mut self) -> &mut Self {
        self.code(op::MARK)
    }

    /// Ends a tuple.
    pub fn end_tuple(&mut self) -> &mut Self {
        self.code(op::TUPLE)
    }

    /// Writes `()`.
    pub fn empty_tuple(&mut self) -> &mut Self {
        self.code(op::EMPTY_TUPLE)
    }

    /// Writes a reference to a class, a function or another global.
    pub fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.str(module).str(name).code(op::STACK_GLOBAL)
    }

    /// Calls the object below the topmost tuple, with that tuple as its arguments.
    pub fn reduce(&mut self) -> &mut Self {
        self.code(op::REDUCE)
    }

    /// Calls `cls.__new__(cls, *args)` with the two topmost objects as `cls` and `args`.
    pub fn newobj(&mut self) -> &mut Self {
        self.code(op::NEWOBJ)
    }

    /// Sets the topmost object as the state of the object below it.
    pub fn build(&mut self) -> &mut Self {
        self.code(op::BUILD)
    }

    /// Drops the topmost object.
    pub fn pop(&mut self) -> &mut Self {
        self.code(op::POP)
    }

    /// Stores the topmost object in the memo, for [`get`](Self::get).
    ///
    /// # Panics
    /// In debug builds, if an object was spliced in before. A spliced body may write memo entries
    /// too, so the index of the new entry would be unknown.
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

    /// Pushes an object that [`memoize`](Self::memoize) stored.
    ///
    /// # Panics
    /// In debug builds, if an object was spliced in before. A spliced body may overwrite the memo
    /// entry.
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

    /// Writes the object of another pickle, given the pickle's bytes and the result of scanning
    /// them.
    ///
    /// # Panics
    /// In the cases that [`Program::append_to`] lists.
    pub fn object(&mut self, program: &Program, bytes: &[u8]) -> &mut Self {
        self.has_spliced |= program.is_spliceable();
        program.append_to(bytes, &mut self.out);
        self
    }

    /// Writes the object of another pickle, given its instructions as [`Program::append_to`]
    /// appended them or as [`Program::body`] locates them.
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

/// Whether the written pickle is well formed. [`Fault::MemoIndexTooLarge`] is not a defect here.
/// Splicing drops frame headers, so a memo index may exceed the length of the whole pickle. Only
/// [`scan`] has this limit; Python does not.
fn is_well_formed(pickle: &[u8]) -> bool {
    scan(pickle).map_or_else(
        |error| matches!(error.fault, Fault::MemoIndexTooLarge(_)),
        |_| true,
    )
}
