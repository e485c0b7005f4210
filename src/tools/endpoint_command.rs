//! `globus-compute-endpoint`, the command of Globus Compute's endpoints, in our place of it.
//!
//! An endpoint's engine starts the interchange as the first `globus-compute-endpoint` on PATH, with
//! the words [`ASKED`]. A shim by that name serves for exactly these, and leaves every other call
//! to the next program of that name, which is the real one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use submit_side::versions::candidates;

use crate::shared::occupant::{Occupant, occupant_of};

/// What the engine starts.
pub(crate) const NAME: &str = "globus-compute-endpoint";
/// And the words behind it, in Globus Compute 4.0.0 to 4.19.0.
const ASKED: [&str; 2] = ["python-exec", "parsl.executors.high_throughput.interchange"];

/// As a shell says that there is no such program, or that it cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// Where programs are looked for if there is no PATH, as Python does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// How many shims a call came by. Endpoint, user endpoint and managers start each other by this
/// name, so that some are usual; a program that calls the shim again would go round for ever.
const DEPTH_VARIABLE: &str = "HTEX_INTERCHANGE_PASSED_ON";
const DEPTH_MAX: u32 = 32;

/// What is asked for by that name.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// The interchange, as the engine starts it.
    Interchange,
    /// Something that the real command does, with these arguments.
    Another(Vec<OsString>),
}

/// What `words`, a whole command line, asks of the command of endpoints. None if it goes by another
/// name.
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

/// Becomes the next program of that name on PATH. Returns only if there is none, with the status to
/// end with.
#[must_use]
pub fn pass_on(arguments: &[OsString]) -> ExitCode {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let (status, trouble) = match (depth(), next(&path)) {
        (DEPTH_MAX.., _) => (
            NOT_FOUND,
            format!(
                "every program of this name on PATH ({}) leads back here",
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
        "{NAME}: this is htex-interchange, which serves as the interchange alone, and {trouble}. \
         The real {NAME} must be on PATH behind it."
    );
    ExitCode::from(status)
}

fn depth() -> u32 {
    let depth = env::var(DEPTH_VARIABLE).ok();
    depth.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The first on `path` that is not ours.
pub(crate) fn next(path: &OsStr) -> Option<PathBuf> {
    let mut all = candidates(path, NAME).map(|(file, _)| file);
    all.find(|file| !is_ours(file))
}

/// Whether this program, of whatever release, is at `file`, by whatever way. What cannot be read is
/// somebody else's: who is led in a circle by it is told so.
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
    fn it_serves_for_exactly_the_words_of_the_engine() {
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
    fn by_another_name_it_is_itself() {
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
    fn what_is_no_text_stays_as_it_is() {
        let odd = OsString::from_vec(b"Zo\xeb".to_vec());
        let words = [NAME.into(), odd.clone()];
        assert_eq!(call(words), Some(Call::Another(vec![odd])));
    }
}
