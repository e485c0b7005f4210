//! A replacement for zeromq-src 0.2, which zmq-sys 0.12 depends on. It has the same three calls,
//! but builds libzmq 4.3.5 with CURVE (libsodium) and the features of Linux, and links everything
//! but glibc statically.
//!
//! The real builder sets no options for Linux. Without them libzmq uses the wall clock (a clock set
//! back by 5 s makes a poll of 0.5 s last 5.5 s), wakes threads through socket pairs, and leaves
//! its descriptors open in child processes.

mod sodium;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sodium::Sodium;

const LINUX_FEATURES: &str = "-DHAVE_CLOCK_GETTIME -DZMQ_HAVE_EVENTFD -DZMQ_HAVE_EVENTFD_CLOEXEC \
    -DZMQ_HAVE_SOCK_CLOEXEC -DHAVE_ACCEPT4 -DZMQ_HAVE_SO_KEEPALIVE -DZMQ_HAVE_TCP_KEEPCNT \
    -DZMQ_HAVE_TCP_KEEPIDLE -DZMQ_HAVE_TCP_KEEPINTVL -DZMQ_HAVE_SO_PEERCRED \
    -DZMQ_HAVE_PTHREAD_SETNAME_2";

/// The builder that zmq-sys calls from its build script.
#[derive(Default)]
pub struct Build;

/// A type that zmq-sys names in its call. No value is made, because libsodium's location is known
/// here.
pub struct LibLocation;

impl Build {
    pub fn new() -> Self {
        Self
    }

    /// Ignores its argument: zmq-sys passes `None`, and libsodium is linked anyway.
    pub fn with_libsodium(&mut self, _place: Option<LibLocation>) -> &mut Self {
        self
    }

    pub fn build(&mut self) {
        if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
            append_to_env("CXXFLAGS", LINUX_FEATURES);
        }
        link_cxx_runtime_statically();
        let sodium = Sodium::for_target();
        let sodium = upstream::LibLocation::new(sodium.lib, sodium.include);
        upstream::Build::new()
            .with_libsodium(Some(sodium))
            .build();
    }
}

/// Links libstdc++ and libgcc statically, because login nodes have older versions than the machine
/// that builds.
///
/// rustc tells the linker to link `gcc_s`. A linker script with that name, in a directory that is
/// searched first, replaces it by the static libraries. A compiler with another C++ library (zig)
/// links its own runtime and is left alone, although it would report this machine's libstdc++.
fn link_cxx_runtime_statically() {
    if !compiles_against_libstdcxx() {
        return;
    }
    let Some(libstdcxx) = compiler_file("libstdc++.a") else {
        return;
    };
    set_env("CXXSTDLIB", "static=stdc++".into());
    print_search_dir(libstdcxx.parent().expect("a file has a directory"));
    if compiler_file("libgcc_eh.a").is_some() {
        let dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("libgcc");
        fs::create_dir_all(&dir).expect("OUT_DIR is writable");
        fs::write(dir.join("libgcc_s.so"), "GROUP ( -lgcc_eh -lgcc -lc )\n")
            .expect("OUT_DIR is writable");
        print_search_dir(&dir);
    }
}

/// Returns the path of the compiler's copy of a library. `None` if it has none; the compiler then
/// prints the bare name.
fn compiler_file(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(answer(&[&format!("-print-file-name={name}")])?.trim());
    (path.is_absolute() && path.exists()).then_some(path)
}

/// Whether the compiler uses libstdc++, which every libstdc++ header shows by a macro.
fn compiles_against_libstdcxx() -> bool {
    let macros = answer(&["-x", "c++", "-E", "-dM", "-include", "cstddef", "/dev/null"]);
    macros.is_some_and(|macros| macros.contains("__GLIBCXX__"))
}

/// Runs the compiler that builds libzmq and returns its output. When cross-compiling,
/// `CXX_<target>` and similar variables select this compiler.
fn answer(arguments: &[&str]) -> Option<String> {
    let mut compiler = cc::Build::new().cpp(true).try_get_compiler().ok()?.to_command();
    String::from_utf8(compiler.args(arguments).output().ok()?.stdout).ok()
}

fn print_search_dir(dir: &Path) {
    println!("cargo:rustc-link-search=native={}", dir.display());
}

fn append_to_env(name: &str, flags: &str) {
    let mut value = env::var_os(name).unwrap_or_default();
    value.push(" ");
    value.push(flags);
    set_env(name, value);
}

fn set_env(name: &str, value: OsString) {
    // SAFETY: a build script has only one thread at this point.
    unsafe { env::set_var(name, value) }
}
