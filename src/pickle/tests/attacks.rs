//! Hostile bytes: their cost in memory and in time must be at most a multiple of their number, and
//! none of them may end the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use pickle::{Encoder, Fault, Tree, scan};

/// An allocator that counts the memory of each thread separately, so that parallel tests do not
/// count each other's memory.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending no longer has counters.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
        CALLS.with(|calls| calls.set(calls.get() + usize::from(change > 0)));
    });
}

fn signed(size: usize) -> isize {
    size.try_into().unwrap_or(isize::MAX)
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(signed(size) - signed(layout.size()));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The peak memory of a piece of work, its number of allocations, and its CPU time.
struct Cost {
    bytes: usize,
    calls: usize,
    time: Duration,
}

fn cost<T>(work: impl FnOnce() -> T) -> Cost {
    let before = HELD.get();
    PEAK.set(before);
    CALLS.set(0);
    let start = cpu_time();
    drop(work());
    let time = cpu_time() - start;
    Cost {
        bytes: (PEAK.get() - before).unsigned_abs(),
        calls: CALLS.get(),
        time,
    }
}

/// Returns the CPU time of this thread, which does not depend on the load of the machine.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    Duration::from(time)
}

/// Maximum number of bytes held for each received byte. Scanning needs a bit of the memo or a byte
/// of the marks, and twice that while a table grows. A tree needs a node and its place on the
/// stack.
const SCAN_FACTOR: usize = 2;
const TREE_FACTOR: usize = 64;
/// Maximum memory of a tree, whatever the length of the pickle: decoding stops at a maximum number
/// of instructions.
const TREE_BYTES_MAX: usize = 32 << 20;

/// Generous limits for a debug build, also under emulation: one for any pickle, one for each of its
/// bytes. Quadratic work on 4 MB would take hours.
const TIME: Duration = Duration::from_secs(20);
const TIME_PER_BYTE: Duration = Duration::from_micros(5);

#[expect(
    clippy::print_stdout,
    reason = "shown if the test fails, and by --nocapture"
)]
fn bounded(name: &str, bytes: &[u8]) {
    let scanning = cost(|| scan(bytes));
    let reading = cost(|| Tree::read(bytes));
    let len = bytes.len();
    println!(
        "{name:24} {len:9} bytes: scan {:5.2} x, {:?}; tree {:6.2} x, {:?}",
        scanning.bytes as f64 / len as f64,
        scanning.time,
        reading.bytes as f64 / len as f64,
        reading.time,
    );
    assert!(
        scanning.bytes <= SCAN_FACTOR * len + 1024,
        "{name}: scan held {}",
        scanning.bytes
    );
    assert!(
        reading.bytes <= (TREE_FACTOR * len + 1024).min(TREE_BYTES_MAX),
        "{name}: tree held {}",
        reading.bytes
    );
    assert!(
        scanning.time + reading.time
            < TIME + TIME_PER_BYTE * u32::try_from(len).expect("a short pickle"),
        "{name}: {:?}",
        scanning.time + reading.time
    );
}

const MANY: usize = 1 << 21;

fn program(parts: &[(&[u8], usize)]) -> Vec<u8> {
    let mut out = b"\x80\x04".to_vec();
    for (part, times) in parts {
        out.extend(part.repeat(*times));
    }
    out.push(b'.');
    out
}

#[test]
fn fifty_megabytes_of_marks() {
    let bytes = program(&[(b"(", 50_000_000)]);
    bounded("marks", &bytes);
}

#[test]
fn floods_of_one_instruction() {
    let floods: [(&str, &[u8]); 14] = [
        ("none", b"N"),
        ("lists", b"]"),
        ("ints", b"K\x05"),
        ("dup", b"2"),
        ("tuple1", b"\x85"),
        ("calls", b")R"),
        ("marked", b"(N"),
        ("mark and drop", b"(1"),
        ("frames", b"\x95\0\0\0\0\0\0\0\0"),
        ("memo", b"\x94"),
        ("appends", b"Na"),
        ("lists to mark", b"(l"),
        ("globals", b"ca\nb\n"),
        ("lines", b"V\\u20ac\n"),
    ];
    for (name, flood) in floods {
        let start: &[u8] = if name == "calls" { b"ca\nb\n" } else { b"]" };
        bounded(name, &program(&[(start, 1), (flood, MANY / flood.len())]));
    }
}

