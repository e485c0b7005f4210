//! libsodium for the machine that the program is built for.
//!
//! Only build scripts depend on libsodium-sys-stable, so cargo compiles it for the machine that
//! builds. For another machine, or another C library, the same sources are compiled again here.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Sodium {
    pub(crate) lib: PathBuf,
    pub(crate) include: PathBuf,
}

impl Sodium {
    /// Returns the library for the target of the build script that calls this.
    pub(crate) fn for_target() -> Self {
        let include = Path::new(env!("SODIUM_INCLUDE"));
        if variable("TARGET") == variable("HOST") {
            return Self { lib: env!("SODIUM_LIB").into(), include: include.into() };
        }
        // The headers are in src/libsodium/include of the sources.
        let sources = include.ancestors().nth(3).expect("libsodium's headers are in its sources");
        let place = PathBuf::from(variable("OUT_DIR")).join("libsodium");
        let installed = place.join("installed");
        if !installed.join("lib").join("libsodium.a").exists() {
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place).expect("OUT_DIR is writable");
            compile(&copied(sources, &place), &installed);
        }
        Self { lib: installed.join("lib"), include: installed.join("include") }
    }
}

/// Copies the sources, which are configured for the machine that builds.
fn copied(sources: &Path, place: &Path) -> PathBuf {
    let copy = place.join("source");
    run(Command::new("cp").arg("-Rp").arg(sources).arg(&copy));
    run(Command::new("make").arg("distclean").current_dir(&copy));
    copy
}

fn compile(sources: &Path, installed: &Path) {
    let mut build = cc::Build::new();
    let compiler = build.pic(true).get_compiler();
    let mut configure = Command::new(sources.join("configure"));
    configure
        .current_dir(sources)
        .arg(format!("--host={}", variable("TARGET").display()))
        .arg(format!("--prefix={}", installed.display()))
        .args(["--disable-shared", "--disable-ssp", "--with-pic"])
        .env("CC", compiler.path())
        .env("CFLAGS", compiler.cflags_env())
        .env("AR", build.get_archiver().get_program())
        .env("RANLIB", build.get_ranlib().get_program());
    run(&mut configure);
    let jobs = env::var("NUM_JOBS").unwrap_or_else(|_| "1".to_owned());
    run(Command::new("make").arg(format!("-j{jobs}")).arg("install").current_dir(sources));
}

/// Runs a command to its end. Cargo shows what it printed if the build script fails.
fn run(command: &mut Command) {
    let ended = command.status();
    assert!(ended.as_ref().is_ok_and(|status| status.success()), "{command:?}: {ended:?}");
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}
