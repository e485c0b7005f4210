//! The bytes of tasks and results, exactly as Python 3.8 to 3.13 would pickle them.
//!
//! The content depends on the seed, the kind and the task's id. It has a stamp of the id at both
//! ends. Between them is a range of one random table, whose start the id determines. So making and
//! checking take one pass over the bytes, and tasks with neighbouring ids differ.

/// Smallest content: a stamp at the beginning and one at the end.
pub(crate) const BYTES_MIN: usize = 2 * STAMP;
const STAMP: usize = 8;
/// Number of places in the table at which contents may begin.
const PLACES: usize = 4096;
/// Python's pickler ends its frame before bytes that are longer than this.
const FRAMED_BYTES_MAX: usize = 65_535;

const PROTO_4: &[u8] = b"\x80\x04";
const FRAME: u8 = 0x95;
const FRAME_HEADER: usize = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Result,
}

/// Makes and recognises all contents of one run.
pub(crate) struct Pattern {
    seed: u64,
    table: Vec<u8>,
    sizes: Sizes,
}

/// The sizes of contents in bytes, without the pickle around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    Fixed {
        task: usize,
        result: usize,
    },
    /// Each id has its own. Each power of two is as likely: tasks have up to 64 KiB, results up to
    /// 4 KiB, and a few of both have 1 MiB.
    Varied,
}

/// The largest of varied sizes, and how many contents there are for each one that has it.
const LARGE_BYTES: usize = 1 << 20;
const CONTENTS_PER_LARGE: u64 = 5000;
/// How many powers of two the other varied sizes span, from [`BYTES_MIN`] on.
const TASK_POWERS: u64 = 12;
const RESULT_POWERS: u64 = 8;

impl Sizes {
    fn max(self) -> usize {
        match self {
            Self::Fixed { task, result } => task.max(result),
            Self::Varied => LARGE_BYTES,
        }
    }

    fn of(self, kind: Kind, key: u64) -> usize {
        let powers = match (self, kind) {
            (Self::Fixed { task, .. }, Kind::Task) => return task,
            (Self::Fixed { result, .. }, Kind::Result) => return result,
            (Self::Varied, Kind::Task) => TASK_POWERS,
            (Self::Varied, Kind::Result) => RESULT_POWERS,
        };
        let random = mix(key);
        if random.is_multiple_of(CONTENTS_PER_LARGE) {
            return LARGE_BYTES;
        }
        let least = BYTES_MIN << ((random >> 32) % powers);
        least + (random >> 40) as usize % least
    }
}

impl Pattern {
    pub(crate) fn new(seed: u64, sizes: Sizes) -> Self {
        let len = sizes.max() + PLACES;
        let mut table = Vec::with_capacity(len + 8);
        let mut count = 0;
        while table.len() < len {
            count += 1;
            table.extend(mix(seed ^ mix(count)).to_le_bytes());
        }
        Self { seed, table, sizes }
    }

    /// Returns the size of one task's and of one result's content in bytes, if each has the same.
    pub(crate) fn fixed_bytes(&self) -> Option<(u64, u64)> {
        match self.sizes {
            Sizes::Fixed { task, result } => Some((task as u64, result as u64)),
            Sizes::Varied => None,
        }
    }

    fn len(&self, kind: Kind, id: u64) -> usize {
        self.sizes.of(kind, self.key(kind, id))
    }

    fn key(&self, kind: Kind, id: u64) -> u64 {
        mix(self.seed ^ mix(2 * id + u64::from(kind == Kind::Result)))
    }

    fn append(&self, kind: Kind, id: u64, out: &mut Vec<u8>) {
        let key = self.key(kind, id);
        let place = key as usize % PLACES;
        let between = self.sizes.of(kind, key) - BYTES_MIN;
        out.extend(key.to_le_bytes());
        out.extend_from_slice(&self.table[place..place + between]);
        out.extend((!key).to_le_bytes());
    }

    /// Whether the bytes are the content for this id.
    pub(crate) fn is(&self, kind: Kind, id: u64, bytes: &[u8]) -> bool {
        let key = self.key(kind, id);
        if bytes.len() != self.sizes.of(kind, key) {
            return false;
        }
        let place = key as usize % PLACES;
        let (head, rest) = bytes.split_at(STAMP);
        let (middle, tail) = rest.split_at(rest.len() - STAMP);
        head == key.to_le_bytes()
            && tail == (!key).to_le_bytes()
            && middle == &self.table[place..place + middle.len()]
    }

