//! Random pickle programs, generated instruction by instruction.
//!
//! A program is generated from a list of numbers. Each number selects an instruction that fits the
//! probable content of the stack; a few per cent of the instructions need not fit. So most programs
//! load, by unusual routes, and the others fail in many different places. Fewer and smaller numbers
//! make a simpler program, so that proptest can find the smallest program that shows a bug.

use pickle::op;
use proptest::prelude::*;

/// Generates random programs, most of which are well formed.
pub(crate) fn programs() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        6 => Just(vec![op::PROTO, 4]),
        2 => Just(vec![op::PROTO, 5]),
        2 => Just(vec![op::PROTO, 3]),
        1 => (0_u8..=2).prop_map(|protocol| vec![op::PROTO, protocol]),
        1 => Just(vec![]),
    ];
    let steps = prop::collection::vec(any::<u32>(), 1..40);
    let ending = 0_u8..40;
    let tail = prop_oneof![9 => Just(0_usize), 1 => 1..30_usize];
    (header, steps, ending, tail).prop_map(|(header, steps, ending, tail)| {
        let mut program = Program::new(header);
        for step in steps {
            program.step(step);
        }
        program.finish(ending, tail)
    })
}

/// An edit that may leave a pickle well formed or malformed.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Set(u16, u8),
    Insert(u16, u8),
    Remove(u16),
    Repeat(u16, u8),
    Cut(u16),
}

/// Generates one edit or a few.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let opcode = prop::sample::select(OPCODES);
    let byte = prop_oneof![3 => opcode, 1 => any::<u8>()];
    let edit = (any::<u16>(), byte, 0_u8..16).prop_map(|(at, byte, kind)| match kind {
        0..5 => Edit::Set(at, byte),
        5..10 => Edit::Insert(at, byte),
        10..13 => Edit::Remove(at),
        13..15 => Edit::Repeat(at, byte % 20),
        _ => Edit::Cut(at),
    });
    prop::collection::vec(edit, 1..3)
}

/// Applies the edits, each at a position relative to the length.
pub(crate) fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: u16| usize::from(at) % bytes.len().max(1);
        match *edit {
            _ if bytes.is_empty() => {}
            Edit::Set(at, byte) => {
                let at = place(at);
                bytes[at] = byte;
            }
            Edit::Insert(at, byte) => bytes.insert(place(at), byte),
            Edit::Remove(at) => {
                bytes.remove(place(at));
            }
            Edit::Repeat(at, len) => {
                let from = place(at);
                let to = (from + usize::from(len)).min(bytes.len());
                let piece = bytes[from..to].to_vec();
                bytes.splice(to..to, piece);
            }
            Edit::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

/// The opcodes that mutations insert. Opcodes with lines of text are mostly missing, and so are the
/// EXT opcodes, whose registry is empty.
const OPCODES: &[u8] = &[
    op::MARK,
    op::STOP,
    op::POP,
    op::POP_MARK,
    op::DUP,
    op::BININT1,
    op::NONE,
    op::PERSID,
    op::BINPERSID,
    op::REDUCE,
    op::APPEND,
    op::BUILD,
    op::DICT,
    op::EMPTY_DICT,
    op::APPENDS,
    op::BINGET,
    op::LIST,
    op::EMPTY_LIST,
    op::OBJ,
    op::BINPUT,
    op::SETITEM,
    op::TUPLE,
    op::EMPTY_TUPLE,
    op::SETITEMS,
    op::PROTO,
    op::NEWOBJ,
    op::TUPLE1,
    op::TUPLE2,
    op::TUPLE3,
    op::NEWTRUE,
    op::EMPTY_SET,
    op::ADDITEMS,
    op::FROZENSET,
    op::NEWOBJ_EX,
    op::STACK_GLOBAL,
    op::MEMOIZE,
    op::FRAME,
    op::SHORT_BINUNICODE,
    op::SHORT_BINBYTES,
    op::NEXT_BUFFER,
    op::READONLY_BUFFER,
];

/// The probable kind of an object on the stack.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Mark,
    Atom,
    Text,
    List,
    Dict,
    Set,
    Tuple,
    Class,
    Instance,
}

