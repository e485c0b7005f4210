//! Reads the shape of nearly all traffic without building a tree: a dict whose keys are texts and
//! whose values are plain objects or further dicts of this shape.
//!
//! The reader accepts exactly this shape, from the first byte to STOP. [`Tree`](crate::Tree) reads
//! everything else. The state of the reader has a small fixed size, so reading allocates nothing.

use std::ops::ControlFlow;

use arrayvec::ArrayVec;

use crate::instruction::{Arg, Instructions};
use crate::op;
use crate::program::{Layout, Program, Rest};

/// Maximum number of entries, in all dicts together.
const ENTRIES_MAX: usize = 12;
/// Maximum number of objects in the memo.
const MEMO_MAX: usize = 32;
/// Maximum depth of dicts that are being filled.
const MARKS_MAX: usize = 8;

/// A value of a [`Flat`] dict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FlatValue<'a> {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An int that fits `i64`.
    Int(i64),
    /// A float.
    Float(f64),
    /// A str of ASCII characters.
    Ascii(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A dict, whose values [`Flat::entry_of`] returns.
    Dict(FlatDict),
}

/// The number of a dict in a [`Flat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatDict(u8);

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    dict: FlatDict,
    key: &'a [u8],
    value: FlatValue<'a>,
    /// The dict that lies below the key on the stack: SETITEM would add the pair to this dict.
    below: Option<FlatDict>,
}

/// A dict of plain values, read from a pickle.
#[derive(Debug)]
pub struct Flat<'a> {
    entries: ArrayVec<Entry<'a>, ENTRIES_MAX>,
    program: Program,
}

impl<'a> Flat<'a> {
    /// Reads a whole pickle, or returns `None` if it has another shape.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut machine = Machine::new(bytes);
        while let ControlFlow::Continue(()) = machine.step()? {}
        let end = machine.instructions.offset();
        let program = machine.layout.program(end, Rest::Nothing);
        Some(Self {
            entries: machine.entries,
            program,
        })
    }

    /// Returns the value of a key in the outermost dict. If the key is repeated, the last value
    /// counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<FlatValue<'a>> {
        self.entry_of(FlatDict(0), key)
    }

    /// Returns the value of a key in one of the dicts. If the key is repeated, the last value
    /// counts.
    #[must_use]
    pub fn entry_of(&self, dict: FlatDict, key: &str) -> Option<FlatValue<'a>> {
        let found = self
            .entries
            .iter()
            .rfind(|entry| entry.dict == dict && entry.key == key.as_bytes())?;
        Some(found.value)
    }

    /// Iterates over the keys and values of one of the dicts, as written: a repeated key appears
    /// each time.
    pub fn entries_of(&self, dict: FlatDict) -> impl Iterator<Item = (&'a [u8], FlatValue<'a>)> {
        let own = self.entries.iter().filter(move |entry| entry.dict == dict);
        own.map(|entry| (entry.key, entry.value))
    }

    /// Returns the number of entries in all dicts together.
    #[must_use]
    pub const fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Returns how the pickle travels inside another one. The result equals that of
    /// [`scan`](crate::scan()), without a second walk.
    #[must_use]
    pub fn into_program(self) -> Program {
        self.program
    }
}

/// A dict above a mark whose items are being read.
#[derive(Debug, Clone, Copy)]
struct Level<'a> {
    dict: FlatDict,
    /// Index of the first entry that is read at this level.
    start: usize,
    /// The key whose value has not been read yet, with the dict that lies below the key.
    key: Option<(&'a [u8], Option<FlatDict>)>,
}

/// Placeholder dict for a key and value below all marks, until SETITEM shows which dict they belong
/// to.
const NO_DICT: FlatDict = FlatDict(u8::MAX);

/// The unpickler's stack, as far as this shape needs it. A pair becomes an entry immediately, so
/// each dict that is being filled keeps only the key that has no value yet.
struct Machine<'a> {
    instructions: Instructions<'a>,
    /// The part of the stack below all marks.
    bottom: Level<'a>,
    above_marks: ArrayVec<Level<'a>, MARKS_MAX>,
    /// The topmost object; `None` directly above a new mark.
    top: Option<FlatValue<'a>>,
    memo: ArrayVec<FlatValue<'a>, MEMO_MAX>,
    dicts: u8,
    entries: ArrayVec<Entry<'a>, ENTRIES_MAX>,
    layout: Layout,
}

