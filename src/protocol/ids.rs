//! Types for identities, so that one kind cannot be passed in place of another.

use std::fmt;
use std::rc::Rc;

use pickle::{Encoder, FlatValue, View};

/// The executor's number of a task; HTEX counts from 1. To the executor, an exception under −1
/// means that everything failed, so a task with the id −1 can only be answered by a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl TaskId {
    /// Reads an int of up to 64 bits. Python's bools are ints too, and equal 0 and 1.
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        let number = view.as_i64();
        number.or_else(|| view.as_bool().map(i64::from)).map(Self)
    }

    /// Reads an id in a flat dict, like [`Self::read`].
    #[inline]
    pub(crate) fn of_flat(value: FlatValue<'_>) -> Option<Self> {
        match value {
            FlatValue::Int(number) => Some(Self(number)),
            FlatValue::Bool(flag) => Some(Self(flag.into())),
            FlatValue::None
            | FlatValue::Float(_)
            | FlatValue::Ascii(_)
            | FlatValue::Bytes(_)
            | FlatValue::Dict(_) => None,
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task id of more than 64 bits. The interchange stores nothing under it; the id is only sent
/// back to the executor in one answer.
#[derive(Clone, PartialEq, Eq)]
pub struct WideTaskId(Box<[u8]>);

impl WideTaskId {
    /// Creates an id from an int in little-endian two's complement. Returns `None` if no
    /// instruction could hold the int.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let has_room = i32::try_from(bytes.len()).is_ok();
        has_room.then(|| Self(bytes.into()))
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.big_int(&self.0);
    }
}

/// Shows the id in hexadecimal, as Python reads it. Of a long id, the beginning and the length are
/// shown.
impl fmt::Display for WideTaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_DIGITS: usize = 40;
        let is_negative = self.0.last().is_some_and(|top| top & 0x80 != 0);
        let mut carry = is_negative;
        let mut magnitude = Vec::with_capacity(self.0.len());
        for byte in &self.0 {
            let digit = if is_negative { !byte } else { *byte };
            let (digit, overflows) = digit.overflowing_add(carry.into());
            carry = overflows;
            magnitude.push(digit);
        }
        let sign = if is_negative { "-" } else { "" };
        let digits: String = magnitude.iter().rev().map(|b| format!("{b:02x}")).collect();
        let digits = digits.trim_start_matches('0');
        match digits.get(SHOWN_DIGITS..) {
            None | Some("") => write!(f, "{sign}0x{digits}"),
            Some(_) => write!(
                f,
                "{sign}0x{}… ({} digits)",
                &digits[..SHOWN_DIGITS],
                digits.len()
            ),
        }
    }
}

impl fmt::Debug for WideTaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A task id under which the executor can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyTaskId {
    /// An id of up to 64 bits, as nearly all ids are.
    Ordinary(TaskId),
    /// An id of more than 64 bits, which is not supported.
    Wide(WideTaskId),
}

impl AnyTaskId {
    /// Reads an int of any size.
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        let wide = || view.as_big_int().and_then(WideTaskId::new).map(Self::Wide);
        TaskId::read(view).map(Self::Ordinary).or_else(wide)
    }
}

/// A manager's ZeroMQ identity: up to 255 bytes, usually the text of the manager's uid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId(Rc<[u8]>);

impl ManagerId {
    /// Creates an id from the frame that ZeroMQ puts before a manager's message.
    pub fn new(identity: &[u8]) -> Self {
        Self(identity.into())
    }

    /// Returns the bytes by which ZeroMQ routes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the id as commands and exceptions show it. Parsl decodes identities as UTF-8 and
    /// would fail on invalid bytes. Here invalid bytes are replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// Shows the id as Parsl logs it: as text, with unprintable characters escaped.
impl fmt::Display for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b'{}'", self.0.escape_ascii())
    }
}

impl fmt::Debug for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The block that a manager belongs to, as sent: text in Parsl, a number in other clients.
///
/// Texts are ordered as in Python (by code point), and so are numbers. Numbers come before texts,
/// where Python would refuse to compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockId {
    /// A block id of another client.
    Number(i64),
    /// A block id of Parsl: a decimal count that begins at '0'.
    Text(Rc<str>),
}

impl BlockId {
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        if let Some(text) = view.as_str() {
            return Some(Self::Text(text.into()));
        }
        view.as_i64().map(Self::Number)
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Number(number) => out.int(*number),
            Self::Text(text) => out.str(text),
        };
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