#[test]
fn nesting_of_any_depth() {
    for depth in [100_000, 1_000_000] {
        for (open, close) in [
            (&b"]"[..], &b"a"[..]),
            (b"}N", b"s"),
            (b"(", b"t"),
            (b"", b"\x85"),
        ] {
            let bytes = program(&[(open, depth), (b"N", 1), (close, depth)]);
            assert!(scan(&bytes).expect("well formed").is_spliceable());
            match Tree::read(&bytes) {
                Ok(tree) => drop(tree.clone()),
                Err(error) => {
                    assert_eq!(error.fault, Fault::TooComplex);
                    assert!(
                        bytes.len() > 1 << 18,
                        "{} bytes are not too many",
                        bytes.len()
                    );
                }
            }
            bounded("nested", &bytes);
        }
    }
}

#[test]
fn wide_stretches_between_marks() {
    // Counts above one byte, saved and restored many times.
    let wide: Vec<u8> = [&b"N".repeat(300)[..], b"("].concat();
    let bytes = program(&[(&wide, 5_000), (b"N", 1), (b"t", 5_000)]);
    let mut end = bytes.clone();
    end.pop();
    end.extend(b"0.");
    assert!(scan(&bytes).is_ok());
    bounded("wide", &bytes);
    // Counts just below and above one byte are restored exactly.
    for count in 250..260 {
        let bytes = program(&[(b"N", count), (b"(1", 1), (b"0", count - 1)]);
        assert!(scan(&bytes).expect("well formed").is_spliceable());
        let bytes = program(&[(b"N", count), (b"(1", 1), (b"0", count)]);
        assert!(scan(&bytes).is_err() && Tree::read(&bytes).is_err());
    }
    let back = program(&[(b"N", 100_000), (b"(1", 1_000_000), (b"0", 99_999)]);
    assert!(scan(&back).expect("well formed").is_spliceable());
    bounded("back and forth", &back);
}

#[test]
fn a_graph_of_dups_shares_its_nodes() {
    // Copying the shared nodes would make 2^1,000,000 leaves.
    let bytes = program(&[(b"N", 1), (b"2\x86", 1_000_000)]);
    assert!(scan(&bytes).expect("well formed").is_spliceable());
    bounded("dup and pair", &bytes);
    let lists = program(&[
        (b"]", 1),
        (b"\x94(h\x00h\x00e0]", 0),
        (b"(", 1),
        (b"]", 1),
        (b"2", MANY),
    ]);
    bounded("one list over and over", &lists);
    let growing = program(&[(b"]\x94", 1), (b"(h\x00h\x00h\x00e", 40_000)]);
    assert!(Tree::read(&growing).is_ok());
    bounded("a list in itself", &growing);
}

#[test]
fn indices_and_lengths_that_were_not_received() {
    let huge: [&[u8]; 8] = [
        b"\x80\x04Nr\x00\x00\x00\x04.",
        b"\x80\x04Nr\xff\xff\xff\xff.",
        b"\x80\x04Np18446744073709551616\n.",
        b"\x80\x04j\x00\x00\x00\x04.",
        b"\x80\x04B\xff\xff\xff\xff.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",
    ];
    for bytes in huge {
        assert!(scan(bytes).is_err(), "{}", bytes.escape_ascii());
        assert!(Tree::read(bytes).is_err(), "{}", bytes.escape_ascii());
        bounded("huge", bytes);
    }
    // Indices up to the largest that is allowed, written in the least convenient order.
    let mut bytes = program(&[(b"N", 1), (b"\x94", 1000)]);
    for index in (0..200_000_u32).rev().step_by(3) {
        bytes.pop();
        bytes.extend([&b"r"[..], &index.to_le_bytes(), b"."].concat());
    }
    assert!(scan(&bytes).is_ok());
    bounded("memo downwards", &bytes);
}