impl<'a> Machine<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            instructions: Instructions::new(bytes),
            bottom: Level {
                dict: NO_DICT,
                start: 0,
                key: None,
            },
            above_marks: ArrayVec::new(),
            top: None,
            memo: ArrayVec::new(),
            dicts: 0,
            entries: ArrayVec::new(),
            layout: Layout::new(),
        }
    }

    /// Executes one instruction, and returns `Break` at STOP. Returns `None` for anything that does
    /// not belong to the shape.
    ///
    /// The frequent instructions are decoded here; the others are decoded by [`Instructions::arg`].
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever is not named is beyond the shape"
    )]
    #[inline]
    fn step(&mut self) -> Option<ControlFlow<()>> {
        let offset = self.instructions.offset();
        let code = self.instructions.code().ok()?;
        let value = match code {
            op::MEMOIZE => return self.store(self.memo.len()),
            op::SHORT_BINUNICODE => ascii(self.instructions.bytes1().ok()?)?,
            op::BININT1 => FlatValue::Int(self.instructions.byte().ok()?.into()),
            op::SHORT_BINBYTES => FlatValue::Bytes(self.instructions.bytes1().ok()?),
            op::BINBYTES => FlatValue::Bytes(self.instructions.bytes4().ok()?),
            op::BINGET => {
                self.layout.bind();
                let index = usize::from(self.instructions.byte().ok()?);
                match *self.memo.get(index)? {
                    // A dict that is used twice, or that contains itself, can be filled in an order
                    // that this machine does not follow.
                    FlatValue::Dict(_) => return None,
                    value => value,
                }
            }
            op::EMPTY_DICT => {
                let dict = FlatDict(self.dicts);
                self.dicts += 1;
                if self.dicts == NO_DICT.0 {
                    return None;
                }
                FlatValue::Dict(dict)
            }
            op::MARK => return self.open(),
            op::SETITEMS => return self.close(),
            op::SETITEM => return self.set_item(),
            op::NONE => FlatValue::None,
            op::NEWTRUE => FlatValue::Bool(true),
            op::NEWFALSE => FlatValue::Bool(false),
            op::STOP => return self.stop(),
            _ => match (code, self.instructions.arg(code).ok()?) {
                (op::PROTO, Arg::Int(number)) => {
                    self.layout.announce(offset, number);
                    return Some(ControlFlow::Continue(()));
                }
                (op::FRAME, Arg::Index(len)) => {
                    self.layout.frame(offset, len);
                    return Some(ControlFlow::Continue(()));
                }
                (op::BINPUT, Arg::Index(index)) => return self.store(usize::try_from(index).ok()?),
                (_, Arg::Int(number)) => FlatValue::Int(number),
                (_, Arg::Float(number)) => FlatValue::Float(number),
                (op::BINUNICODE | op::BINUNICODE8, Arg::Text(text)) => ascii(text.as_bytes())?,
                (op::BINBYTES8, Arg::Bytes(bytes)) => FlatValue::Bytes(bytes),
                _ => return None,
            },
        };
        self.push(value)
    }

    /// Pushes an object, which is either a key or the value of the pending key.
    #[inline]
    fn push(&mut self, value: FlatValue<'a>) -> Option<ControlFlow<()>> {
        let level = match self.above_marks.last_mut() {
            Some(level) => level,
            None => &mut self.bottom,
        };
        match (level.key.take(), value) {
            (Some((key, below)), value) => {
                let entry = Entry {
                    dict: level.dict,
                    key,
                    value,
                    below,
                };
                self.entries.try_push(entry).ok()?;
            }
            (None, FlatValue::Ascii(key)) => {
                let below = match self.top {
                    Some(FlatValue::Dict(dict)) => Some(dict),
                    _ => None,
                };
                level.key = Some((key, below));
            }
            // The first object of the pickle is the outermost dict.
            (None, FlatValue::Dict(_)) if level.dict == NO_DICT && self.top.is_none() => {}
            (None, _) => return None,
        }
        self.top = Some(value);
        Some(ControlFlow::Continue(()))
    }

    #[inline]
    fn store(&mut self, index: usize) -> Option<ControlFlow<()>> {
        let value = self.top?;
        // MEMOIZE takes the number of entries as its index. A BINPUT that leaves a gap is not this
        // shape.
        let memoized = self.memo.len();
        match self.memo.get_mut(index) {
            Some(place) => *place = value,
            None if index == memoized => self.memo.try_push(value).ok()?,
            None => return None,
        }
        Some(ControlFlow::Continue(()))
    }

    /// Executes MARK: items for the topmost dict follow.
    #[inline]
    fn open(&mut self) -> Option<ControlFlow<()>> {
        let Some(FlatValue::Dict(dict)) = self.top.take() else {
            return None;
        };
        let level = Level {
            dict,
            start: self.entries.len(),
            key: None,
        };
        self.above_marks.try_push(level).ok()?;
        Some(ControlFlow::Continue(()))
    }

    /// Executes SETITEMS: the dict that received the items becomes the topmost object again.
    #[inline]
    fn close(&mut self) -> Option<ControlFlow<()>> {
        let level = self.above_marks.pop()?;
        if level.key.is_some() {
            return None;
        }
        self.top = Some(FlatValue::Dict(level.dict));
        Some(ControlFlow::Continue(()))
    }

    /// Executes SETITEM: moves the last pair to the dict below its key. That dict is itself a value
    /// in the dict whose items are being read.
    fn set_item(&mut self) -> Option<ControlFlow<()>> {
        let level = *self.above_marks.last().unwrap_or(&self.bottom);
        if level.key.is_some() {
            return None;
        }
        let own = self.entries.get_mut(level.start..)?;
        let pair = own.iter_mut().rfind(|entry| entry.dict == level.dict)?;
        let dict = pair.below?;
        pair.dict = dict;
        self.top = Some(FlatValue::Dict(dict));
        Some(ControlFlow::Continue(()))
    }

    /// Executes STOP, which must leave exactly the outermost dict. That dict was opened first.
    #[inline]
    fn stop(&self) -> Option<ControlFlow<()>> {
        let is_outermost = matches!(self.top, Some(FlatValue::Dict(FlatDict(0))));
        let nothing_loose = self.entries.iter().all(|entry| entry.dict != NO_DICT);
        let is_bare = self.above_marks.is_empty() && self.bottom.key.is_none();
        (is_outermost && is_bare && nothing_loose).then_some(ControlFlow::Break(()))
    }
}

