//! The instruction set as one table: the form of each opcode's argument, and the effect on the
//! stack.
//!
//! The iterator over instructions uses the form, and the scanner uses the effect. For the frequent
//! instructions each of them needs only one look-up.

use crate::op;

/// The form of the argument that follows an opcode.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// No argument.
    Bare,
    /// An int of one byte.
    Int1,
    /// An int of two bytes.
    Int2,
    /// A signed int of four bytes.
    Int4,
    /// A length of one byte, and an int in two's complement.
    Long1,
    /// A signed length of four bytes, and an int in two's complement.
    Long4,
    /// A float of eight bytes.
    Float,
    /// A length of one byte, and UTF-8.
    Text1,
    /// A length of four bytes, and UTF-8.
    Text4,
    /// A length of eight bytes, and UTF-8.
    Text8,
    /// A length of one byte, and ASCII.
    Ascii1,
    /// A length of four bytes, and ASCII.
    Ascii4,
    /// A length of one byte, and bytes.
    Bytes1,
    /// A length of four bytes, and bytes.
    Bytes4,
    /// A length of eight bytes, and bytes.
    Bytes8,
    /// An index of one byte.
    Index1,
    /// An index of two bytes.
    Index2,
    /// An index of four bytes.
    Index4,
    /// A protocol number.
    Proto,
    /// The length of a frame.
    Frame,
    /// One or two lines of text.
    Line,
    /// The opcode does not exist.
    Unknown,
}

/// The effect of an instruction on the stack.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Removes `takes` objects and adds `gives` objects.
    Replace { takes: u8, gives: u8 },
    /// Writes the next memo entry.
    Memoize,
    /// Sets a mark.
    Open,
    /// Makes one object of everything above the topmost mark.
    Collect,
    /// Makes one object of everything above the topmost mark, which must be pairs.
    CollectPairs,
    /// Puts everything above the topmost mark into the object below the mark.
    Fill,
    /// Puts everything above the topmost mark, which must be pairs, into the object below the mark.
    FillPairs,
    /// Any other effect. The scanner handles the opcode individually.
    Other,
}

/// The properties of one opcode.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) form: Form,
    pub(crate) effect: Effect,
}

/// Returns the row of an opcode.
#[inline]
pub(crate) const fn row(code: u8) -> Row {
    TABLE[code as usize]
}

const TABLE: [Row; 256] = {
    let unknown = Row {
        form: Form::Unknown,
        effect: Effect::Other,
    };
    let mut table = [unknown; 256];
    let mut next = 0;
    while next < ROWS.len() {
        let (code, form, effect) = ROWS[next];
        table[code as usize] = Row { form, effect };
        next += 1;
    }
    table
};

const PUSH: Effect = replace(0, 1);

const fn replace(takes: u8, gives: u8) -> Effect {
    Effect::Replace { takes, gives }
}

const ROWS: &[(u8, Form, Effect)] = &[
    (op::MARK, Form::Bare, Effect::Open),
    (op::STOP, Form::Bare, Effect::Other),
    (op::POP, Form::Bare, Effect::Other),
    (op::POP_MARK, Form::Bare, Effect::Other),
    (op::DUP, Form::Bare, replace(1, 2)),
    (op::FLOAT, Form::Line, PUSH),
    (op::INT, Form::Line, PUSH),
    (op::BININT, Form::Int4, PUSH),
    (op::BININT1, Form::Int1, PUSH),
    (op::LONG, Form::Line, PUSH),
    (op::BININT2, Form::Int2, PUSH),
    (op::NONE, Form::Bare, PUSH),
    (op::PERSID, Form::Line, Effect::Other),
    (op::BINPERSID, Form::Bare, Effect::Other),
    (op::REDUCE, Form::Bare, replace(2, 1)),
    (op::STRING, Form::Line, PUSH),
    (op::BINSTRING, Form::Ascii4, PUSH),
    (op::SHORT_BINSTRING, Form::Ascii1, PUSH),
    (op::UNICODE, Form::Line, PUSH),
    (op::BINUNICODE, Form::Text4, PUSH),
    (op::APPEND, Form::Bare, replace(2, 1)),
    (op::BUILD, Form::Bare, replace(2, 1)),
    (op::GLOBAL, Form::Line, Effect::Other),
    (op::DICT, Form::Bare, Effect::CollectPairs),
    (op::EMPTY_DICT, Form::Bare, PUSH),
    (op::APPENDS, Form::Bare, Effect::Fill),
    (op::GET, Form::Line, Effect::Other),
    (op::BINGET, Form::Index1, Effect::Other),
    (op::INST, Form::Line, Effect::Other),
    (op::LONG_BINGET, Form::Index4, Effect::Other),
    (op::LIST, Form::Bare, Effect::Collect),
    (op::EMPTY_LIST, Form::Bare, PUSH),
    (op::OBJ, Form::Bare, Effect::Other),
    (op::PUT, Form::Line, Effect::Other),
    (op::BINPUT, Form::Index1, Effect::Other),
    (op::LONG_BINPUT, Form::Index4, Effect::Other),
    (op::SETITEM, Form::Bare, replace(3, 1)),
    (op::TUPLE, Form::Bare, Effect::Collect),
    (op::EMPTY_TUPLE, Form::Bare, PUSH),
    (op::SETITEMS, Form::Bare, Effect::FillPairs),
    (op::BINFLOAT, Form::Float, PUSH),
    (op::PROTO, Form::Proto, Effect::Other),
    (op::NEWOBJ, Form::Bare, replace(2, 1)),
    (op::EXT1, Form::Index1, Effect::Other),
    (op::EXT2, Form::Index2, Effect::Other),
    (op::EXT4, Form::Index4, Effect::Other),
    (op::TUPLE1, Form::Bare, replace(1, 1)),
    (op::TUPLE2, Form::Bare, replace(2, 1)),
    (op::TUPLE3, Form::Bare, replace(3, 1)),
    (op::NEWTRUE, Form::Bare, PUSH),
    (op::NEWFALSE, Form::Bare, PUSH),
    (op::LONG1, Form::Long1, PUSH),
    (op::LONG4, Form::Long4, PUSH),
    (op::BINBYTES, Form::Bytes4, PUSH),
    (op::SHORT_BINBYTES, Form::Bytes1, PUSH),
    (op::SHORT_BINUNICODE, Form::Text1, PUSH),
    (op::BINUNICODE8, Form::Text8, PUSH),
    (op::BINBYTES8, Form::Bytes8, PUSH),
    (op::EMPTY_SET, Form::Bare, PUSH),
    (op::ADDITEMS, Form::Bare, Effect::Fill),
    (op::FROZENSET, Form::Bare, Effect::Collect),
    (op::NEWOBJ_EX, Form::Bare, replace(3, 1)),
    (op::STACK_GLOBAL, Form::Bare, Effect::Other),
    (op::MEMOIZE, Form::Bare, Effect::Memoize),
    (op::FRAME, Form::Frame, Effect::Other),
    (op::BYTEARRAY8, Form::Bytes8, PUSH),
    (op::NEXT_BUFFER, Form::Bare, Effect::Other),
    (op::READONLY_BUFFER, Form::Bare, Effect::Other),
];
