//! Walks a pickle without building anything, and links it into another one.
//!
//! [`scan`] simulates the stack, the marks and the memo exactly as the C unpickler moves them.
//! A pickle that it accepts cannot fail to load for a structural reason; what can still fail is
//! what the objects themselves do: imports, calls, types. Stock interchanges found that out by
//! loading every task; we leave it to the worker that runs it.
//!
//! Two decisions keep an object from changing on its way. A body is spliced into another pickle
//! only if nothing in it depends on where it stands; everything else travels whole, as a call of
//! `pickle.loads` on its bytes. And whatever Python tolerates, such as a second object below the
//! result or frames that do not fit together, is accepted here too.

use std::ops::{ControlFlow, Range};

use super::books::{Marks, Memo};
use super::encode;
use super::error::{Fault, PickleError};
use super::opcode::{Arg, FRAME_HEADER_LEN, Instruction, Instructions, op};
use super::table::{Effect, row};

/// PROTO and its number, which a spliceable program begins with.
const PROTO_LEN: usize = 2;

/// STOP, which a program ends with.
const STOP_LEN: usize = 1;

/// Walks a pickle to its STOP once. What follows the STOP is ignored, as `pickle.loads` does.
///
/// # Errors
/// Whatever would make `pickle.loads` fail before any object is asked to do something; further
/// [`Fault::MemoIndexTooLarge`], [`Fault::PersistentId`], [`Fault::Extension`] and
/// [`Fault::OutOfBandBuffer`], for objects that could not be restored on another machine.
pub fn scan(bytes: &[u8]) -> Result<Program, PickleError> {
    let mut instructions = Instructions::new(bytes);
    let mut walk = Walk::new(bytes.len());
    loop {
        let offset = instructions.offset();
        match walk.step(&mut instructions) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(walk.finish(instructions.offset())),
            Err(fault) => return Err(fault.at(offset)),
        }
    }
}