/// Returns an ASCII text as a value. Other texts are left to the tree: no text that callers look
/// for has other characters.
#[inline]
fn ascii(text: &[u8]) -> Option<FlatValue<'_>> {
    text.is_ascii().then_some(FlatValue::Ascii(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_whose_key_is_fetched_from_the_memo() {
        let bytes = b"\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94(\x8c\x04type\x94\x8c\x06result\x94\
            \x8c\x07task_id\x94K\x05h\x02C\x02ok\x94u.";
        let flat = Flat::read(bytes).expect("it has the shape");
        assert_eq!(flat.get("type"), Some(FlatValue::Ascii(b"result")));
        assert_eq!(flat.get("task_id"), Some(FlatValue::Int(5)));
        assert_eq!(flat.get("result"), Some(FlatValue::Bytes(b"ok")));
        assert_eq!(flat.get("exception"), None);
    }

    #[test]
    fn dicts_in_dicts_with_one_entry_or_none() {
        let bytes = b"\x80\x04}(\x8c\x01a}\x8c\x01b}\x8c\x01cK\x07ss\x8c\x01d}u.";
        let flat = Flat::read(bytes).expect("it has the shape");
        let Some(FlatValue::Dict(a)) = flat.get("a") else {
            panic!("a is a dict");
        };
        let Some(FlatValue::Dict(b)) = flat.entry_of(a, "b") else {
            panic!("b is a dict");
        };
        assert_eq!(flat.entry_of(b, "c"), Some(FlatValue::Int(7)));
        assert!(matches!(flat.get("d"), Some(FlatValue::Dict(_))));
        assert_eq!(flat.get("b"), None);
    }

    #[test]
    fn anything_else_is_left_to_the_tree() {
        for other in [
            &b"\x80\x04]."[..],
            b"\x80\x04}(K\x01K\x02u.",
            b"\x80\x04}(\x8c\x01au.",
            b"\x80\x04}}.",
            b"\x80\x04}(.",
            b"\x80\x04}h\x00s.",
            b"\x80\x04}q\x05.",
            b"\x80\x04}\x8c\x01aK\x01",
            b"\x80\x04}(\x8c\x01a\x8c\x01b\x8c\x01c\x93u.",
        ] {
            assert!(Flat::read(other).is_none(), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn too_much_of_anything_is_left_to_the_tree() {
        let many = [&b"\x80\x04}("[..], &b"\x8c\x01aK\x01".repeat(13), b"u."].concat();
        assert!(Flat::read(&many).is_none());
        let deep = [&b"}"[..], &b"(".repeat(30)].concat();
        assert!(Flat::read(&deep).is_none());
    }
}
