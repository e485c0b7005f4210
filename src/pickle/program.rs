//! Determines how a pickle travels inside another one.
//!
//! A pickle's body is spliced only if nothing in it depends on its position. Any other pickle
//! travels whole, as a call of `pickle.loads` on its bytes. Either way the object arrives
//! unchanged.

use std::ops::Range;

use crate::instruction::FRAME_HEADER_LEN;
use crate::nested;

/// Bytes of PROTO and its number, with which a spliceable program begins.
const PROTO_LEN: usize = 2;

/// Bytes of STOP, with which a program ends.
const STOP_LEN: usize = 1;

/// The facts about a well-formed pickle that are needed to place it in another one. A `Program`
/// owns no bytes: the caller passes the scanned bytes again to [`append_to`](Self::append_to).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    end: usize,
    passage: Passage,
    looks_up_names: bool,
}

/// How a program travels inside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Passage {
    /// The instructions unchanged, without PROTO, these FRAME headers, and STOP.
    Spliced(Frames),
    /// The whole pickle, as an argument of `pickle.loads`. If a frame claims to reach beyond STOP,
    /// the bytes up to the frame's end are included, since the C unpickler requires the whole
    /// frame.
    Nested { len: usize },
}

impl Program {
    /// Returns the length of the pickle in bytes, including STOP.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// Whether the body can be placed in another pickle unchanged. The protocol must be at least 3,
    /// no instruction may read the memo, and exactly one object and no mark must be left.
    #[must_use]
    pub const fn is_spliceable(&self) -> bool {
        matches!(self.passage, Passage::Spliced(_))
    }

    /// Whether the pickle names a class, a function or another global. Loading the pickle imports
    /// it.
    #[must_use]
    pub const fn looks_up_names(&self) -> bool {
        self.looks_up_names
    }

    /// Returns exactly how many bytes [`append_to`](Self::append_to) adds.
    #[must_use]
    pub const fn appended_len(&self) -> usize {
        match &self.passage {
            Passage::Spliced(frames) => {
                self.end - PROTO_LEN - STOP_LEN - frames.count * FRAME_HEADER_LEN
            }
            Passage::Nested { len } => nested::appended_len(*len),
        }
    }

    /// Returns the position of the body, if it can be spliced and is one contiguous range.
    #[must_use]
    pub const fn body(&self) -> Option<Range<usize>> {
        let Passage::Spliced(frames) = &self.passage else {
            return None;
        };
        let start = match (frames.count, frames.first[0]) {
            (0, _) => PROTO_LEN,
            (1, PROTO_LEN) => PROTO_LEN + FRAME_HEADER_LEN,
            _ => return None,
        };
        Some(start..self.end - STOP_LEN)
    }

    /// Appends instructions that leave exactly this program's object on the stack. The surrounding
    /// pickle must have protocol 4 or 5.
    ///
    /// # Panics
    /// If `bytes` is shorter than the bytes that were scanned.
    pub fn append_to(&self, bytes: &[u8], out: &mut Vec<u8>) {
        match &self.passage {
            Passage::Spliced(frames) => {
                let mut from = PROTO_LEN;
                for frame in frames.offsets() {
                    out.extend_from_slice(&bytes[from..frame]);
                    from = frame + FRAME_HEADER_LEN;
                }
                out.extend_from_slice(&bytes[from..self.end - STOP_LEN]);
            }
            Passage::Nested { len } => nested::append(&bytes[..*len], out),
        }
    }
}

/// The offsets of a program's FRAME headers. Ordinary programs have at most two, which are stored
/// inline.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frames {
    count: usize,
    first: [usize; 2],
    more: Vec<usize>,
}

impl Frames {
    const fn new() -> Self {
        Self {
            count: 0,
            first: [0; 2],
            more: Vec::new(),
        }
    }

    fn push(&mut self, offset: usize) {
        match self.first.get_mut(self.count) {
            Some(place) => *place = offset,
            None => self.more.push(offset),
        }
        self.count += 1;
    }

    fn offsets(&self) -> impl Iterator<Item = usize> {
        self.first
            .iter()
            .take(self.count)
            .chain(&self.more)
            .copied()
    }
}

/// Whether anything is left on the stack below the result of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    Something,
}

/// The facts about splicing that a walk collects, for every kind of walk.
#[derive(Debug)]
pub(crate) struct Layout {
    frames: Frames,
    frames_end: usize,
    /// The protocol that the first instruction names.
    protocol: Option<u8>,
    /// Whether an instruction in the body depends on the position of the body.
    is_bound: bool,
    /// Whether the body names a class, a function or another global.
    looks_up_names: bool,
}

impl Layout {
    pub(crate) const fn new() -> Self {
        Self {
            frames: Frames::new(),
            frames_end: 0,
            protocol: None,
            is_bound: false,
            looks_up_names: false,
        }
    }

    /// Records PROTO.
    #[inline]
    pub(crate) fn announce(&mut self, offset: usize, number: i64) {
        if offset == 0 {
            self.protocol = u8::try_from(number).ok();
        } else {
            // The meaning of names depends on the protocol. A program is therefore not spliced if
            // PROTO occurs later than at its start.
            self.is_bound = true;
        }
    }

    /// Records FRAME.
    #[inline]
    pub(crate) fn frame(&mut self, offset: usize, len: u64) {
        self.frames.push(offset);
        let end = usize::try_from(len).map_or(usize::MAX, |len| {
            offset.saturating_add(FRAME_HEADER_LEN).saturating_add(len)
        });
        self.frames_end = self.frames_end.max(end);
    }

    /// Records GLOBAL, `STACK_GLOBAL` or INST.
    #[inline]
    pub(crate) const fn look_up(&mut self) {
        self.looks_up_names = true;
    }

    /// Records a read of the memo. Memo indices count from the start of the pickle, so in a larger
    /// pickle they would refer to the entries of other objects.
    #[inline]
    pub(crate) const fn bind(&mut self) {
        self.is_bound = true;
    }

    /// Returns the program whose walk ended at `end`, directly after STOP.
    #[inline]
    pub(crate) fn program(self, end: usize, rest: Rest) -> Program {
        let is_portable = match self.protocol {
            // Protocol 3 takes a dot in a name literally; protocol 4 reads it as attribute access.
            Some(3) => !self.looks_up_names,
            Some(protocol) => protocol > 3,
            None => false,
        };
        let passage = if rest == Rest::Nothing && is_portable && !self.is_bound {
            Passage::Spliced(self.frames)
        } else {
            Passage::Nested {
                len: end.max(self.frames_end),
            }
        };
        Program {
            end,
            passage,
            looks_up_names: self.looks_up_names,
        }
    }
}