const GLOBALS: &[(&str, &str)] = &[
    ("shapes", "Made"),
    ("shapes", "Plain"),
    ("shapes", "Stateful"),
    ("shapes", "ListLike"),
    ("shapes", "DictLike"),
    ("shapes", "Outer.Inner"),
    ("shapes", "gather"),
    ("builtins", "set"),
    ("__builtin__", "frozenset"),
    ("collections", "OrderedDict"),
    ("collections", "deque"),
    ("no such module", "name"),
];

/// Lines of protocol 0 that Python reads.
const LINES: &[&str] = &[
    "I1\n",
    "I00\n",
    "I01\n",
    "I-7\n",
    "I 12 \n",
    "I0x1f\n",
    "I1_000\n",
    "I99999999999999999999\n",
    "I+1\n",
    "I-0\n",
    "L5L\n",
    "L-170141183460469231731687303715884105728L\n",
    "L0b11\n",
    "L0\n",
    "L18446744073709551616\n",
    "F1.5\n",
    "F-inf\n",
    "Fnan\n",
    "F5.\n",
    "F.5e-3\n",
    "S'a b'\n",
    "S\"it's\"\n",
    "S'\\x41\\n\\101\\'\\q'\n",
    "S''\n",
    "Vplain\n",
    "V\\u20ac\\\\u\n",
    "V\\ud800\n",
    "V\\U0001f600\n",
    "V\u{e9}\n",
    "V\n",
];

/// Values that Python refuses, or that only one of its unpicklers reads.
const BAD_VALUES: &[&[u8]] = &[
    b"I010\n",
    b"I\n",
    b"I1\0\n",
    b"L1LL\n",
    b"L1L \n",
    b"F1e999\n",
    b"F 1\n",
    b"F1_0\n",
    b"S'\\'\n",
    b"S'\\xff'\n",
    b"S'abc\n",
    b"V\\u12\n",
    b"V\\U00110000\n",
    b"U\x01\xff",
    b"\x8c\x02\xc3\x28",
    b"\x8c\x02\xed\xa0",
    b"\x8b\xff\xff\xff\xff",
    b"X\xff\xff\xff\xffabc",
];

struct Program {
    out: Vec<u8>,
    stack: Vec<Slot>,
    memoized: u32,
    memo: Vec<Slot>,
    /// FRAME headers whose length is filled in at the end, with a number that selects the length.
    frames: Vec<(usize, u32)>,
}

