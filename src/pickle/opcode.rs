//! The instruction set of pickle protocols 0 to 5, and an iterator over the instructions of a
//! pickle with their arguments decoded.
//!
//! This is syntax only: lengths, encodings and numbers are checked here; the stack, the marks and
//! the memo are the business of those who iterate. Arguments are borrowed from the input, so that
//! a declared length costs nothing before the bytes are known to be there.

use super::error::{Fault, PickleError};
use super::table::{Form, row};
use super::text;

pub use super::text::{BigText, Escaped};

/// The opcodes under Python's names, in the order of Python's `pickle.py`.
pub mod op {
    /// Push a mark onto the stack.
    pub const MARK: u8 = b'(';
    /// Every pickle ends with STOP; the topmost object is the result.
    pub const STOP: u8 = b'.';
    /// Discard the topmost object, or the topmost mark if nothing stands above it.
    pub const POP: u8 = b'0';
    /// Discard everything down to and including the topmost mark.
    pub const POP_MARK: u8 = b'1';
    /// Push the topmost object once more.
    pub const DUP: u8 = b'2';
    /// Push a float; a line of decimal text.
    pub const FLOAT: u8 = b'F';
    /// Push an int or a bool; a line of decimal text.
    pub const INT: u8 = b'I';
    /// Push an int; four bytes, signed.
    pub const BININT: u8 = b'J';
    /// Push an int; one byte.
    pub const BININT1: u8 = b'K';
    /// Push an int of any size; a line of decimal text, usually with an L at its end.
    pub const LONG: u8 = b'L';
    /// Push an int; two bytes, unsigned.
    pub const BININT2: u8 = b'M';
    /// Push None.
    pub const NONE: u8 = b'N';
    /// Push an object that is known by a persistent id; a line of text.
    pub const PERSID: u8 = b'P';
    /// The same, with the id taken from the stack.
    pub const BINPERSID: u8 = b'Q';
    /// Call the object below with the tuple on top.
    pub const REDUCE: u8 = b'R';
    /// Push a Python 2 str; a quoted and escaped line.
    pub const STRING: u8 = b'S';
    /// Push a Python 2 str; four bytes of length.
    pub const BINSTRING: u8 = b'T';
    /// Push a Python 2 str; one byte of length.
    pub const SHORT_BINSTRING: u8 = b'U';
    /// Push a str; a line in the raw-unicode-escape encoding.
    pub const UNICODE: u8 = b'V';
    /// Push a str; four bytes of length, UTF-8.
    pub const BINUNICODE: u8 = b'X';
    /// Append the topmost object to the list below it.
    pub const APPEND: u8 = b'a';
    /// Call `__setstate__` or update `__dict__` of the object below with the state on top.
    pub const BUILD: u8 = b'b';
    /// Push a class or another global; two lines, module and name.
    pub const GLOBAL: u8 = b'c';
    /// Build a dict from everything above the topmost mark.
    pub const DICT: u8 = b'd';
    /// Push an empty dict.
    pub const EMPTY_DICT: u8 = b'}';
    /// Append everything above the topmost mark to the list below the mark.
    pub const APPENDS: u8 = b'e';
    /// Push an entry of the memo; a line of decimal text.
    pub const GET: u8 = b'g';
    /// Push an entry of the memo; one byte.
    pub const BINGET: u8 = b'h';
    /// Build an instance; two lines name the class, the arguments are above the topmost mark.
    pub const INST: u8 = b'i';
    /// Push an entry of the memo; four bytes.
    pub const LONG_BINGET: u8 = b'j';
    /// Build a list from everything above the topmost mark.
    pub const LIST: u8 = b'l';
    /// Push an empty list.
    pub const EMPTY_LIST: u8 = b']';
    /// Build an instance; the class and its arguments are above the topmost mark.
    pub const OBJ: u8 = b'o';
    /// Store the topmost object in the memo; a line of decimal text.
    pub const PUT: u8 = b'p';
    /// Store the topmost object in the memo; one byte.
    pub const BINPUT: u8 = b'q';
    /// Store the topmost object in the memo; four bytes.
    pub const LONG_BINPUT: u8 = b'r';
    /// Add a key and a value to the dict below them.
    pub const SETITEM: u8 = b's';
    /// Build a tuple from everything above the topmost mark.
    pub const TUPLE: u8 = b't';
    /// Push an empty tuple.
    pub const EMPTY_TUPLE: u8 = b')';
    /// Add the keys and values above the topmost mark to the dict below the mark.
    pub const SETITEMS: u8 = b'u';
    /// Push a float; eight bytes, big-endian.
    pub const BINFLOAT: u8 = b'G';

