//! Identities that cannot be swapped by accident.

use std::fmt;
use std::rc::Rc;

use pickle::{Encoder, View};

/// The executor's number of a task: 1 and up in HTEX; never negative here, because −1 on the
/// result channel means "everything failed".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
