//! Reads the shape of nearly all traffic without building a tree: a dict of text keys, whose values
//! are plain, or such dicts again.
//!
//! It takes exactly that shape, from the first byte to STOP, or nothing; [`super::Tree`] reads
//! whatever is otherwise. A machine with a small fixed stack, so nothing is allocated.

use super::opcode::{Arg, Instruction, Instructions, op};

/// Entries of all dicts together.
const ENTRIES_MAX: usize = 12;
/// Objects that may be stored for later use.
const MEMO_MAX: usize = 32;
/// Objects and marks that may lie on the stack at a time.
const STACK_MAX: usize = 24;

/// A value of a [`Flat`] dict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FlatValue<'a> {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An int that fits.
    Int(i64),
    /// A float.
    Float(f64),
    /// A str without lone surrogates.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A dict, for [`Flat::entry_of`].
    Dict(FlatDict),
}

/// Names one dict of a [`Flat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatDict(u8);

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    dict: FlatDict,
    key: &'a str,
    value: FlatValue<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Slot<'a> {
    Mark,
    Object(FlatValue<'a>),
}

/// A dict of plain values.
#[derive(Debug)]
pub struct Flat<'a> {
    entries: [Entry<'a>; ENTRIES_MAX],
    len: usize,
}

impl<'a> Flat<'a> {
    /// Reads a whole pickle, if it has the shape.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut machine = Machine::new();
        let mut instructions = Instructions::new(bytes);
        loop {
            let instruction = instructions.next().ok()?;
            if instruction.code == op::STOP {
                break;
            }
            machine.step(instruction)?;
        }
        // Exactly the outermost dict is left, the first that was opened.
        let outermost = Slot::Object(FlatValue::Dict(FlatDict(0)));
        match machine.stack.first() {
            Some(slot) if machine.depth == 1 && same_dict(*slot, outermost) => Some(machine.flat),
            _ => None,
        }
    }

    /// The value of a key of the outermost dict; of several the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<FlatValue<'a>> {
        self.entry_of(FlatDict(0), key)
    }

    /// The value of a key of one of the dicts.
    #[must_use]
    pub fn entry_of(&self, dict: FlatDict, key: &str) -> Option<FlatValue<'a>> {
        let entries = self.entries.get(..self.len)?;
        let found = entries
            .iter()
            .rfind(|entry| entry.dict == dict && entry.key == key)?;
        Some(found.value)
    }
}

fn same_dict(one: Slot<'_>, other: Slot<'_>) -> bool {
    match (one, other) {
        (Slot::Object(FlatValue::Dict(one)), Slot::Object(FlatValue::Dict(other))) => one == other,
        _ => false,
    }
}

struct Machine<'a> {
    stack: [Slot<'a>; STACK_MAX],
    depth: usize,
    memo: [Option<FlatValue<'a>>; MEMO_MAX],
    memoized: usize,
    dicts: u8,
    flat: Flat<'a>,
}

impl<'a> Machine<'a> {
    fn new() -> Self {
        let blank = Entry {
            dict: FlatDict(0),
            key: "",
            value: FlatValue::None,
        };
        Self {
            stack: [Slot::Mark; STACK_MAX],
            depth: 0,
            memo: [None; MEMO_MAX],
            memoized: 0,
            dicts: 0,
            flat: Flat {
                entries: [blank; ENTRIES_MAX],
                len: 0,
            },
        }
    }

    /// None for whatever is beyond the shape.
    #[inline]
    fn step(&mut self, instruction: Instruction<'a>) -> Option<()> {
        let value = match (instruction.code, instruction.arg) {
            (op::PROTO | op::FRAME, _) => return Some(()),
            (op::MEMOIZE, _) => return self.store(self.memoized),
            (op::BINPUT, Arg::Index(index)) => return self.store(usize::try_from(index).ok()?),
            (op::BINGET, Arg::Index(index)) => (*self.memo.get(usize::try_from(index).ok()?)?)?,
            (op::MARK, _) => return self.push(Slot::Mark),
            (op::SETITEM, _) => return self.set_items(self.depth.checked_sub(2)?, 0),
            (op::SETITEMS, _) => {
                let filled = self.stack.get(..self.depth)?;
                let mark = filled.iter().rposition(|slot| matches!(slot, Slot::Mark))?;
                return self.set_items(mark + 1, 1);
            }
            (op::EMPTY_DICT, _) => {
                let dict = FlatDict(self.dicts);
                self.dicts = self.dicts.checked_add(1)?;
                FlatValue::Dict(dict)
            }
            (op::NONE, _) => FlatValue::None,
            (op::NEWTRUE, _) => FlatValue::Bool(true),
            (op::NEWFALSE, _) => FlatValue::Bool(false),
            (_, Arg::Int(number)) => FlatValue::Int(number),
            (_, Arg::Float(number)) => FlatValue::Float(number),
            (op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8, Arg::Text(text)) => {
                FlatValue::Str(text)
            }
            (op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8, Arg::Bytes(bytes)) => {
                FlatValue::Bytes(bytes)
            }
            _ => return None,
        };
        self.push(Slot::Object(value))
    }

    fn push(&mut self, slot: Slot<'a>) -> Option<()> {
        *self.stack.get_mut(self.depth)? = slot;
        self.depth += 1;
        Some(())
    }

    fn store(&mut self, index: usize) -> Option<()> {
        let Slot::Object(value) = *self.stack.get(self.depth.checked_sub(1)?)? else {
            return None;
        };
        *self.memo.get_mut(index)? = Some(value);
        // MEMOIZE numbers by how many entries there are; BINPUT that leaves gaps is not this shape.
        if index > self.memoized {
            return None;
        }
        self.memoized = self.memoized.max(index + 1);
        Some(())
    }

    /// Takes what lies from `first` on as keys and values of the dict below, and below `marks`.
    fn set_items(&mut self, first: usize, marks: usize) -> Option<()> {
        let below = first.checked_sub(marks + 1)?;
        let Slot::Object(FlatValue::Dict(dict)) = *self.stack.get(below)? else {
            return None;
        };
        let (pairs, rest) = self.stack.get(first..self.depth)?.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        for pair in pairs {
            let [Slot::Object(FlatValue::Str(key)), Slot::Object(value)] = *pair else {
                return None;
            };
            *self.flat.entries.get_mut(self.flat.len)? = Entry { dict, key, value };
            self.flat.len += 1;
        }
        self.depth = below + 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_whose_key_is_fetched_from_the_memo() {
        let bytes = b"\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94(\x8c\x04type\x94\x8c\x06result\x94\
            \x8c\x07task_id\x94K\x05h\x02C\x02ok\x94u.";
        let flat = Flat::read(bytes).expect("it has the shape");
        assert_eq!(flat.get("type"), Some(FlatValue::Str("result")));
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