/// An entry with a large index in a long message costs an entry, not a table of the message's
/// length.
#[test]
fn a_memo_costs_only_its_entries() {
    const LEN: u32 = 50_000_000;
    let padding = [&b"B"[..], &LEN.to_le_bytes(), &vec![0; LEN as usize], b"0"].concat();
    let far: Vec<u8> = (1..=10).flat_map(|n: u32| put(LEN / 10 * n)).collect();
    let bytes = program(&[
        (&padding, 1),
        (b"N", 1),
        (&far, 1),
        (&get(LEN), 1),
        (b"0", 1),
    ]);
    assert!(scan(&bytes).is_ok() && Tree::read(&bytes).is_ok());
    for work in [cost(|| scan(&bytes)), cost(|| Tree::read(&bytes))] {
        assert!(work.bytes < 16 << 10, "{} bytes held", work.bytes);
    }
    // As many entries as fit, each as far from the others as possible.
    for step in [5, 64, 500, 513, 4096] {
        let count = MANY / 5;
        let puts: Vec<u8> = (0..count as u32)
            .flat_map(|n| put(n.wrapping_mul(step) % (MANY as u32)))
            .collect();
        bounded(
            "scattered memo",
            &program(&[(b"N", 1), (&puts, 1), (&get(0), 1), (b"0", 1)]),
        );
    }
}

fn put(index: u32) -> Vec<u8> {
    [&b"r"[..], &index.to_le_bytes()].concat()
}

fn get(index: u32) -> Vec<u8> {
    [&b"j"[..], &index.to_le_bytes()].concat()
}

#[test]
fn numbers_of_many_digits() {
    let decimal = [b"L".to_vec(), b"9".repeat(4300), b"L\n0".to_vec()].concat();
    bounded("decimal", &program(&[(b"N", 1), (&decimal, 200)]));
    let hex = [b"L0x".to_vec(), b"f".repeat(1_000_000), b"L\n".to_vec()].concat();
    assert!(scan(&program(&[(&hex, 1)])).is_ok());
    bounded("hex", &program(&[(&hex, 1)]));
    let decimal = [b"I".to_vec(), b"9".repeat(1_000_000), b"\n".to_vec()].concat();
    assert!(scan(&program(&[(&decimal, 1)])).is_err());
    bounded(
        "long1",
        &program(&[(b"\x8b\x00\x00\x10\x00", 1), (b"\xff", 1 << 20)]),
    );
}

#[test]
fn an_ordinary_task_allocates_nothing() {
    let mut encoder = Encoder::new();
    encoder
        .begin_dict()
        .str("task_id")
        .int(7)
        .str("context")
        .begin_dict();
    encoder
        .str("resource_spec")
        .begin_dict()
        .str("priority")
        .int(3)
        .end_dict()
        .end_dict();
    encoder.str("buffer").bytes(&[0; 1000]).end_dict();
    let bytes = encoder.finish();
    let mut out = Vec::with_capacity(2 * bytes.len());
    let work = cost(|| scan(&bytes).map(|program| program.append_to(&bytes, &mut out)));
    assert_eq!(work.calls, 0);
    assert_eq!(out, bytes[2..bytes.len() - 1]);
}

/// Every program of two arbitrary bytes, alone and after two short beginnings.
#[test]
fn all_short_programs_end_without_a_panic() {
    let mut accepted = 0;
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            for bytes in [
                &[first, second][..],
                &[b']', first, second, b'.'],
                &[b'(', b'N', first, second, b'.'],
            ] {
                let scanned = scan(bytes);
                let read = Tree::read(bytes);
                accepted += u32::from(scanned.is_ok());
                assert!(scanned.is_ok() || read.is_err(), "{}", bytes.escape_ascii());
            }
        }
    }
    assert!(accepted > 500);
}