    /// Protocol 2: names the protocol; one byte.
    pub const PROTO: u8 = 0x80;
    /// Protocol 2: `cls.__new__(cls, *args)` from class and tuple.
    pub const NEWOBJ: u8 = 0x81;
    /// Protocol 2: push an object from the extension registry; one byte.
    pub const EXT1: u8 = 0x82;
    /// Protocol 2: the same; two bytes.
    pub const EXT2: u8 = 0x83;
    /// Protocol 2: the same; four bytes.
    pub const EXT4: u8 = 0x84;
    /// Protocol 2: build a tuple from the topmost object.
    pub const TUPLE1: u8 = 0x85;
    /// Protocol 2: build a tuple from the two topmost objects.
    pub const TUPLE2: u8 = 0x86;
    /// Protocol 2: build a tuple from the three topmost objects.
    pub const TUPLE3: u8 = 0x87;
    /// Protocol 2: push True.
    pub const NEWTRUE: u8 = 0x88;
    /// Protocol 2: push False.
    pub const NEWFALSE: u8 = 0x89;
    /// Protocol 2: push an int; one byte of length, little-endian two's complement.
    pub const LONG1: u8 = 0x8a;
    /// Protocol 2: the same; four bytes of length.
    pub const LONG4: u8 = 0x8b;

    /// Protocol 3: push bytes; four bytes of length.
    pub const BINBYTES: u8 = b'B';
    /// Protocol 3: push bytes; one byte of length.
    pub const SHORT_BINBYTES: u8 = b'C';

    /// Protocol 4: push a str; one byte of length, UTF-8.
    pub const SHORT_BINUNICODE: u8 = 0x8c;
    /// Protocol 4: push a str; eight bytes of length, UTF-8.
    pub const BINUNICODE8: u8 = 0x8d;
    /// Protocol 4: push bytes; eight bytes of length.
    pub const BINBYTES8: u8 = 0x8e;
    /// Protocol 4: push an empty set.
    pub const EMPTY_SET: u8 = 0x8f;
    /// Protocol 4: add everything above the topmost mark to the set below the mark.
    pub const ADDITEMS: u8 = 0x90;
    /// Protocol 4: build a frozenset from everything above the topmost mark.
    pub const FROZENSET: u8 = 0x91;
    /// Protocol 4: `cls.__new__(cls, *args, **kwargs)` from class, tuple and dict.
    pub const NEWOBJ_EX: u8 = 0x92;
    /// Protocol 4: push the global whose module and name are on the stack.
    pub const STACK_GLOBAL: u8 = 0x93;
    /// Protocol 4: store the topmost object in the memo, under the count of its entries.
    pub const MEMOIZE: u8 = 0x94;
    /// Protocol 4: a frame begins; eight bytes of length.
    pub const FRAME: u8 = 0x95;

    /// Protocol 5: push a bytearray; eight bytes of length.
    pub const BYTEARRAY8: u8 = 0x96;
    /// Protocol 5: push the next out-of-band buffer.
    pub const NEXT_BUFFER: u8 = 0x97;
    /// Protocol 5: make the topmost object read-only.
    pub const READONLY_BUFFER: u8 = 0x98;
}

/// The newest protocol of any Python so far.
pub const HIGHEST_PROTOCOL: u8 = 5;

/// How many bytes a FRAME instruction takes: the opcode and its length.
pub const FRAME_HEADER_LEN: usize = 9;

/// One instruction of a pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instruction<'a> {
    /// Where its opcode stands, in bytes from the start of the pickle.
    pub offset: usize,
    /// The opcode, one of [`op`].
    pub code: u8,
    /// What follows the opcode.
    pub arg: Arg<'a>,
}