/// What linking needs to know of a well-formed pickle. It owns no bytes: the same bytes that were
/// scanned have to be handed to [`append_to`](Self::append_to).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    protocol: u8,
    end: usize,
    passage: Passage,
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
    /// The protocol that the pickle names first; 0 if it names none.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

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

    /// Exactly how many bytes [`append_to`](Self::append_to) adds.
    #[must_use]
    pub const fn appended_len(&self) -> usize {
        match &self.passage {
            Passage::Spliced(frames) => {
                self.end - PROTO_LEN - STOP_LEN - frames.count * FRAME_HEADER_LEN
            }
            Passage::Nested { len } => encode::nested_len(*len),
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
            Passage::Nested { len } => encode::nested(&bytes[..*len], out),
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

/// The state of the simulated machine, and what it has shown so far about splicing.
struct Walk {
    marks: Marks,
    memo: Memo,
    layout: Layout,
}

impl Walk {
    fn new(len: usize) -> Self {
        Self {
            marks: Marks::new(),
            memo: Memo::new(len),
            layout: Layout::new(),
        }
    }

    /// Carries one instruction out, up to the STOP.
    #[inline]
    fn step(&mut self, instructions: &mut Instructions<'_>) -> Result<ControlFlow<()>, Fault> {
        let offset = instructions.offset();
        let code = instructions.code()?;
        let effect = row(code).effect;
        if let Effect::Other = effect {
            let arg = instructions.arg(code)?;
            return self.other(&Instruction { offset, code, arg });
        }
        instructions.pass_arg(code)?;
        match effect {
            Effect::Replace { takes, gives } => self.marks.replace(takes.into(), gives.into())?,
            Effect::Memoize => {
                self.marks.replace(1, 1)?;
                self.memo.write_next()?;
            }
            Effect::Open => self.marks.open(),
            Effect::Collect => self.collect(1, 0, 1)?,
            Effect::CollectPairs => self.collect(2, 0, 1)?,
            Effect::Fill => self.collect(1, 1, 1)?,
            Effect::FillPairs => self.collect(2, 1, 1)?,
            Effect::Other => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// An instruction that works down to the mark, on groups of so many objects, and then takes and
    /// leaves objects below it.
    #[inline]
    fn collect(&mut self, group: usize, takes: usize, gives: usize) -> Result<(), Fault> {
        if !self.marks.close()?.is_multiple_of(group) {
            return Err(Fault::OddItems);
        }
        self.marks.replace(takes, gives)
    }

    fn other(&mut self, instruction: &Instruction<'_>) -> Result<ControlFlow<()>, Fault> {
        match (instruction.code, instruction.arg) {
            (op::STOP, _) => {
                self.marks.replace(1, 0)?;
                return Ok(ControlFlow::Break(()));
            }
            (op::PROTO, Arg::Int(number)) => self.layout.announce(instruction.offset, number),
            (op::FRAME, Arg::Index(len)) => self.layout.frame(instruction.offset, len),
            (op::POP, _) => match self.marks.above() {
                // The C unpickler deletes a mark where it finds no object.
                0 => self
                    .marks
                    .close()
                    .map(drop)
                    .map_err(|_| Fault::StackUnderflow)?,
                _ => self.marks.replace(1, 0)?,
            },
            (op::POP_MARK, _) => self.collect(1, 0, 0)?,
            (op::OBJ, _) => match self.marks.close()? {
                0 => return Err(Fault::StackUnderflow),
                _ => self.marks.push_object(),
            },
            (op::INST, _) => {
                self.layout.looks_up_names = true;
                self.collect(1, 0, 1)?;
            }
            (op::GLOBAL, _) => {
                self.layout.looks_up_names = true;
                self.marks.push_object();
            }
            (op::STACK_GLOBAL, _) => {
                self.layout.looks_up_names = true;
                self.marks.replace(2, 1)?;
            }
            (op::PUT | op::BINPUT | op::LONG_BINPUT, Arg::Index(index)) => {
                self.marks.replace(1, 1)?;
                self.memo.write(index)?;
            }
            (op::GET | op::BINGET | op::LONG_BINGET, Arg::Index(index)) => {
                self.layout.bind();
                self.memo.read(index)?;
                self.marks.push_object();
            }
            (op::PERSID | op::BINPERSID, _) => return Err(Fault::PersistentId),
            (op::EXT1 | op::EXT2 | op::EXT4, _) => return Err(Fault::Extension),
            (op::NEXT_BUFFER | op::READONLY_BUFFER, _) => return Err(Fault::OutOfBandBuffer),
            (unknown, _) => return Err(Fault::UnknownOpcode(unknown)),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self, end: usize) -> Program {
        let rest = match self.marks.above() == 0 && self.marks.is_bare() {
            true => Rest::Nothing,
            false => Rest::Something,
        };
        self.layout.program(end, rest)
    }
}

/// Whether anything is left below the object that a program ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    Something,
}

/// What a walk finds out about splicing, whoever walks.
#[derive(Debug)]
pub(super) struct Layout {
    frames: Frames,
    frames_end: usize,
    /// The protocol that the very first instruction names.
    protocol: Option<u8>,
    /// Whether something in the body depends on where the body stands.
    is_bound: bool,
    looks_up_names: bool,
}

impl Layout {
    pub(super) const fn new() -> Self {
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
    pub(super) fn announce(&mut self, offset: usize, number: i64) {
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
    pub(super) fn frame(&mut self, offset: usize, len: u64) {
        self.frames.push(offset);
        let end = usize::try_from(len).map_or(usize::MAX, |len| {
            offset.saturating_add(FRAME_HEADER_LEN).saturating_add(len)
        });
        self.frames_end = self.frames_end.max(end);
    }

    /// The memo was read. Indices count from the start of the pickle: they would point into a
    /// neighbour.
    #[inline]
    pub(super) const fn bind(&mut self) {
        self.is_bound = true;
    }

    /// What has been walked, up to behind its STOP.
    #[inline]
    pub(super) fn program(self, end: usize, rest: Rest) -> Program {
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
            protocol: self.protocol.unwrap_or(0),
            end,
            passage,
        }
    }
}
