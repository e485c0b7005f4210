//! How a pickle travels inside another one.
//!
//! Its body is spliced only if nothing in it depends on where it stands; everything else travels
//! whole, as a call of `pickle.loads` on its bytes. Either way an object arrives as it was sent.

use std::ops::Range;

use crate::instruction::FRAME_HEADER_LEN;
use crate::nested;

/// PROTO and its number, which a spliceable program begins with.
const PROTO_LEN: usize = 2;

/// STOP, which a program ends with.
const STOP_LEN: usize = 1;

/// What linking needs to know of a well-formed pickle. It owns no bytes: the same bytes that were
/// scanned have to be handed to [`append_to`](Self::append_to).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    end: usize,
    passage: Passage,
    looks_up_names: bool,
}

/// How a program travels inside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Passage {
    /// As it stands, without PROTO, these FRAME headers, and STOP.
    Spliced(Frames),
    /// Whole, as an argument of `pickle.loads`. The bytes go on beyond STOP as far as a frame
    /// claims to reach, since the C unpickler wants to see all of a frame.
    Nested { len: usize },
}

impl Program {
    /// How many bytes the pickle takes, STOP included.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// Whether the body can stand in another pickle as it is: its protocol is 3 at least, it reads
    /// no memo, and it leaves one object and no mark.
    #[must_use]
    pub const fn is_spliceable(&self) -> bool {
        matches!(self.passage, Passage::Spliced(_))
    }

    /// Whether it names a class, a function or another global: who loads it imports that.
    #[must_use]
    pub const fn looks_up_names(&self) -> bool {
        self.looks_up_names
    }

    /// Exactly how many bytes [`append_to`](Self::append_to) adds.
    #[must_use]
    pub const fn appended_len(&self) -> usize {
        match &self.passage {
            Passage::Spliced(frames) => {
                self.end - PROTO_LEN - STOP_LEN - frames.count * FRAME_HEADER_LEN
            }
            Passage::Nested { len } => nested::appended_len(*len),
        }
    }

    /// Where the body stands, if it is one piece that can be spliced as it is.
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

    /// Appends instructions that leave exactly this program's object on the stack. They want a
    /// pickle of protocol 4 or 5 around them.
    ///
    /// # Panics
    /// If `bytes` are fewer than those that were scanned.
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

/// Where the FRAME headers of a program stand. Ordinary programs have at most two, and these are
/// kept in place.
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

/// Whether anything is left below the object that a program ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    Something,
}

/// What a walk finds out about splicing, whoever walks.
#[derive(Debug)]
pub(crate) struct Layout {
    frames: Frames,
    frames_end: usize,
    /// The protocol that the very first instruction names.
    protocol: Option<u8>,
    /// Whether something in the body depends on where the body stands.
    is_bound: bool,
    /// Whether a class or another global is named.
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

    /// PROTO.
    #[inline]
    pub(crate) fn announce(&mut self, offset: usize, number: i64) {
        if offset == 0 {
            self.protocol = u8::try_from(number).ok();
        } else {
            // The meaning of names changes with the protocol, so a program that changes it on the
            // way, or begins without one, keeps to itself.
            self.is_bound = true;
        }
    }

    /// FRAME.
    #[inline]
    pub(crate) fn frame(&mut self, offset: usize, len: u64) {
        self.frames.push(offset);
        let end = usize::try_from(len).map_or(usize::MAX, |len| {
            offset.saturating_add(FRAME_HEADER_LEN).saturating_add(len)
        });
        self.frames_end = self.frames_end.max(end);
    }

    /// GLOBAL, `STACK_GLOBAL` or INST.
    #[inline]
    pub(crate) const fn look_up(&mut self) {
        self.looks_up_names = true;
    }

    /// The memo was read. Indices count from the start of the pickle: they would point into a
    /// neighbour.
    #[inline]
    pub(crate) const fn bind(&mut self) {
        self.is_bound = true;
    }

    /// What has been walked, up to behind its STOP.
    #[inline]
    pub(crate) fn program(self, end: usize, rest: Rest) -> Program {
        let is_portable = match self.protocol {
            // A dot in a name is taken literally by protocol 3, and followed by protocol 4.
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