impl Program {
    fn new(header: Vec<u8>) -> Self {
        Self {
            out: header,
            stack: Vec::new(),
            memoized: 0,
            memo: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Appends one instruction, or a few that belong together.
    fn step(&mut self, number: u32) {
        let (choice, pick) = (number % 64, number / 64);
        match choice {
            0..14 => self.value(pick),
            14..20 => self.container(pick),
            20..26 => self.put_slot(Slot::Mark, &[op::MARK]),
            26..31 => self.memo_write(pick),
            31..35 => self.memo_read(pick),
            35..39 => self.shuffle(pick),
            39..46 => self.collect(pick),
            46..54 => self.fill(pick),
            54..60 => self.class_work(pick),
            60..62 => {
                self.frames.push((self.out.len(), pick));
                self.out.push(op::FRAME);
                self.out.extend([0; 8]);
            }
            62 if !pick.is_multiple_of(3) => {}
            62 => self.out.push(OPCODES[pick as usize % OPCODES.len()]),
            _ => self.odd(pick / 3, pick.is_multiple_of(3)),
        }
    }

    fn finish(mut self, ending: u8, tail: usize) -> Vec<u8> {
        if ending > 0 {
            if self.stack.is_empty() {
                self.put_slot(Slot::Atom, &[op::NONE]);
            }
            if self.stack.last() == Some(&Slot::Mark) {
                self.put_slot(Slot::Atom, &[op::NONE]);
            }
        }
        if ending > 4 {
            while self.stack.len() > 1 {
                let code = match self.stack.contains(&Slot::Mark) {
                    true => op::TUPLE,
                    false => op::TUPLE2,
                };
                self.take(code);
                self.put_slot(Slot::Tuple, &[code]);
            }
        }
        self.out.push(op::STOP);
        self.out.extend(std::iter::repeat_n(b'j', tail));
        for (at, pick) in self.frames {
            let left = self.out.len() - at - 9;
            let len = match pick % 12 {
                0 => left + 1 + pick as usize % 5,
                1 => 0,
                2 => left - tail,
                _ => pick as usize % (left + 1),
            };
            self.out[at + 1..at + 9].copy_from_slice(&(len as u64).to_le_bytes());
        }
        self.out
    }

    fn put_slot(&mut self, slot: Slot, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.stack.push(slot);
    }

    /// Removes from the modelled stack what the instruction takes, as far as it is present.
    fn take(&mut self, code: u8) -> Vec<Slot> {
        let count = match code {
            op::TUPLE1 | op::POP => 1,
            op::TUPLE2 | op::APPEND | op::REDUCE | op::NEWOBJ | op::BUILD => 2,
            op::TUPLE3 | op::SETITEM | op::NEWOBJ_EX => 3,
            _ => {
                let mark = self.stack.iter().rposition(|slot| *slot == Slot::Mark);
                let taken = self.stack.split_off(mark.unwrap_or(0));
                return taken.into_iter().skip(1).collect();
            }
        };
        self.stack.split_off(self.stack.len().saturating_sub(count))
    }

    fn value(&mut self, pick: u32) {
        let bytes: &[u8] = match pick % 24 {
            0 => b"N",
            1 => b"\x88",
            2 => b"\x89",
            3 => b"K\x07",
            4 => b"M\x01\x02",
            5 => b"J\xff\xff\xff\xff",
            6 => b"\x8a\x00",
            7 => b"\x8a\x01\xfe",
            8 => b"\x8a\x03\x05\x00\x00",
            9 => b"\x8b\x0a\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80",
            10 => b"G\x3f\xf8\x00\x00\x00\x00\x00\x00",
            11 => b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
            12 => b"C\x02ab",
            13 => b"B\x01\x00\x00\x00z",
            14 => b"\x8e\x01\x00\x00\x00\x00\x00\x00\x00y",
            15 => b"U\x02ab",
            16 => b"T\x02\x00\x00\x00ab",
            17 if (pick / 24).is_multiple_of(8) => {
                BAD_VALUES[(pick / 192) as usize % BAD_VALUES.len()]
            }
            17..22 => {
                let line = LINES[(pick / 24) as usize % LINES.len()];
                return self.put_slot(Slot::Atom, line.as_bytes());
            }
            _ => {
                let texts: [&[u8]; 5] = [
                    b"\x8c\x01a",
                    b"\x8c\x01b",
                    b"\x8c\x03\xed\xa0\x80",
                    b"X\x02\x00\x00\x00\xc3\xa9",
                    b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00c",
                ];
                return self.put_slot(Slot::Text, texts[(pick / 24) as usize % 5]);
            }
        };
        self.put_slot(Slot::Atom, bytes);
    }

    fn container(&mut self, pick: u32) {
        match pick % 6 {
            0 | 1 => self.put_slot(Slot::List, b"]"),
            2 => self.put_slot(Slot::Dict, b"}"),
            3 => self.put_slot(Slot::Set, b"\x8f"),
            4 => self.put_slot(Slot::Tuple, b")"),
            _ => self.put_slot(Slot::List, b"\x96\x01\x00\x00\x00\x00\x00\x00\x00w"),
        }
    }

    fn memo_write(&mut self, pick: u32) {
        let Some(
            slot @ (Slot::Atom
            | Slot::Text
            | Slot::List
            | Slot::Dict
            | Slot::Set
            | Slot::Tuple
            | Slot::Class
            | Slot::Instance),
        ) = self.stack.last().copied()
        else {
            return;
        };
        let index = (pick / 8) % 5;
        match pick % 8 {
            0 => self.out.extend([op::BINPUT, index.to_le_bytes()[0]]),
            1 => {
                self.out.push(op::LONG_BINPUT);
                self.out.extend(index.to_le_bytes());
            }
            2 => self.out.extend(format!("p{index}\n").into_bytes()),
            _ => {
                self.out.push(op::MEMOIZE);
                self.memo.resize(self.memoized as usize, Slot::Atom);
                self.memo.push(slot);
                self.memoized += 1;
                return;
            }
        }
        if self.memo.len() <= index as usize {
            self.memo.resize(index as usize + 1, slot);
        }
        self.memo[index as usize] = slot;
    }

    fn memo_read(&mut self, pick: u32) {
        if self.memo.is_empty() {
            return;
        }
        let index = (pick / 8) as usize % self.memo.len();
        let slot = self.memo[index];
        let bytes = match pick % 8 {
            0 => [
                &[op::LONG_BINGET][..],
                &u32::try_from(index).expect("few").to_le_bytes(),
            ]
            .concat(),
            1 => format!("g{index}\n").into_bytes(),
            _ => vec![op::BINGET, u8::try_from(index).expect("few")],
        };
        self.put_slot(slot, &bytes);
    }

    fn shuffle(&mut self, pick: u32) {
        match (pick % 4, self.stack.last().copied()) {
            (_, None) => {}
            (0, Some(slot)) if slot != Slot::Mark => self.put_slot(slot, &[op::DUP]),
            (1, _) if self.stack.contains(&Slot::Mark) => {
                self.take(op::POP_MARK);
                self.out.push(op::POP_MARK);
            }
            _ => {
                self.stack.pop();
                self.out.push(op::POP);
            }
        }
    }

    fn above(&self) -> usize {
        self.stack
            .iter()
            .rev()
            .take_while(|slot| **slot != Slot::Mark)
            .count()
    }

    fn collect(&mut self, pick: u32) {
        let has_mark = self.stack.contains(&Slot::Mark);
        let (code, slot) = match pick % 8 {
            0 if self.above() >= 1 => (op::TUPLE1, Slot::Tuple),
            1 if self.above() >= 2 => (op::TUPLE2, Slot::Tuple),
            2 if self.above() >= 3 => (op::TUPLE3, Slot::Tuple),
            3 | 4 if has_mark => (op::TUPLE, Slot::Tuple),
            5 if has_mark => (op::LIST, Slot::List),
            6 if has_mark && self.above().is_multiple_of(2) => (op::DICT, Slot::Dict),
            7 if has_mark => (op::FROZENSET, Slot::Atom),
            _ => return,
        };
        self.take(code);
        self.put_slot(slot, &[code]);
    }

    /// Adds objects to the topmost object, or to the container below the topmost mark.
    fn fill(&mut self, pick: u32) {
        match (self.stack.last().copied(), pick % 5) {
            (Some(Slot::List), 0..3) => self.out.extend_from_slice(b"K\x05a"),
            (Some(Slot::List), _) => self.out.extend_from_slice(b"(K\x05Ne"),
            (Some(Slot::Dict), 0..3) => self.out.extend_from_slice(b"K\x01Ns"),
            (Some(Slot::Dict), _) => self.out.extend_from_slice(b"(K\x01NK\x02\x88u"),
            (Some(Slot::Set), _) => self.out.extend_from_slice(b"(K\x01K\x02\x90"),
            (Some(Slot::Instance), 0) => self.out.extend_from_slice(b"}\x8c\x01aK\x01sb"),
            (Some(Slot::Instance), 1) => self.out.extend_from_slice(b"K\x05a"),
            (Some(Slot::Instance), 2) => self.out.extend_from_slice(b"K\x01Ns"),
            _ => self.fill_to_mark(),
        }
    }

    fn fill_to_mark(&mut self) {
        let above = self.above();
        let Some(mark) = self.stack.len().checked_sub(above + 1) else {
            return;
        };
        let below = mark.checked_sub(1).map(|at| self.stack[at]);
        let code = match below {
            Some(Slot::List) => op::APPENDS,
            Some(Slot::Set) => op::ADDITEMS,
            Some(Slot::Dict) if above.is_multiple_of(2) => op::SETITEMS,
            Some(Slot::Instance) if above.is_multiple_of(2) => op::SETITEMS,
            Some(Slot::Atom) if above == 0 => op::APPENDS,
            _ => return,
        };
        self.take(code);
        self.out.push(code);
    }

    fn class_work(&mut self, pick: u32) {
        let (module, name) = match pick % 8 {
            3 => ("shapes", "Made"),
            2 | 4 => ("shapes", if pick & 8 == 0 { "Made" } else { "gather" }),
            _ => GLOBALS[(pick / 8) as usize % GLOBALS.len()],
        };
        let by_stack = || {
            let mut bytes = vec![op::SHORT_BINUNICODE, module.len().to_le_bytes()[0]];
            bytes.extend_from_slice(module.as_bytes());
            bytes.extend([op::SHORT_BINUNICODE, name.len().to_le_bytes()[0]]);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(op::STACK_GLOBAL);
            bytes
        };
        match (pick % 8, self.stack.last().copied()) {
            (_, Some(Slot::Class)) => self.put_slot(Slot::Tuple, b")"),
            (_, Some(Slot::Tuple)) if self.stack.iter().rev().nth(1) == Some(&Slot::Class) => {
                let code = if pick.is_multiple_of(2) {
                    op::REDUCE
                } else {
                    op::NEWOBJ
                };
                self.take(code);
                self.put_slot(Slot::Instance, &[code]);
            }
            (0, _) => self.put_slot(Slot::Class, format!("c{module}\n{name}\n").as_bytes()),
            (1, _) if self.stack.contains(&Slot::Mark) => {
                self.take(op::INST);
                self.put_slot(Slot::Instance, format!("i{module}\n{name}\n").as_bytes());
            }
            (2, _) => {
                let bytes = [b"(", &by_stack()[..], b"K\x01o"].concat();
                self.put_slot(Slot::Instance, &bytes);
            }
            (3, _) => {
                let bytes = [&by_stack()[..], b")}\x8c\x01kK\x01s\x92"].concat();
                self.put_slot(Slot::Instance, &bytes);
            }
            (4, _) => {
                let bytes = [&by_stack()[..], b"K\x01\x85R"].concat();
                self.put_slot(Slot::Instance, &bytes);
            }
            (5, _) => self.put_slot(Slot::Instance, &[&by_stack()[..], b")\x81"].concat()),
            _ => self.put_slot(Slot::Class, &by_stack()),
        }
    }

    /// Appends instructions that the codec refuses or handles specially.
    fn odd(&mut self, pick: u32, is_fatal: bool) {
        let bytes: &[u8] = match if is_fatal { pick % 12 } else { pick % 2 } {
            0 => &[op::PROTO, 4],
            1 => &[op::PROTO, 2],
            2 => &[op::PROTO, 9],
            3 => &[op::EXT1, 1],
            4 => b"Pid\n",
            5 => &[op::BINPERSID],
            6 => &[op::NEXT_BUFFER],
            7 => &[op::READONLY_BUFFER],
            8 => &[op::LONG_BINPUT, 0xff, 0xff, 0, 0],
            9 => b"p 7 \n",
            10 => &[op::BINGET, 200],
            _ => &[0],
        };
        self.out.extend_from_slice(bytes);
    }
}
