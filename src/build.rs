//! Records what `htex-interchange --version --verbose` tells: the commit, the target, the compiler,
//! the features and the profile.
//!
//! Nothing here depends on the time or on the place of the build. Cargo runs it again only when the
//! commit can have changed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Overrides the commit, for packagers whose source tree is no clone.
const COMMIT_VARIABLE: &str = "HTEX_INTERCHANGE_COMMIT";
/// Holds the commit in a source distribution, which has no repository.
const COMMIT_FILE: &str = "COMMIT";

fn main() {
    let top = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    let commit = commit(&top).unwrap_or_else(|| "unknown".to_owned());
    record("COMMIT", &commit);
    record("TARGET", &variable("TARGET"));
    let rustc = answer(Command::new(variable("RUSTC")).arg("--version"));
    let rustc = rustc.unwrap_or_else(|| "unknown".to_owned());
    record("RUSTC", rustc.trim_start_matches("rustc "));
    let features = variable("CARGO_CFG_FEATURE");
    record(
        "FEATURES",
        if features.is_empty() {
            "none"
        } else {
            &features
        },
    );
    record("PROFILE", &variable("PROFILE"));
}

/// Sets a variable that the compiler sees. Its value is one line.
fn record(name: &str, value: &str) {
    println!("cargo::rustc-env=HTEX_BUILD_{name}={value}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Returns the commit from the variable, the file or the repository, in this order.
fn commit(top: &Path) -> Option<String> {
    let one_line = |text: String| text.lines().next().map(|line| line.trim().to_owned());
    let named = |text: &String| !text.is_empty();
    if let Some(given) = one_line(variable(COMMIT_VARIABLE)).filter(named) {
        return Some(given);
    }
    let file = top.join(COMMIT_FILE);
    if let Ok(text) = fs::read_to_string(&file) {
        println!("cargo::rerun-if-changed={}", file.display());
        return one_line(text).filter(named);
    }
    // A source tree inside another project's repository does not have that project's commit.
    if !git(top, &["rev-parse", "--show-cdup"])?.is_empty() {
        return None;
    }
    watch_commit(top);
    git(top, &["rev-parse", "--verify", "HEAD"]).filter(named)
}

/// Has cargo run this script again when the repository has another commit.
///
/// Cargo also runs it again for a path that does not exist, every time. A branch has a file, or
/// a line in `packed-refs` until its next commit makes the file; then its directory is watched.
fn watch_commit(top: &Path) {
    let path = |name: &str| git(top, &["rev-parse", "--git-path", name]).map(|at| top.join(at));
    let branch = git(top, &["symbolic-ref", "--quiet", "HEAD"]).filter(|name| !name.is_empty());
    let branch = branch.and_then(|name| path(&name));
    let branch = branch.and_then(|file| file.ancestors().find(|at| at.exists()).map(Into::into));
    for watched in [path("HEAD"), path("packed-refs"), branch]
        .into_iter()
        .flatten()
    {
        if watched.exists() {
            println!("cargo::rerun-if-changed={}", watched.display());
        }
    }
}

fn git(top: &Path, arguments: &[&str]) -> Option<String> {
    answer(Command::new("git").current_dir(top).args(arguments))
}

/// Returns what a program prints, without the last line break; `None` if it fails.
fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}
