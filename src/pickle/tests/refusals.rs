//! Programs written by hand, one for each rule. Each row states the scanner's result, the byte of
//! an error, and how the program travels. CPython loads each row too, which proves that the row is
//! right.

use pickle::{Fault, PickleError, Program, Tree, scan};

use crate::oracle;

#[derive(Debug, PartialEq)]
enum Outcome {
    Spliced,
    Nested,
    Refused(Fault, usize),
}
use Outcome::{Nested, Refused, Spliced};

/// The expected result of `pickle.loads` for a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum C {
    Loads,
    Fails,
}
use C::{Fails, Loads};

type Row = (&'static [u8], Outcome, C);

fn check(rows: Vec<Row>) {
    for (bytes, expected, c) in rows {
        let found = match scan(bytes) {
            Ok(program) if program.is_spliceable() => Spliced,
            Ok(_) => Nested,
            Err(error) => Refused(error.fault, error.offset),
        };
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
        let loads = oracle::load(bytes).expect("it exhausts nobody")[0] == "ok";
        assert_eq!(loads, c == Loads, "{}", bytes.escape_ascii());
        if let Refused(fault, offset) = expected {
            assert_eq!(
                Tree::read(bytes).err(),
                Some(PickleError { fault, offset }),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

#[test]
fn the_stack_and_its_marks() {
    check(vec![
        (b"\x80\x04N.", Spliced, Loads),
        (b"\x80\x04.", Refused(Fault::StackUnderflow, 2), Fails),
        (b"\x80\x04N0.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x040N.", Refused(Fault::StackUnderflow, 2), Fails),
        (b"\x80\x04NN.", Nested, Loads), // the result is the topmost object
        (b"\x80\x04(N.", Nested, Loads),
        (b"\x80\x04N(.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04N(0.", Spliced, Loads), // POP removes the mark if no object stands above it
        (b"\x80\x04N(N0.", Refused(Fault::StackUnderflow, 6), Fails),
        (b"\x80\x04N(NN1.", Spliced, Loads),
        (b"\x80\x04N1.", Refused(Fault::NoMark, 3), Fails),
        (b"\x80\x04N((t\x85t\x86.", Spliced, Loads),
        (b"\x80\x04N(\x85.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04(2t.", Refused(Fault::StackUnderflow, 3), Fails),
        (b"\x80\x04N2\x86.", Spliced, Loads),
        (b"\x80\x04N(a.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04](Ne.", Spliced, Loads),
        (b"\x80\x04(Ne.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04}(NNu.", Spliced, Loads),
        (b"\x80\x04}(NNNu.", Refused(Fault::OddItems, 7), Fails),
        (b"\x80\x04(NNNd.", Refused(Fault::OddItems, 6), Fails),
        (b"\x80\x04}NNs.", Spliced, Loads),
        (b"\x80\x04}Ns.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04(o.", Refused(Fault::StackUnderflow, 3), Fails),
        (b"\x80\x04\x8f(N\x90.", Spliced, Loads),
        (b"\x80\x04(N\x91.", Spliced, Loads),
        (b"\x80\x04K\x01(e.", Spliced, Loads), // nothing is appended, so the type is not checked
        (b"\x80\x04Nb.", Refused(Fault::StackUnderflow, 3), Fails),
        (b"\x80\x04NR.", Refused(Fault::StackUnderflow, 3), Fails),
        (b"\x80\x04NN\x92.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04N\x93.", Refused(Fault::StackUnderflow, 3), Fails),
    ]);
}

#[test]
fn the_memo() {
    check(vec![
        (b"\x80\x04N\x94.", Spliced, Loads),
        (b"\x80\x04\x94N.", Refused(Fault::StackUnderflow, 2), Fails),
        (b"\x80\x04N(\x94.", Refused(Fault::StackUnderflow, 4), Fails),
        (b"\x80\x04N\x94h\x00\x86.", Nested, Loads),
        (b"\x80\x04h\x00.", Refused(Fault::MemoMissing(0), 2), Fails),
        (
            b"\x80\x04N\x94h\x01.",
            Refused(Fault::MemoMissing(1), 4),
            Fails,
        ),
        // MEMOIZE uses the number of entries as its index, so it overwrites entry 1.
        (b"\x80\x04Nq\x01\x94h\x01\x86.", Nested, Loads),
        (
            b"\x80\x04Nq\x01\x94h\x00\x86.",
            Refused(Fault::MemoMissing(0), 6),
            Fails,
        ),
        (b"\x80\x04Nq\x01\x94q\x00\x94h\x02\x86.", Nested, Loads),
        (b"\x80\x04Nq\x02q\x00\x94h\x02\x86.", Nested, Loads),
        (
            b"\x80\x04Nq\x02q\x00\x94h\x01\x86.",
            Refused(Fault::MemoMissing(1), 8),
            Fails,
        ),
        (b"\x80\x04Nr\x08\x00\x00\x00.", Spliced, Loads),
        (
            b"\x80\x04Nr\x09\x00\x00\x00.",
            Refused(Fault::MemoIndexTooLarge(9), 3),
            Loads,
        ),
        (b"\x80\x04Np1\n0N.", Spliced, Loads),
        (b"\x80\x04Np1\ng1\n\x86.", Nested, Loads),
        (b"\x80\x04Np1_0\nj\x0a\x00\x00\x00\x86.", Nested, Loads),
        (b"\x80\x04Np-1\n.", Refused(Fault::BadNumber, 3), Fails),
        (b"\x80\x04Np\n.", Refused(Fault::BadNumber, 3), Fails),
        (b"\x80\x04Np1", Refused(Fault::Truncated, 3), Fails),
    ]);
}

#[test]
fn protocols_and_frames() {
    check(vec![
        (b"N.", Nested, Loads),
        (b"\x80\x02N.", Nested, Loads),
        (b"\x80\x03N.", Spliced, Loads),
        (b"\x80\x05N.", Spliced, Loads),
        (
            b"\x80\x06N.",
            Refused(Fault::UnsupportedProtocol(6), 0),
            Fails,
        ),
        (b"N\x80\x04.", Nested, Loads),
        (b"\x80\x04N\x80\x02.", Nested, Loads),
        // Protocol 3 takes a dot in a name literally; protocol 4 reads it as attribute access.
        (b"\x80\x03cshapes\nOuter\n.", Nested, Loads),
        (b"\x80\x04cshapes\nOuter.Inner\n.", Spliced, Loads),
        (b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.", Spliced, Loads),
        (
            b"\x80\x04\x95\x03\0\0\0\0\0\0\0N.",
            Refused(Fault::Truncated, 2),
            Fails,
        ),
        (b"\x80\x04\x95\x03\0\0\0\0\0\0\0N.!", Spliced, Loads), // a frame may extend beyond STOP
        (
            b"\x80\x04\x95\x0a\0\0\0\0\0\0\0\x95\x01\0\0\0\0\0\0\0N.",
            Spliced,
            Loads,
        ),
        (b"\x80\x04\x95\x01\0\0\0\0\0\0\0K\x05.", Spliced, Loads), // and may end inside an argument
        (
            b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
            Refused(Fault::Truncated, 2),
            Fails,
        ),
        (b"", Refused(Fault::Truncated, 0), Fails),
        (b"\x80", Refused(Fault::Truncated, 0), Fails),
        (b"\x80\x04N", Refused(Fault::Truncated, 3), Fails),
        (
            b"\x80\x04X\xff\xff\xff\xffab.",
            Refused(Fault::Truncated, 2),
            Fails,
        ),
        (
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffab.",
            Refused(Fault::Truncated, 2),
            Fails,
        ),
        (
            b"\x80\x04\x8b\xff\xff\xff\xff.",
            Refused(Fault::NegativeLength, 2),
            Fails,
        ),
        (b"\x80\x04\x00.", Refused(Fault::UnknownOpcode(0), 2), Fails),
    ]);
}

#[test]
fn references_to_another_process_are_refused() {
    check(vec![
        (b"Pid\n.", Refused(Fault::PersistentId, 0), Fails),
        (b"NQ.", Refused(Fault::PersistentId, 1), Fails),
        (b"\x82\x01.", Refused(Fault::Extension, 0), Fails),
        (b"\x83\x01\x00.", Refused(Fault::Extension, 0), Fails),
        (
            b"\x84\x01\x00\x00\x00.",
            Refused(Fault::Extension, 0),
            Fails,
        ),
        (b"\x80\x05\x97.", Refused(Fault::OutOfBandBuffer, 2), Fails),
        // The opcode has no effect on an object without a buffer, but no pickler writes that.
        (
            b"\x80\x05C\x01a\x98.",
            Refused(Fault::OutOfBandBuffer, 5),
            Loads,
        ),
    ]);
}

fn number(bytes: &'static [u8], c: C) -> Row {
    (bytes, Refused(Fault::BadNumber, 0), c)
}

fn text(bytes: &'static [u8]) -> Row {
    (bytes, Refused(Fault::BadText, 0), Fails)
}

#[test]
fn lines_of_text() {
    let good: [&'static [u8]; 19] = [
        b"I1\n.",
        b"I01\n.",
        b"I00\n.",
        b"I 0x_1f \n.",
        b"I-99999999999999999999\n.",
        b"I0_0\n.",
        b"L1L\n.",
        b"L1\n.",
        b"L0b1L\n.",
        b"F1\n.",
        b"F-inf\n.",
        b"F.5e3\n.",
        b"S'a\"b'\n.",
        b"S'\\x41\\101\\q\\''\n.",
        b"V\\\\u12\xff\n.",
        b"V\\ud800\n.",
        b"V\n.",
        b"I5\r\n.",
        b"T\x01\x00\x00\x00a.",
    ];
    check(
        good.into_iter()
            .map(|bytes| (bytes, Nested, Loads))
            .collect(),
    );
}

#[test]
fn lines_of_text_that_python_does_not_read() {
    check(vec![
        number(b"I\n.", Fails),
        number(b"I010\n.", Loads), // the C unpickler reads eight, the Python unpickler fails
        number(b"I1\0\n.", Loads), // the C unpickler stops reading at the NUL
        number(b"I1__0\n.", Fails),
        number(b"I_1\n.", Fails),
        number(b"I1_\n.", Fails),
        number(b"I- 1\n.", Fails),
        number(b"LL\n.", Fails),
        number(b"L1L \n.", Fails),
        number(b"F1e999\n.", Fails),
        number(b"F 1\n.", Fails),
        number(b"F1_0\n.", Fails),
        number(b"F.\n.", Fails),
        text(b"S'a\n."),
        text(b"Sa\n."),
        text(b"S'\n."),
        text(b"S'\\x4'\n."),
        text(b"S'a\\'\n."),
        text(b"S'\\xff'\n."),
        text(b"S'\xff'\n."),
        text(b"U\x01\xff."),
        text(b"V\\u12\n."),
        text(b"V\\U00110000\n."),
    ]);
}

#[test]
fn names_utf8_and_digits() {
    check(vec![
        text(b"c\nname\n."),
        text(b"c\xff\nname\n."),
        text(b"\x8c\x01\xff."),
        text(b"\x8c\x02\xed\xa0."),
        (b"\x8c\x06\xed\xa0\x80\xed\xb0\x80.", Nested, Loads),
        (b"(icollections\nOrderedDict\n.", Nested, Loads),
        (
            b"(icoll\xc3\xa9\nname\n.",
            Refused(Fault::BadText, 1),
            Fails,
        ),
        (
            b"ccollections\nOrderedDict",
            Refused(Fault::Truncated, 0),
            Fails,
        ),
    ]);
    for (digits, loads) in [(4300, true), (4301, false)] {
        let bytes = ["L".to_owned(), "1".repeat(digits), "L\n.".to_owned()].concat();
        assert_eq!(scan(bytes.as_bytes()).is_ok(), loads, "{digits} digits");
        assert_eq!(
            oracle::load(bytes.as_bytes()).unwrap()[0] == "ok",
            loads,
            "{digits} digits"
        );
    }
}

#[test]
fn a_program_ends_at_its_stop() {
    let bytes = b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x05.tailN.";
    let program = scan(bytes).expect("well formed");
    assert_eq!(program.end(), 14);
    assert_eq!(appended(&program, bytes), b"K\x05");
    // A nested program includes as much of the tail as its frame claims.
    let bytes = b"\x80\x04\x95\x07\0\0\0\0\0\0\0K\x05N0).tailN.";
    let program = scan(bytes).expect("well formed");
    assert_eq!(program.end(), 17);
    let appended = appended(&program, bytes);
    assert!(
        appended.ends_with(b"K\x05N0).t\x85R"),
        "{}",
        appended.escape_ascii()
    );
}

fn appended(program: &Program, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    program.append_to(bytes, &mut out);
    assert_eq!(out.len(), program.appended_len());
    out
}
