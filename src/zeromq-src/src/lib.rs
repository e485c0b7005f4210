//! What zmq-sys 0.12 believes to be zeromq-src 0.2: the same three calls, but libzmq 4.3.5 with
//! CURVE (libsodium), with the features that Linux has, and with nothing but glibc left outside.
//!
//! The real builder configures nothing for Linux. Without these definitions libzmq takes its time
//! from the wall clock (a clock set back by 5 s makes a poll of 0.5 s last 5.5 s), wakes threads
//! through socket pairs, and leaves its descriptors open in child processes.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const LINUX_FEATURES: &str = "-DHAVE_CLOCK_GETTIME -DZMQ_HAVE_EVENTFD -DZMQ_HAVE_EVENTFD_CLOEXEC \
    -DZMQ_HAVE_SOCK_CLOEXEC -DHAVE_ACCEPT4 -DZMQ_HAVE_SO_KEEPALIVE -DZMQ_HAVE_TCP_KEEPCNT \
    -DZMQ_HAVE_TCP_KEEPIDLE -DZMQ_HAVE_TCP_KEEPINTVL -DZMQ_HAVE_SO_PEERCRED \
    -DZMQ_HAVE_PTHREAD_SETNAME_2";

/// The builder that zmq-sys calls from its build script.
#[derive(Default)]
pub struct Build;

/// Named by zmq-sys in its call; never made, because libsodium's place is known here.
pub struct LibLocation;

impl Build {
    pub fn new() -> Self {
        Self
    }

    /// zmq-sys says `None`; libsodium is linked all the same.
    pub fn with_libsodium(&mut self, _place: Option<LibLocation>) -> &mut Self {
        self
    }

    pub fn build(&mut self) {
        if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
            append_to_env("CXXFLAGS", LINUX_FEATURES);
        }
        link_cxx_runtime_statically();
        let sodium =
            upstream::LibLocation::new(env!("SODIUM_LIB"), env!("SODIUM_INCLUDE"));
        upstream::Build::new()
            .with_libsodium(Some(sodium))
            .build();
    }
}

/// libstdc++ and libgcc go inside: login nodes are older than the machine that builds.
///
/// rustc asks the linker for `gcc_s` by name; a linker script of that name, found first, answers
/// with the static halves. A compiler with another library (zig) brings its own runtime, though it
/// would name the libstdc++ of this machine if it were asked.
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

/// The compiler's own copy of a library, or `None` where it has none (it then echoes the name).
fn compiler_file(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(answer(&[&format!("-print-file-name={name}")])?.trim());
    (path.is_absolute() && path.exists()).then_some(path)
}

/// By what any header of it defines.
fn compiles_against_libstdcxx() -> bool {
    let macros = answer(&["-x", "c++", "-E", "-dM", "-include", "cstddef", "/dev/null"]);
    macros.is_some_and(|macros| macros.contains("__GLIBCXX__"))
}

/// What the compiler of libzmq prints; one for another system is named by variables of its own.
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
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var(name, value) }
}
