//! Identities that cannot be swapped by accident.

use std::fmt;
use std::rc::Rc;

use pickle::{Encoder, FlatValue, View};

/// The executor's number of a task: 1 and up in HTEX. An exception under −1 means "everything
/// failed" there; a task of that number has an answer as long as it has a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl TaskId {
    /// An int of up to 64 bits. Bools are ints in Python, and equal to these.
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        let number = view.as_i64();
        number.or_else(|| view.as_bool().map(i64::from)).map(Self)
    }

    /// The same of a value in a flat dict.
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

/// An id beyond 64 bits. Nothing is kept under it: it goes back to the executor in one answer.
#[derive(Clone, PartialEq, Eq)]
pub struct WideTaskId(Box<[u8]>);

impl WideTaskId {
    /// Of an int in little-endian two's complement; None of one that no instruction could hold.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let has_room = i32::try_from(bytes.len()).is_ok();
        has_room.then(|| Self(bytes.into()))
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.big_int(&self.0);
    }
}

/// In hexadecimal, as Python reads it; of a long one its beginning and how long it is.
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

/// Under what the executor can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyTaskId {
    /// As nearly all are.
    Ordinary(TaskId),
    /// Beyond what is served.
    Wide(WideTaskId),
}

impl AnyTaskId {
    /// Any int.
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        let wide = || view.as_big_int().and_then(WideTaskId::new).map(Self::Wide);
        TaskId::read(view).map(Self::Ordinary).or_else(wide)
    }
}

/// A manager's ZeroMQ identity: up to 255 bytes, usually the text of its uid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId(Rc<[u8]>);

impl ManagerId {
    /// From the frame that ZeroMQ puts before a manager's message.
    pub fn new(identity: &[u8]) -> Self {
        Self(identity.into())
    }

    /// As ZeroMQ routes by it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id as commands and exceptions show it. Parsl decodes identities as UTF-8 and would
    /// fail on others; bytes that are not UTF-8 are replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// As Parsl logs it: the text, with what is not printable escaped.
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

/// The block that a manager belongs to, as it was sent: text in Parsl, a number in other clients.
///
/// Ordered as Python orders texts (by code point) and numbers; numbers come before texts, where
/// Python would refuse to compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockId {
    /// Some other client's.
    Number(i64),
    /// Parsl's: a count in decimal, from '0' up.
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
