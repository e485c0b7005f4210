//! Walks a pickle without building anything.
//!
//! [`scan`] simulates the stack, the marks and the memo exactly as the C unpickler handles them. A
//! pickle that it accepts cannot fail to load for a structural reason. Loading can still fail
//! because of the objects themselves: imports, calls, types. Parsl's own interchanges detect such
//! failures by loading every task; here the worker that runs the task detects them. Anything that
//! Python tolerates is accepted here too, such as a second object below the result, or frames that
//! do not match.

use std::ops::ControlFlow;

use crate::error::{Fault, PickleError};
use crate::instruction::{Arg, Instruction, Instructions};
use crate::marks::Marks;
use crate::memo::Memo;
use crate::op;
use crate::opcode_table::{Effect, Form, row};
use crate::program::{Layout, Program, Rest};

/// Walks a pickle once, up to STOP. Bytes after STOP are ignored, as in `pickle.loads`.
///
/// # Errors
/// Every error that makes `pickle.loads` fail before it uses any object. In addition
/// [`Fault::MemoIndexTooLarge`], and [`Fault::PersistentId`], [`Fault::Extension`] and
/// [`Fault::OutOfBandBuffer`] for objects that cannot be restored on another machine.
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

/// A walk over a pickle that is still arriving. Each call continues where the bytes ended before,
/// so the pickle is walked only once, whatever the number of pieces.
#[derive(Debug)]
pub struct Scanner {
    walk: Walk,
    /// Offset of the first incomplete instruction.
    offset: usize,
    /// Number of bytes already searched, without success, for the newline of the incomplete
    /// instruction.
    searched: Option<usize>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Creates a scanner at the start of a pickle.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // The length of the pickle is not known yet, so memo indices are unlimited here. The
            // reader of the complete pickle checks them.
            walk: Walk::new(usize::MAX),
            offset: 0,
            searched: None,
        }
    }

    /// Continues the walk and returns whether STOP has been reached. `bytes` holds all bytes that
    /// have arrived: those of the last call, followed by new ones.
    ///
    /// # Errors
    /// Those of [`scan`], except [`Fault::Truncated`] and [`Fault::MemoIndexTooLarge`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<bool, PickleError> {
        if let Some(searched) = self.searched {
            let fresh = bytes.get(searched..).unwrap_or_default();
            if !fresh.contains(&b'\n') {
                self.searched = Some(bytes.len());
                return Ok(false);
            }
        }
        let mut instructions = Instructions::at(self.offset, bytes);
        loop {
            self.offset = instructions.offset();
            match self.walk.step(&mut instructions) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(true),
                // An incomplete instruction has not changed the walk's state.
                Err(Fault::Truncated) => {
                    let code = bytes.get(self.offset);
                    let is_line = code.is_some_and(|code| matches!(row(*code).form, Form::Line));
                    self.searched = is_line.then_some(bytes.len());
                    return Ok(false);
                }
                Err(fault) => return Err(fault.at(self.offset)),
            }
        }
    }
}

/// The state of the simulated machine, and the facts about splicing found so far.
#[derive(Debug)]
struct Walk {
    marks: Marks,
    memo: Memo,
    layout: Layout,
}

impl Walk {
    const fn new(len: usize) -> Self {
        Self {
            marks: Marks::new(),
            memo: Memo::new(len),
            layout: Layout::new(),
        }
    }

    /// Executes one instruction, and returns `Break` at STOP.
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

    /// Executes an instruction that works down to the topmost mark. The objects above the mark must
    /// come in groups of `group`. Below the mark, `takes` objects are removed and `gives` are
    /// added.
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
                // If no object stands above the topmost mark, the C unpickler removes the mark.
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
                self.layout.look_up();
                self.collect(1, 0, 1)?;
            }
            (op::GLOBAL, _) => {
                self.layout.look_up();
                self.marks.push_object();
            }
            (op::STACK_GLOBAL, _) => {
                self.layout.look_up();
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
