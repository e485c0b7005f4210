//! Reads the messages from an interchange to a manager: a number, or a list of tasks.
//!
//! The stock interchange pickles the list again, while others join the received bytes. So this is a
//! small interpreter of the opcodes of plain values, including the memo. It builds no objects: of a
//! dict it keeps only the keys that identify a task, and of bytes only their place. Anything else
//! is an error, because no such thing was submitted.

/// One task of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub id: u64,
    pub priority: Option<i64>,
    /// The place of the task's buffer in the message.
    pub buffer: Span,
}

/// A range of bytes in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub at: usize,
    pub len: usize,
}

impl Span {
    pub(crate) fn of(self, message: &[u8]) -> &[u8] {
        &message[self.at..self.at + self.len]
    }
}

/// The content of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    Number(i64),
    Tasks(&'a [Task]),
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Int(i64),
    Text(Span),
    Bytes(Span),
    Dict(usize),
    List(usize),
    Other,
}

/// The known keys of a dict.
#[derive(Debug, Clone, Copy, Default)]
struct Dict {
    id: Option<i64>,
    priority: Option<i64>,
    buffer: Option<(usize, usize)>,
}

/// The reader, with buffers that are reused for each message.
#[derive(Default)]
pub(crate) struct BatchReader {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
    dicts: Vec<Dict>,
    lists: usize,
    tasks: Vec<Task>,
}

impl BatchReader {
    /// Reads one message.
    ///
    /// # Errors
    /// A description of what is wrong, with its place.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Read<'_>, String> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        self.dicts.clear();
        self.tasks.clear();
        self.lists = 0;
        let mut at = 0;
        loop {
            match self.step(message, &mut at) {
                Some(true) => break,
                Some(false) => {}
                None => return Err(format!("a message is malformed at its byte {at}")),
            }
        }
        if at != message.len() {
            return Err(format!(
                "{} bytes follow a message's STOP",
                message.len() - at
            ));
        }
        match self.stack.as_slice() {
            [Value::Int(number)] => Ok(Read::Number(*number)),
            [Value::List(0)] => Ok(Read::Tasks(&self.tasks)),
            _ => Err("a message is neither a number nor a list".to_owned()),
        }
    }

    /// Executes one instruction. Returns whether it was the last one, or None if it is invalid;
    /// `at` then points at it.
    fn step(&mut self, message: &[u8], at: &mut usize) -> Option<bool> {
        let code = *message.get(*at)?;
        let from = *at + 1;
        let (head, len) = argument(code, message, from)?;
        let span = Span {
            at: from + head,
            len,
        };
        let end = span.at.checked_add(len)?;
        if end > message.len() {
            return None;
        }
        match code {
            b'.' => {
                *at = end;
                return Some(true);
            }
            0x80 | 0x95 => {}
            b'K' | b'M' | b'J' | 0x8a => self.stack.push(Value::Int(integer(code, span, message)?)),
            0x8c | b'X' => self.stack.push(Value::Text(span)),
            b'C' | b'B' | 0x8e => self.stack.push(Value::Bytes(span)),
            b'N' | 0x88 | 0x89 | b'G' | b')' => self.stack.push(Value::Other),
            b'}' => {
                self.stack.push(Value::Dict(self.dicts.len()));
                self.dicts.push(Dict::default());
            }
            b']' => {
                self.stack.push(Value::List(self.lists));
                self.lists += 1;
            }
            b'(' => self.marks.push(self.stack.len()),
            0x94 => self.memo.push(*self.stack.last()?),
            b'h' | b'j' => {
                let index = integer(code, span, message)?;
                self.stack
                    .push(*self.memo.get(usize::try_from(index).ok()?)?);
            }
            b's' => self.set_items(self.stack.len().checked_sub(2)?, message)?,
            b'u' => {
                let mark = self.marks.pop()?;
                self.set_items(mark, message)?;
            }
            b'a' => self.append(self.stack.len().checked_sub(1)?)?,
            b'e' => {
                let mark = self.marks.pop()?;
                self.append(mark)?;
            }
            _ => return None,
        }
        *at = end;
        Some(false)
    }

    /// Adds the keys and values from `place` on to the dict below them.
    fn set_items(&mut self, place: usize, message: &[u8]) -> Option<()> {
        let Value::Dict(number) = *self.stack.get(place.checked_sub(1)?)? else {
            return None;
        };
        let mut dict = self.dicts[number];
        for pair in self.stack.get(place..)?.chunks(2) {
            let &[key, value] = pair else {
                return None;
            };
            let Value::Text(key) = key else {
                continue;
            };
            match (key.of(message), value) {
                (b"task_id", Value::Int(id)) => dict.id = Some(id),
                (b"priority", Value::Int(priority)) => dict.priority = Some(priority),
                (b"buffer", Value::Bytes(span)) => dict.buffer = Some((span.at, span.len)),
                (b"context" | b"resource_spec", Value::Dict(inner)) => {
                    dict.priority = self.dicts[inner].priority;
                }
                _ => {}
            }
        }
        self.dicts[number] = dict;
        self.stack.truncate(place);
        Some(())
    }

    /// Adds the items from `place` on to the list below them. Items of the outermost list must be
    /// tasks.
    fn append(&mut self, place: usize) -> Option<()> {
        let Value::List(number) = *self.stack.get(place.checked_sub(1)?)? else {
            return None;
        };
        if number == 0 {
            for item in self.stack.get(place..)? {
                let Value::Dict(number) = *item else {
                    return None;
                };
                let dict = self.dicts[number];
                let (at, len) = dict.buffer?;
                self.tasks.push(Task {
                    id: u64::try_from(dict.id?).ok()?,
                    priority: dict.priority,
                    buffer: Span { at, len },
                });
            }
        }
        self.stack.truncate(place);
        Some(())
    }
}

/// Returns the length of an opcode's argument, and the number of bytes before it that hold this
/// length.
fn argument(code: u8, message: &[u8], from: usize) -> Option<(usize, usize)> {
    let counted = |head: usize| {
        let digits = message.get(from..from + head)?;
        let len = digits
            .iter()
            .rev()
            .fold(0_u64, |len, digit| len << 8 | u64::from(*digit));
        Some((head, usize::try_from(len).ok()?))
    };
    match code {
        0x80 | b'K' | b'h' => Some((0, 1)),
        b'M' => Some((0, 2)),
        b'J' | b'j' => Some((0, 4)),
        0x95 | b'G' => Some((0, 8)),
        0x8c | b'C' | 0x8a => counted(1),
        b'X' | b'B' => counted(4),
        0x8e => counted(8),
        _ => Some((0, 0)),
    }
}

/// Reads a little-endian integer, signed if the opcode is.
fn integer(code: u8, span: Span, message: &[u8]) -> Option<i64> {
    let digits = span.of(message);
    if digits.len() > 8 {
        return None;
    }
    let is_signed = matches!(code, b'J' | 0x8a);
    let is_negative = is_signed && digits.last().is_some_and(|last| last & 0x80 != 0);
    let begin = if is_negative { -1_i64 } else { 0 };
    Some(
        digits
            .iter()
            .rev()
            .fold(begin, |value, digit| value << 8 | i64::from(*digit)),
    )
}
