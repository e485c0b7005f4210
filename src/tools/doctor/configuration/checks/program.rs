//! The programs that Parsl would start: the interchange, and the managers' worker pool.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::iter;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::commands::nothing_found;
use super::executable::{WHY, not_executable, rights_of, why_not_run};
use super::versions;
use crate::doctor::configuration::description::{Executor, SetUp, Where};
use crate::shared::finding::{Finding, Severity};
use crate::shared::occupant::{Occupant, occupant_of, release_of};
use crate::shared::pth::{Enabled, Site};
use crate::shared::words::shell_word;
use submit_side::versions::{candidates, interpreter_of};

const STOCK_NAME: &str = "interchange.py";
const STOCK_MODULE: &str = "parsl.executors.high_throughput.interchange";
const POOL: &str = "process_worker_pool.py";
const SCRIPT_BYTES_MAX: u64 = 64 << 10;
const OURS: &str = env!("CARGO_PKG_VERSION");

/// The program that would be started as the interchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Program {
    /// htex-interchange, started directly.
    Ours(PathBuf),
    /// htex-interchange in place of Parsl's interchange, whose Python is enabled for it.
    Enabled(PathBuf),
    Stock(PathBuf),
    /// An unknown program, for example a wrapper.
    Unknown(PathBuf),
    Nobody,
}

/// Finds the program as Python's Popen does, and reports what is unusual about it.
pub(in crate::doctor) fn interchange(
    executor: &Executor,
    set_up: &SetUp,
) -> (Program, Vec<Finding>) {
    let Some((name, arguments)) = executor.command() else {
        let is_given = executor.interchange_launch_cmd.is_some();
        return (
            Program::Nobody,
            is_given.then(no_words).into_iter().collect(),
        );
    };
    let Some(file) = found(name, &set_up.path) else {
        return (Program::Nobody, vec![not_found(name, &set_up.path)]);
    };
    let path = OsStr::new(&set_up.path);
    if let Some(finding) = why_not_run(&file, path) {
        if finding.severity == Severity::Problem {
            return (Program::Nobody, vec![finding]);
        }
        return (Program::Unknown(file), vec![finding]);
    }
    let own = std::env::current_exe().unwrap_or_default();
    match occupant_of(&file, &own) {
        Ok(Occupant::Ours | Occupant::Running) => {
            let other = other_release(&file, &own).into_iter();
            let versions = versions::found_by_interchange(set_up, &file, arguments);
            let findings = other.chain(versions).collect();
            (Program::Ours(file), findings)
        }
        _ if is_stock_module(&file, arguments) => parsls_own(&file, Some(&file), &own),
        _ if is_stock(&file) => {
            let python = interpreter_of(&file, path);
            let python = python.filter(|_| arguments.is_empty());
            parsls_own(&file, python.as_deref(), &own)
        }
        _ => {
            let finding = unknown(&file);
            (Program::Unknown(file), vec![finding])
        }
    }
}

fn unknown(file: &Path) -> Finding {
    Finding::note(
        "launch-unknown",
        format!("The interchange would be {}.", file.display()),
    )
    .because(
        "It is neither htex-interchange nor Parsl's own interchange, and doctor does not know what \
         it does.",
    )
}

/// Returns Parsl's own interchange in `file`; or htex-interchange, if `python`, which runs `file`,
/// is enabled for it.
fn parsls_own(file: &Path, python: Option<&Path>, own: &Path) -> (Program, Vec<Finding>) {
    let enabled = python
        .and_then(|python| Site::of(python).ok())
        .and_then(|site| site.enabled());
    let Some(Enabled { pair, binary, .. }) = enabled else {
        let because = "htex-interchange would not be used in this run.";
        return (Program::Stock(file.to_owned()), vec![stock(file, because)]);
    };
    let (line, binary_name) = (pair.line(), binary.display());
    if release_of(&binary).is_none() {
        let because = format!(
            "{} would start {binary_name}, which does not run.",
            line.display()
        );
        return (Program::Stock(file.to_owned()), vec![stock(file, &because)]);
    }
    let finding = Finding::note(
        "enabled",
        format!("The interchange would be htex-interchange, {binary_name}."),
    )
    .because(format!(
        "{} starts it instead of Parsl's own interchange, {}.",
        line.display(),
        file.display()
    ));
    let findings = iter::once(finding).chain(other_release(&binary, own));
    (Program::Enabled(binary.clone()), findings.collect())
}