    /// Replaces `out` by the pickle of `{"task_id": id, "context": …, "buffer": …}`.
    pub(crate) fn write_task(&self, id: u64, priority: Option<i64>, out: &mut Vec<u8>) {
        let begin = begin(out);
        out.extend_from_slice(b"}\x94(\x8c\x07task_id\x94");
        push_int(out, id as i64);
        out.extend_from_slice(b"\x8c\x07context\x94}\x94");
        if let Some(priority) = priority {
            out.extend_from_slice(b"\x8c\x0dresource_spec\x94}\x94\x8c\x08priority\x94");
            push_int(out, priority);
            out.extend_from_slice(b"ss");
        }
        out.extend_from_slice(b"\x8c\x06buffer\x94");
        self.finish(Kind::Task, id, begin, out);
    }

    /// Replaces `out` by the pickle of `{"type": "result", "task_id": id, "result": …}`.
    pub(crate) fn write_result(&self, id: u64, out: &mut Vec<u8>) {
        let begin = begin(out);
        out.extend_from_slice(RESULT_HEAD);
        push_int(out, id as i64);
        // The key is the same string object as the value of "type", so Python reads it from the
        // memo.
        out.extend_from_slice(b"h\x02");
        self.finish(Kind::Result, id, begin, out);
    }

    fn finish(&self, kind: Kind, id: u64, begin: usize, out: &mut Vec<u8>) {
        let len = self.len(kind, id);
        let outside = len > FRAMED_BYTES_MAX;
        let framed_to = out.len();
        // The capacity is exact, because a large message with spare capacity would be copied once
        // more when it is sent.
        out.reserve_exact(bytes_header(len) + len + TAIL.len());
        match u8::try_from(len) {
            Ok(len) => out.extend([b'C', len]),
            Err(_) => {
                out.push(b'B');
                out.extend((len as u32).to_le_bytes());
            }
        }
        self.append(kind, id, out);
        out.extend_from_slice(TAIL);
        let framed = if outside { framed_to } else { out.len() } - begin;
        out[begin - 8..begin].copy_from_slice(&(framed as u64).to_le_bytes());
    }

    /// Returns the id of a result's pickle if it is exactly what [`write_result`] makes.
    ///
    /// [`write_result`]: Self::write_result
    pub(crate) fn read_result(&self, frame: &[u8]) -> Option<u64> {
        let rest = frame.strip_prefix(PROTO_4)?;
        let (&[FRAME], rest) = rest.split_at_checked(1)? else {
            return None;
        };
        let (framed, rest) = rest.split_at_checked(8)?;
        let framed = u64::from_le_bytes(framed.try_into().ok()?) as usize;
        let body = rest;
        let rest = rest.strip_prefix(RESULT_HEAD)?;
        let (id, rest) = read_int(rest)?;
        let rest = rest.strip_prefix(b"h\x02")?;
        let framed_to = body.len() - rest.len();
        let (len, rest) = match rest.split_first()? {
            (b'C', rest) => (usize::from(*rest.first()?), &rest[1..]),
            (b'B', rest) => {
                let (len, rest) = rest.split_at_checked(4)?;
                (u32::from_le_bytes(len.try_into().ok()?) as usize, rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        let outside = len > FRAMED_BYTES_MAX;
        let framed_is_right = framed == if outside { framed_to } else { body.len() };
        let is_right = rest == TAIL && framed_is_right && id >= 0;
        (is_right && self.is(Kind::Result, id as u64, contents)).then_some(id as u64)
    }
}

/// The opcodes MEMOIZE, SETITEMS and STOP.
const TAIL: &[u8] = b"\x94u.";
const RESULT_HEAD: &[u8] = b"}\x94(\x8c\x04type\x94\x8c\x06result\x94\x8c\x07task_id\x94";

/// Returns the length of the header before this many bytes.
fn bytes_header(len: usize) -> usize {
    if len < 256 { 2 } else { 5 }
}

/// Clears `out` and writes the beginning of a pickle. Returns where the frame's content begins.
fn begin(out: &mut Vec<u8>) -> usize {
    out.clear();
    out.extend_from_slice(PROTO_4);
    out.push(FRAME);
    out.extend([0; FRAME_HEADER - 1]);
    out.len()
}

/// Writes an integer with the opcode that Python would choose.
fn push_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(byte) = u8::try_from(value) {
        out.extend([b'K', byte]);
    } else if let Ok(word) = u16::try_from(value) {
        out.push(b'M');
        out.extend(word.to_le_bytes());
    } else {
        out.push(b'J');
        out.extend((value as i32).to_le_bytes());
    }
}

fn read_int(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (code, rest) = bytes.split_first()?;
    let len = match code {
        b'K' => 1,
        b'M' => 2,
        b'J' => 4,
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(len)?;
    let value = digits
        .iter()
        .rev()
        .fold(0, |value, digit| value << 8 | i64::from(*digit));
    Some((value, rest))
}

/// The finishing step of splitmix64: every bit of the input affects every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
