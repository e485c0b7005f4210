//! Iterates over the instructions of a pickle and decodes their arguments.
//!
//! This module checks syntax only: lengths, encodings and numbers. Its callers check the stack, the
//! marks and the memo. Arguments are borrowed from the input, so a declared length allocates
//! nothing before the bytes are known to be present.

use crate::error::{Fault, PickleError};
use crate::op;
use crate::opcode_table::{Form, row};
use crate::text::{self, BigText, Escaped, Integer, Str};

/// The newest protocol of any Python release so far.
const HIGHEST_PROTOCOL: u8 = 5;

/// Bytes of a FRAME instruction: the opcode and its length.
pub const FRAME_HEADER_LEN: usize = 9;

/// One instruction of a pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instruction<'a> {
    /// Offset of the opcode, in bytes from the start of the pickle.
    pub offset: usize,
    /// The opcode, one of [`op`].
    pub code: u8,
    /// The argument that follows the opcode.
    pub arg: Arg<'a>,
}

/// The decoded argument of an instruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arg<'a> {
    /// No argument.
    None,
    /// A bool in one of the two spellings that INT has for bools.
    Bool(bool),
    /// An int that fits `i64`, from any of the int opcodes; also the number of PROTO.
    Int(i64),
    /// An int beyond `i64`: little-endian two's complement, without redundant bytes.
    BigInt(&'a [u8]),
    /// An int beyond `i64`, still as the digits of INT or LONG.
    BigText(BigText<'a>),
    /// The value of BINFLOAT or FLOAT.
    Float(f64),
    /// The bytes of BINBYTES, its shorter and longer variants, and BYTEARRAY8.
    Bytes(&'a [u8]),
    /// A str.
    Text(&'a str),
    /// A str with lone surrogates, in UTF-8 as Python's "surrogatepass" writes them.
    Surrogates(&'a [u8]),
    /// A str of STRING or UNICODE that is well formed but not yet unescaped.
    Escaped(Escaped<'a>),
    /// Module and name of GLOBAL and INST.
    Names(&'a str, &'a str),
    /// The module and the name of GLOBAL or INST.
    Index(u64),
    /// The persistent id of PERSID.
    Line(&'a [u8]),
}

/// An iterator over the instructions of a pickle.
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

    /// Continues at the given offset of a pickle, where an instruction begins.
    pub(crate) fn at(offset: usize, bytes: &'a [u8]) -> Self {
        Self {
            len: bytes.len(),
            rest: bytes.get(offset..).unwrap_or_default(),
        }
    }

    /// Returns where the next instruction begins, in bytes from the start of the pickle.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Returns the next instruction. The caller must stop after STOP: the bytes that follow STOP do
    /// not belong to the pickle, but would be read as instructions.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::UnknownOpcode`], [`Fault::BadText`], [`Fault::BadNumber`],
    /// [`Fault::NegativeLength`] or [`Fault::UnsupportedProtocol`], at the offset of the opcode.
    /// After an error the position of the iterator is unspecified.
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

    /// Reads the opcode of the next instruction, for callers that read its argument separately.
    #[inline]
    pub(crate) fn code(&mut self) -> Result<u8, Fault> {
        self.byte()
    }

    /// Checks and skips the argument of an opcode. The arguments that the scanner meets most often
    /// are skipped without decoding; all others are decoded by [`arg`](Self::arg).
    #[inline]
    pub(crate) fn pass_arg(&mut self, code: u8) -> Result<(), Fault> {
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
            Form::Long1
            | Form::Long4
            | Form::Text4
            | Form::Text8
            | Form::Ascii1
            | Form::Ascii4
            | Form::Index1
            | Form::Index2
            | Form::Index4
            | Form::Proto
            | Form::Frame
            | Form::Line
            | Form::Unknown => self.arg(code).map(drop),
        }
    }

    /// Decodes the argument of an opcode.
    pub(crate) fn arg(&mut self, code: u8) -> Result<Arg<'a>, Fault> {
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
                // The C unpickler requires the whole frame to be present, and ignores the frame
                // from then on.
                Self { ..*self }.take(len)?;
                Arg::Index(len)
            }
            Form::Line => self.lines(code)?,
            Form::Unknown => return Err(Fault::UnknownOpcode(code)),
        })
    }

    /// Reads an argument of protocol 0 that consists of lines of text. Such pickles are no longer
    /// written in practice.
    #[cold]
    #[inline(never)]
    fn lines(&mut self, code: u8) -> Result<Arg<'a>, Fault> {
        Ok(match code {
            op::INT => match self.line()? {
                b"00" => Arg::Bool(false),
                b"01" => Arg::Bool(true),
                line => match text::integer(line)? {
                    // The C unpickler reads any two characters that mean 0 or 1 as a bool.
                    Integer::Small(value @ (0 | 1)) if line.len() == 2 => Arg::Bool(value == 1),
                    number @ (Integer::Small(_) | Integer::Big(_)) => number.into(),
                },
            },
            op::LONG => {
                let line = self.line()?;
                text::integer(line.strip_suffix(b"L").unwrap_or(line))?.into()
            }
            op::FLOAT => Arg::Float(text::float(self.line()?)?),
            op::STRING => text::string(self.line()?)?.into(),
            op::UNICODE => text::unicode(self.line()?)?.into(),
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
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
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
    pub(crate) fn bytes1(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.byte()?;
        self.take(len.into())
    }

    #[inline]
    pub(crate) fn bytes4(&mut self) -> Result<&'a [u8], Fault> {
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
        // A length beyond `usize` exceeds the number of received bytes.
        let len = usize::try_from(len).map_err(|_| Fault::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a line and drops its newline. A missing newline is an error.
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

    /// Reads a line of GLOBAL or INST. The C unpickler rejects an empty line.
    fn name(&mut self) -> Result<&'a str, Fault> {
        let line = self.line()?;
        if line.is_empty() {
            return Err(Fault::BadText);
        }
        std::str::from_utf8(line).map_err(|_| Fault::BadText)
    }
}

impl<'a> From<Integer<'a>> for Arg<'a> {
    fn from(integer: Integer<'a>) -> Self {
        match integer {
            Integer::Small(value) => Self::Int(value),
            Integer::Big(digits) => Self::BigText(digits),
        }
    }
}

impl<'a> From<Str<'a>> for Arg<'a> {
    fn from(text: Str<'a>) -> Self {
        match text {
            Str::Plain(text) => Self::Text(text),
            Str::Escaped(text) => Self::Escaped(text),
        }
    }
}

/// Decodes LONG1 or LONG4. Python accepts redundant sign bytes, and an empty argument for 0.
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

/// Decodes a Python 2 str. `pickle.loads` reads it as ASCII by default.
fn ascii(bytes: &[u8]) -> Result<Arg<'_>, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(Arg::Text(text)),
        _ => Err(Fault::BadText),
    }
}