fn stock(file: &Path, because: &str) -> Finding {
    Finding::note(
        "stock",
        format!("The interchange would be Parsl's own, {}.", file.display()),
    )
    .because(because)
    .remedy(
        "To use htex-interchange, set interchange_launch_cmd=[\"htex-interchange\"], or put a shim \
         first on PATH (htex-interchange install-shim), or enable this Python (`htex-interchange \
         enable`).",
    )
}

/// Reports a missing or unsuitable worker pool. Managers on this machine need the worker pool on
/// PATH, with the submit side's versions.
pub(in crate::doctor) fn worker_pool(executor: &Executor, set_up: &SetUp) -> Option<Finding> {
    if !is_pool_examined(executor) {
        return None;
    }
    let path = OsStr::new(&set_up.path);
    match candidates(path, POOL).next() {
        Some((pool, _)) => why_not_run(&pool, path)
            .map(|finding| {
                finding.because("Blocks run on this machine, and each of them would end at once.")
            })
            .or_else(|| versions::of_worker_pool(set_up, &pool)),
        None => Some(
            Finding::problem(
                "no-worker-pool",
                format!("No directory on PATH has a {POOL}."),
            )
            .because(
                "Blocks run on this machine and start this program by its name; no manager would \
                 register.",
            )
            .remedy(
                "Activate the environment of this Python in the shell that starts the run, or in \
                 the provider's worker_init.",
            )
            .shown_by(nothing_found(POOL, &set_up.path)),
        ),
    }
}

/// Whether the worker pool can be examined. It cannot if another environment may be entered before
/// the worker pool is started.
pub(in crate::doctor) fn is_pool_examined(executor: &Executor) -> bool {
    let Some(provider) = &executor.provider else {
        return false;
    };
    let starts_pool = executor
        .launch_cmd
        .as_deref()
        .is_some_and(|line| line.split_ascii_whitespace().next() == Some(POOL));
    executor.managers_run() == Where::Here && !provider.enters_something() && starts_pool
}

fn no_words() -> Finding {
    Finding::problem("launch-not-found", "interchange_launch_cmd is empty.")
        .because(WHY)
        .remedy("Write interchange_launch_cmd=[\"htex-interchange\"], or leave it out.")
        .shown_by("interchange_launch_cmd=[]")
}

/// Returns the first file that this user may run, as Popen looks for it; or else the first with an
/// execute permission for any user.
fn found(name: &str, path: &str) -> Option<PathBuf> {
    let has_bits = |file: &PathBuf| {
        let metadata = fs::metadata(file);
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
    };
    started(name, path).or_else(|| places(name, path).find(has_bits))
}

/// Returns the file that this user starts by that name.
pub(super) fn started(name: &str, path: &str) -> Option<PathBuf> {
    places(name, path).find(|file| access(file, Access::EXEC_OK).is_ok())
}

/// Returns the files of that name, whether or not this user may run them.
fn places(name: &str, path: &str) -> impl Iterator<Item = PathBuf> {
    let directories = match name.contains('/') {
        true => vec![PathBuf::new()],
        false => std::env::split_paths(path).collect(),
    };
    let files = directories.into_iter().map(move |part| part.join(name));
    files.filter(|file| file.is_file())
}