/// The decoded argument of an instruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arg<'a> {
    /// The opcode stands alone.
    None,
    /// INT in the two spellings that mean a bool.
    Bool(bool),
    /// An int that fits, from any of the int opcodes; also the number of PROTO.
    Int(i64),
    /// An int beyond `i64`: little-endian two's complement, without redundant bytes.
    BigInt(&'a [u8]),
    /// An int beyond `i64`, still in the digits of INT or LONG.
    BigText(BigText<'a>),
    /// BINFLOAT or FLOAT.
    Float(f64),
    /// The bytes of BINBYTES and its like, and of BYTEARRAY8.
    Bytes(&'a [u8]),
    /// A str.
    Text(&'a str),
    /// A str with lone surrogates, in UTF-8 as Python's "surrogatepass" writes them.
    Surrogates(&'a [u8]),
    /// A str of STRING or UNICODE that has yet to be unescaped; known to be well formed.
    Escaped(Escaped<'a>),
    /// Module and name of GLOBAL and INST.
    Names(&'a str, &'a str),
    /// A memo index, an extension code, or the length of a frame.
    Index(u64),
    /// The persistent id of PERSID.
    Line(&'a [u8]),
}

/// Iterates over the instructions of a pickle.
#[derive(Debug, Clone)]
pub struct Instructions<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Instructions<'a> {
    /// Starts at the first byte of a pickle.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            len: bytes.len(),
            rest: bytes,
        }
    }

    /// Where the next instruction begins, in bytes from the start.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next instruction. After STOP it is the caller who stops: what follows is not the
    /// pickle's, and is read as if it were.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::UnknownOpcode`], [`Fault::BadText`], [`Fault::BadNumber`],
    /// [`Fault::NegativeLength`] or [`Fault::UnsupportedProtocol`], at the offset of the opcode.
    /// After an error the iterator's place is unspecified.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Instruction<'a>, PickleError> {
        let offset = self.offset();
        let code = self.code().map_err(|fault| fault.at(offset))?;
        match self.arg(code) {
            Ok(arg) => Ok(Instruction { offset, code, arg }),
            Err(fault) => Err(fault.at(offset)),
        }
    }

    /// The opcode of the next instruction, for those who fetch its argument themselves.
    #[inline]
    pub(super) fn code(&mut self) -> Result<u8, Fault> {
        self.byte()
    }

    /// Checks and passes over the argument of an opcode. This is the scanner's way through the
    /// instructions that it meets all the time; the rest goes the way of those who want to know.
    #[inline]
    pub(super) fn pass_arg(&mut self, code: u8) -> Result<(), Fault> {
        match row(code).form {
            Form::Bare => Ok(()),
            Form::Int1 => self.take(1).map(drop),
            Form::Int2 => self.take(2).map(drop),
            Form::Int4 => self.take(4).map(drop),
            Form::Float => self.take(8).map(drop),
            Form::Bytes1 => self.bytes1().map(drop),
            Form::Bytes4 => self.bytes4().map(drop),
            Form::Bytes8 => self.bytes8().map(drop),
            Form::Text1 => {
                let text = self.bytes1()?;
                if text.is_ascii() {
                    Ok(())
                } else {
                    utf8(text).map(drop)
                }
            }
            _ => self.arg(code).map(drop),
        }
    }

    /// The argument of an opcode.
    pub(super) fn arg(&mut self, code: u8) -> Result<Arg<'a>, Fault> {
        Ok(match row(code).form {
            Form::Bare => Arg::None,
            Form::Int1 => Arg::Int(self.byte()?.into()),
            Form::Int2 => Arg::Int(u16::from_le_bytes(*self.array()?).into()),
            Form::Int4 => Arg::Int(i32::from_le_bytes(*self.array()?).into()),
            Form::Long1 => long(self.bytes1()?),
            Form::Long4 => {
                let len = i32::from_le_bytes(*self.array()?);
                let len = u64::try_from(len).map_err(|_| Fault::NegativeLength)?;
                long(self.take(len)?)
            }
            Form::Float => Arg::Float(f64::from_be_bytes(*self.array()?)),
            Form::Text1 => utf8(self.bytes1()?)?,
            Form::Text4 => utf8(self.bytes4()?)?,
            Form::Text8 => utf8(self.bytes8()?)?,
            Form::Ascii1 => ascii(self.bytes1()?)?,
            Form::Ascii4 => ascii(self.bytes4()?)?,
            Form::Bytes1 => Arg::Bytes(self.bytes1()?),
            Form::Bytes4 => Arg::Bytes(self.bytes4()?),
            Form::Bytes8 => Arg::Bytes(self.bytes8()?),
            Form::Index1 => Arg::Index(self.byte()?.into()),
            Form::Index2 => Arg::Index(u16::from_le_bytes(*self.array()?).into()),
            Form::Index4 => Arg::Index(u32::from_le_bytes(*self.array()?).into()),
            Form::Proto => match self.byte()? {
                known @ 0..=HIGHEST_PROTOCOL => Arg::Int(known.into()),
                unknown => return Err(Fault::UnsupportedProtocol(unknown)),
            },
            Form::Frame => {
                let len = u64::from_le_bytes(*self.array()?);
                // The C unpickler asks for the whole frame to be there and then forgets about it.
                Self { ..*self }.take(len)?;
                Arg::Index(len)
            }
            Form::Line => self.lines(code)?,
            Form::Unknown => return Err(Fault::UnknownOpcode(code)),
        })
    }

    /// The arguments of protocol 0 that are lines of text; nobody writes them any more.
    #[cold]
    #[inline(never)]
    fn lines(&mut self, code: u8) -> Result<Arg<'a>, Fault> {
        Ok(match code {
            op::INT => match self.line()? {
                b"00" => Arg::Bool(false),
                b"01" => Arg::Bool(true),
                line => match text::integer(line)? {
                    // The C unpickler takes any two characters that mean 0 or 1 for a bool.
                    Arg::Int(value @ (0 | 1)) if line.len() == 2 => Arg::Bool(value == 1),
                    number => number,
                },
            },
            op::LONG => {
                let line = self.line()?;
                text::integer(line.strip_suffix(b"L").unwrap_or(line))?
            }
            op::FLOAT => Arg::Float(text::float(self.line()?)?),
            op::STRING => text::string(self.line()?)?,
            op::UNICODE => text::unicode(self.line()?)?,
            op::GET | op::PUT => Arg::Index(text::index(self.line()?)?),
            op::GLOBAL => {
                let (module, name) = (self.name()?, self.name()?);
                Arg::Names(module, name)
            }
            op::INST => {
                let (module, name) = (self.name()?, self.name()?);
                if !(module.is_ascii() && name.is_ascii()) {
                    return Err(Fault::BadText);
                }
                Arg::Names(module, name)
            }
            op::PERSID => Arg::Line(self.line()?),
            unknown => return Err(Fault::UnknownOpcode(unknown)),
        })
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let (&byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(array)
    }

    #[inline]
    pub(super) fn bytes1(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.byte()?;
        self.take(len.into())
    }

    #[inline]
    pub(super) fn bytes4(&mut self) -> Result<&'a [u8], Fault> {
        let len = u32::from_le_bytes(*self.array()?);
        self.take(len.into())
    }

    #[inline]
    fn bytes8(&mut self) -> Result<&'a [u8], Fault> {
        let len = u64::from_le_bytes(*self.array()?);
        self.take(len)
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        // A length that no machine could hold is longer than what was received.
        let len = usize::try_from(len).map_err(|_| Fault::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A line without its newline, which must be there.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let end = self
            .rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or(Fault::Truncated)?;
        let (line, rest) = self.rest.split_at_checked(end).ok_or(Fault::Truncated)?;
        self.rest = rest.get(1..).ok_or(Fault::Truncated)?;
        Ok(line)
    }

    /// A line of GLOBAL or INST; the C unpickler takes no empty one.
    fn name(&mut self) -> Result<&'a str, Fault> {
        let line = self.line()?;
        if line.is_empty() {
            return Err(Fault::BadText);
        }
        std::str::from_utf8(line).map_err(|_| Fault::BadText)
    }
}

/// LONG1 and LONG4; Python accepts redundant sign bytes, and no bytes at all for 0.
fn long(mut bytes: &[u8]) -> Arg<'_> {
    while let [shorter @ .., top] = bytes {
        match shorter.last() {
            Some(below) if *top == text::sign_byte(*below) => bytes = shorter,
            _ => break,
        }
    }
    if bytes.len() > size_of::<i64>() {
        return Arg::BigInt(bytes);
    }
    let sign = bytes
        .last()
        .map_or(0, |&top| i64::from(text::sign_byte(top).cast_signed()));
    Arg::Int(
        bytes
            .iter()
            .rev()
            .fold(sign, |value, &byte| (value << 8) | i64::from(byte)),
    )
}

#[inline]
fn utf8(bytes: &[u8]) -> Result<Arg<'_>, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Arg::Text(text)),
        Err(_) => text::check_surrogatepass(bytes).map(|()| Arg::Surrogates(bytes)),
    }
}

/// `pickle.loads` reads the str of Python 2 as ASCII unless it is told otherwise.
fn ascii(bytes: &[u8]) -> Result<Arg<'_>, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(Arg::Text(text)),
        _ => Err(Fault::BadText),
    }
}
