//! Checks the parts of the binary: it needs no library but glibc, contains CURVE, and its libzmq
//! does not use the wall clock.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, ptr};

use nix::libc;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object};

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
    let binary = Path::new(env!("CARGO_BIN_EXE_htex-interchange"));
    let needed = needed_libraries(binary);
    assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
    for name in needed {
        assert!(is_of_glibc(&name), "the binary needs {name}");
    }
}

/// Checks that the test above detects an additional library.
#[test]
fn an_additional_library_is_detected() {
    let directory = tempfile::tempdir().unwrap();
    let other = build_library(directory.path(), "libother.so", "int other;", &[]);
    let user = build_library(directory.path(), "libuser.so", "", &[&other]);
    let needed = needed_libraries(&user);
    let others: Vec<&String> = needed.iter().filter(|name| !is_of_glibc(name)).collect();
    assert_eq!(others, ["libother.so"]);
}

fn is_of_glibc(library: &str) -> bool {
    const OF_GLIBC: [&str; 5] = ["libc", "libm", "libpthread", "libdl", "librt"];
    let stem = library.split('.').next().unwrap_or_default();
    OF_GLIBC.contains(&stem) || stem.starts_with("ld-linux")
}

fn needed_libraries(program: &Path) -> Vec<String> {
    let bytes = fs::read(program).expect("it was built");
    let file = ElfFile64::<LittleEndian>::parse(&*bytes).expect("ELF, 64 bits, little-endian");
    let libraries = file.import_libraries().expect("a dynamic table");
    libraries
        .map(|library| {
            let name = library.expect("in the table of strings").name();
            String::from_utf8(name.to_owned()).expect("a name")
        })
        .collect()
}

/// A library that is loaded before glibc. From the first wait in `poll` on, every call that reads
/// the wall clock returns a time that is 5 s earlier.
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

/// The parent builds the shim and runs this test again with it, in a child that polls.
#[test]
fn a_poll_lasts_as_long_whatever_the_wall_clock_does() {
    if env::var_os(CHILD).is_some() {
        return poll_before_the_shim();
    }
    let directory = tempfile::tempdir().unwrap();
    let source = [SHIM, include_str!("support/wall_clock.c")].concat();
    let shim = build_library(directory.path(), "shim.so", &source, &[]);
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

fn build_library(directory: &Path, name: &str, source: &str, linked: &[&Path]) -> PathBuf {
    let library = directory.join(name);
    let text = library.with_extension("c");
    fs::write(&text, source).expect("a directory of ours");
    // There is a C compiler, because libzmq was built with one.
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wl,--no-as-needed"])
        .args([&format!("-Wl,-soname={name}"), "-o"])
        .args([&library, &text])
        .args(linked)
        .output()
        .expect("a C compiler starts");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    library
}

fn poll_before_the_shim() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::PULL).expect("a socket");
    socket.bind("inproc://silence").expect("a free name");
    let (wall, wall_of_c) = (SystemTime::now(), seconds_of_gettimeofday());
    let start = Instant::now();
    let ready = socket
        .poll(zmq::POLLIN, POLL.as_millis() as i64)
        .expect("a poll");
    let lasted = start.elapsed();
    assert_eq!(ready, 0);
    // The shim must have an effect, or the rest would prove nothing.
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
    // SAFETY: the call writes to the first argument and ignores the second, which may be null.
    let result = unsafe { libc::gettimeofday(&mut at, ptr::null_mut()) };
    assert_eq!(result, 0);
    at.tv_sec
}