fn not_found(name: &str, path: &str) -> Finding {
    if let Some(file) = places(name, path).next() {
        let remedy = format!("chmod +x {}", shell_word(&file));
        return not_executable(&file, "cannot be run", remedy).shown_by(rights_of(&file));
    }
    let place = match name.contains('/') {
        true => format!("The file {name} does not exist."),
        false => format!("No directory on PATH has a program {name:?}."),
    };
    let remedy = match name {
        STOCK_NAME => {
            "Activate the environment of this Python in the shell that starts the run, or set \
             interchange_launch_cmd=[\"htex-interchange\"]."
        }
        _ if name.contains(' ') => {
            "Write each word of the command as a separate string of the list."
        }
        _ => "Give its full path, or put its directory on PATH where the run is started.",
    };
    Finding::problem("launch-not-found", place)
        .because(WHY)
        .remedy(remedy)
        .shown_by(nothing_found(name, path))
}

/// Whether this is the command by which Globus Compute finally starts Parsl's interchange.
fn is_stock_module(file: &Path, arguments: &[String]) -> bool {
    let name = file.file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"python") && arguments == ["-m", STOCK_MODULE]
}

/// Whether the file is Parsl's script, whatever its name.
fn is_stock(file: &Path) -> bool {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(SCRIPT_BYTES_MAX).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    read.is_ok()
        && text.starts_with("#!")
        && (text.contains("class Interchange") || text.contains("parsl.executors.high_throughput"))
}

fn other_release(file: &Path, own: &Path) -> Option<Finding> {
    let version = release_of(file)?;
    (version != OURS && file.canonicalize().ok() != own.canonicalize().ok()).then(|| {
        Finding::note(
            "other-release",
            format!("{} is htex-interchange {version}.", file.display()),
        )
        .because(format!(
            "This program is {OURS}; its findings apply to this release."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::configuration::description::Words;

    fn started_by(words: Words, path: &str) -> (Program, Vec<&'static str>) {
        let executor = Executor {
            interchange_launch_cmd: Some(words),
            ..Executor::default()
        };
        let set_up = SetUp {
            path: path.to_owned(),
            ..SetUp::default()
        };
        let (program, found) = interchange(&executor, &set_up);
        (program, found.iter().map(|finding| finding.id).collect())
    }

    #[test]
    fn the_program_is_looked_for_as_python_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_str().unwrap();
        let one = |name: &str| started_by(Words::One(name.to_owned()), path);
        assert_eq!(one("tool"), (Program::Nobody, vec!["launch-not-found"]));
        let file = place.path().join("tool");
        fs::write(&file, "#!/bin/sh\nexec htex-interchange\n").unwrap();
        assert_eq!(
            one("tool"),
            (Program::Nobody, vec!["launch-not-executable"])
        );
        // The file that cannot be run is reported at any place on PATH, unless a later file can be
        // run.
        let empty = tempfile::tempdir().unwrap();
        let later = format!("{}:{path}", empty.path().display());
        let told = started_by(Words::One("tool".to_owned()), &later);
        assert_eq!(told.1, ["launch-not-executable"]);
        let both = format!("{path}:/bin");
        fs::rename(&file, place.path().join("sh")).unwrap();
        let told = started_by(Words::One("sh".to_owned()), &both);
        assert_eq!(told.1, ["launch-unknown"]);
        assert_eq!(
            started_by(Words::Many(Vec::new()), path).1,
            ["launch-not-found"]
        );
        fs::rename(place.path().join("sh"), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            one("tool"),
            (Program::Unknown(file.clone()), vec!["launch-unknown"])
        );
        assert_eq!(
            one("tool --io-threads 2"),
            (Program::Nobody, vec!["launch-not-found"])
        );
        fs::write(&file, "#!/bin/sh\nclass Interchange:\n").unwrap();
        let by_path = Words::Many(vec![file.to_str().unwrap().to_owned()]);
        assert_eq!(
            started_by(by_path, ""),
            (Program::Stock(file), vec!["stock"])
        );
    }
}
