//! `globus-compute-endpoint`, the command of Globus Compute's endpoints, when it is a shim of this
//! program.
//!
//! An endpoint's engine starts the interchange as the first `globus-compute-endpoint` on PATH, with
//! the arguments [`ASKED`]. A shim with that name serves for exactly these arguments. It passes
//! every other call to the next program of that name, which is the real one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use submit_side::versions::candidates;

use crate::shared::occupant::{Occupant, occupant_of};

/// The command that the engine starts.
pub(crate) const NAME: &str = "globus-compute-endpoint";
/// The command's arguments for the interchange, in Globus Compute 4.0.0 to 4.19.0.
const ASKED: [&str; 2] = ["python-exec", "parsl.executors.high_throughput.interchange"];

/// Exit status with which a shell reports a missing program. `NOT_RUN` is the status for a program
/// that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// Directories for programs if PATH is not set, as in Python.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// Variable that counts the shims that a call has passed. Endpoint, user endpoint and managers
/// start each other by this name, so a few are usual. A program that calls the shim again would
/// loop for ever.
const DEPTH_VARIABLE: &str = "HTEX_INTERCHANGE_PASSED_ON";
const DEPTH_MAX: u32 = 32;

/// A call of the command.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// Start the interchange, as the engine does.
    Interchange,
    /// Any other call, with these arguments; it is for the real command.
    Another(Vec<OsString>),
}

/// Interprets a whole command line as a call of the endpoints' command. None if the program has
/// another name.
#[must_use]
pub fn call(words: impl IntoIterator<Item = OsString>) -> Option<Call> {
    let mut words = words.into_iter();
    let name = words.next()?;
    (Path::new(&name).file_name()? == NAME).then(|| {
        let arguments: Vec<OsString> = words.collect();
        match arguments == ASKED {
            true => Call::Interchange,
            false => Call::Another(arguments),
        }
    })
}

/// Replaces this process by the next program of that name on PATH. If there is none, returns the
/// exit status.
#[must_use]
pub fn pass_on(arguments: &[OsString]) -> ExitCode {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let (status, trouble) = match (depth(), next(&path)) {
        (DEPTH_MAX.., _) => (
            NOT_FOUND,
            format!(
                "every program of this name on PATH ({}) starts this one again",
                path.display()
            ),
        ),
        (_, None) => (
            NOT_FOUND,
            format!(
                "no directory on PATH ({}) has another program of this name",
                path.display()
            ),
        ),
        (depth, Some(program)) => {
            let error = Command::new(&program)
                .args(arguments)
                .env(DEPTH_VARIABLE, (depth + 1).to_string())
                .exec();
            (
                NOT_RUN,
                format!("{} cannot be run: {error}", program.display()),
            )
        }
    };
    let _ = writeln!(
        io::stderr(),
        "{NAME}: this is htex-interchange, which can only serve as the interchange, and {trouble}. \
         The real {NAME} must come after it on PATH."
    );
    ExitCode::from(status)
}

fn depth() -> u32 {
    let depth = env::var(DEPTH_VARIABLE).ok();
    depth.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Returns the first program of that name on `path` that is not htex-interchange.
pub(crate) fn next(path: &OsStr) -> Option<PathBuf> {
    let mut all = candidates(path, NAME).map(|(file, _)| file);
    all.find(|file| !is_ours(file))
}

/// Whether `file` is htex-interchange of any release, or a link to it. An unreadable file counts as
/// another program. If such a file leads to a loop of calls, [`pass_on`] reports the loop.
pub(crate) fn is_ours(file: &Path) -> bool {
    let own = env::current_exe().unwrap_or_default();
    matches!(
        occupant_of(file, &own),
        Ok(Occupant::Ours | Occupant::Running)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn called(words: &[&str]) -> Option<Call> {
        call(words.iter().map(OsString::from))
    }

    #[test]
    fn only_the_engines_arguments_start_the_interchange() {
        let [python_exec, module] = ASKED;
        for name in [NAME, "/opt/a shim/globus-compute-endpoint"] {
            let asked = called(&[name, python_exec, module]);
            assert_eq!(asked, Some(Call::Interchange));
        }
        for others in [
            &[][..],
            &["start", "default"],
            &["python-exec"],
            &[
                "python-exec",
                "parsl.executors.high_throughput.process_worker_pool",
            ],
            &[python_exec, module, "-d"],
            &["-d", python_exec, module],
            &["", python_exec, module],
            &["--version"],
        ] {
            let words: Vec<&str> = [NAME].iter().chain(others).copied().collect();
            let passed = others.iter().map(OsString::from).collect();
            assert_eq!(called(&words), Some(Call::Another(passed)), "{others:?}");
        }
    }

    #[test]
    fn another_program_name_is_no_endpoint_command() {
        for name in [
            "htex-interchange",
            "interchange.py",
            "",
            "/",
            "globus-compute-endpoint/..",
        ] {
            assert_eq!(called(&[name, ASKED[0], ASKED[1]]), None, "{name}");
        }
        assert_eq!(called(&[]), None);
    }

    #[test]
    fn arguments_that_are_no_text_are_passed_unchanged() {
        let odd = OsString::from_vec(b"Zo\xeb".to_vec());
        let words = [NAME.into(), odd.clone()];
        assert_eq!(call(words), Some(Call::Another(vec![odd])));
    }
}
