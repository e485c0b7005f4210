//! What the binary is built of: nothing outside but glibc, CURVE inside, and a libzmq that does not
//! take its time from the wall clock.

use std::ffi::CStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, ptr};

use nix::libc;

#[test]
fn curve_is_inside() {
    assert_eq!(zmq::has("curve"), Some(true));
    let pair = zmq::CurveKeyPair::new().expect("libsodium makes keys");
    assert_ne!(pair.public_key, [0; 32]);
    assert_ne!(
        pair.public_key,
        zmq::CurveKeyPair::new().unwrap().public_key
    );
}

#[test]
fn libzmq_is_the_one_that_was_measured() {
    assert_eq!(zmq::version(), (4, 3, 5));
}

#[test]
fn the_binary_needs_nothing_but_glibc() {
    const OF_GLIBC: [&str; 6] = ["libc", "libm", "libpthread", "libdl", "librt", "ld-linux"];
    let bytes = fs::read(env!("CARGO_BIN_EXE_htex-interchange")).expect("it was built");
    let needed = Elf(&bytes).needed_libraries();
    assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
    for name in needed {
        let stem = name.split('.').next().unwrap_or_default();
        let is_of_glibc = OF_GLIBC
            .iter()
            .any(|of_glibc| stem == *of_glibc || stem.starts_with("ld-linux"));
        assert!(is_of_glibc, "the binary needs {name}");
    }
}

/// A 64-bit little-endian ELF file, as far as its list of libraries.
struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    const SEGMENT_LOAD: u32 = 1;
    const SEGMENT_DYNAMIC: u32 = 2;
    const NEEDED: u64 = 1;
    const STRING_TABLE: u64 = 5;

    fn needed_libraries(&self) -> Vec<String> {
        assert_eq!(&self.0[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
        let (_, start, _, len) = self
            .segments()
            .find(|(kind, ..)| *kind == Self::SEGMENT_DYNAMIC)
            .expect("a dynamic segment");
        let entries: Vec<(u64, u64)> = (start..start + len)
            .step_by(16)
            .map(|at| (self.u64(at), self.u64(at + 8)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let of_tag = |wanted| entries.iter().filter(move |(tag, _)| *tag == wanted);
        let (_, texts) = of_tag(Self::STRING_TABLE).next().expect("a string table");
        let texts = self.place_of(*texts);
        of_tag(Self::NEEDED)
            .map(|(_, offset)| self.text(texts + *offset as usize))
            .collect()
    }

    /// Kind, place in the file, address in memory, and length.
    fn segments(&self) -> impl Iterator<Item = (u32, usize, u64, usize)> {
        let (start, size, count) = (self.u64(32) as usize, self.u16(54), self.u16(56));
        (0..count).map(move |number| {
            let at = start + size * number;
            let kind = u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap());
            (
                kind,
                self.u64(at + 8) as usize,
                self.u64(at + 16),
                self.u64(at + 32) as usize,
            )
        })
    }

    fn place_of(&self, address: u64) -> usize {
        self.segments()
            .filter(|(kind, ..)| *kind == Self::SEGMENT_LOAD)
            .find(|(_, _, start, len)| (*start..*start + *len as u64).contains(&address))
            .map(|(_, place, start, _)| place + (address - start) as usize)
            .expect("the address is loaded from the file")
    }

    fn text(&self, at: usize) -> String {
        let text = CStr::from_bytes_until_nul(&self.0[at..]).expect("it ends");
        text.to_str().expect("a name").to_owned()
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn u16(&self, at: usize) -> usize {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap()).into()
    }
}

/// Stands before glibc: the first wait in `poll` sets the wall clock back by 5 s, by whichever call
/// it is read.
const SHIM: &str = r"
#define _GNU_SOURCE
#include <poll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long back_s;

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    if (timeout_ms > 0)
        back_s = 5;
    return syscall(SYS_poll, fds, count, timeout_ms);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (id == CLOCK_REALTIME && result == 0)
        at->tv_sec -= back_s;
    return result;
}
";

const CHILD: &str = "HTEX_TEST_POLLS_BEFORE_A_SHIM";
const POLL: Duration = Duration::from_millis(500);

/// The parent builds the shim and runs this very test again behind it; the child polls.
#[test]
fn a_poll_lasts_as_long_whatever_the_wall_clock_does() {
    if env::var_os(CHILD).is_some() {
        return poll_before_the_shim();
    }
    let directory = tempfile::tempdir().unwrap();
    let shim = build_shim(directory.path());
    let child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_poll_lasts_as_long_whatever_the_wall_clock_does",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("LD_PRELOAD", shim)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

fn build_shim(directory: &Path) -> std::path::PathBuf {
    let (source, shim) = (directory.join("shim.c"), directory.join("shim.so"));
    fs::write(
        &source,
        [SHIM, include_str!("support/wall_clock.c")].concat(),
    )
    .expect("a file of the shim");
    // A C compiler is at hand, or libzmq could not have been built.
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&shim, &source])
        .output()
        .expect("a compiler that runs");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    shim
}

fn poll_before_the_shim() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PULL).expect("a socket");
    socket.bind("inproc://silence").expect("an endpoint");
    let (wall, wall_of_c) = (SystemTime::now(), seconds_of_gettimeofday());
    let start = Instant::now();
    let ready = socket
        .poll(zmq::POLLIN, POLL.as_millis() as i64)
        .expect("a poll");
    let lasted = start.elapsed();
    assert_eq!(ready, 0);
    // First that the shim is at work, or the rest would show nothing.
    let back = wall
        .duration_since(SystemTime::now())
        .expect("the wall clock went back");
    assert!(back > Duration::from_secs(3), "by {back:?} only");
    assert!(seconds_of_gettimeofday() <= wall_of_c - 3);
    assert!(lasted >= POLL.mul_f64(0.9), "{lasted:?}");
    assert!(lasted < POLL * 3, "a poll of {POLL:?} lasted {lasted:?}");
}

fn seconds_of_gettimeofday() -> i64 {
    let mut at = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    // SAFETY: it writes to the one and does not look at the other, which may be null.
    let result = unsafe { libc::gettimeofday(&mut at, ptr::null_mut()) };
    assert_eq!(result, 0);
    at.tv_sec
}
