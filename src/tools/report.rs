//! `report RUNDIR`: makes a page with pictures of a run. The module `htex_interchange.report` of
//! the wheel's Python package makes the page. This tool finds a Python that has the module, and
//! runs it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;

use crate::shared::charset::Charset;
use crate::shared::child::ended_within;
use crate::shared::output::Trouble;
use crate::shared::python;

const MODULE: &str = "htex_interchange.report";
/// Python code that exits with 0 if the module exists, without running the module.
const HAS_MODULE: &str = "import importlib.util, sys; \
                          sys.exit(importlib.util.find_spec('htex_interchange.report') is None)";
/// Time limit for a Python. It starts in 20 ms from a warm disk, and may take long from a network
/// file system.
const ASKED_FOR: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A directory that contains events files (runinfo/000), or one such file
    #[arg(value_name = "RUNDIR")]
    run: PathBuf,

    /// Output file. Default: RUNDIR/htex-report.html
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The Python that makes the page. Default: the first that has the package htex-interchange, of
    /// the one beside this program, that of the interchange.py on PATH, and those on PATH.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

const AFTER_HELP: &str = "Exit status: 0 the page was written; 1 there is nothing to report, or no \
                          Python with the report; 2 wrong arguments.";

/// Why no report was made.
#[derive(Debug, thiserror::Error)]
enum NoReport {
    #[error(
        "no Python was found beside this program or on PATH; use --python to name a Python in \
         which you ran `pip install htex-interchange`, which provides {MODULE}"
    )]
    NoPython,
    #[error(
        "none of these Pythons has {MODULE}: {}; run `pip install htex-interchange` in one of \
         them, or name another with --python",
        .0.join(", ")
    )]
    NoModule(Vec<String>),
    #[error("{} cannot be run: {error}", python.display())]
    NotRun { python: PathBuf, error: io::Error },
}

/// Replaces this process by the Python that makes the report. The exit status and the reaction to
/// Ctrl-C are then Python's.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let pythons = match &arguments.python {
        Some(named) => vec![named.clone()],
        None => python::all(),
    };
    let python = first_that_can(pythons)?;
    let error = making(&python, arguments).exec();
    Err(NoReport::NotRun { python, error }.into())
}

fn first_that_can(pythons: Vec<PathBuf>) -> Result<PathBuf, NoReport> {
    let mut tried = Vec::new();
    for python in pythons {
        if has_module(&python) {
            return Ok(python);
        }
        tried.push(python.display().to_string());
    }
    Err(match tried.is_empty() {
        true => NoReport::NoPython,
        false => NoReport::NoModule(tried),
    })
}

fn has_module(python: &Path) -> bool {
    let mut command = Command::new(python);
    command
        .args(["-c", HAS_MODULE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command
        .spawn()
        .and_then(|mut child| ended_within(&mut child, ASKED_FOR));
    matches!(status, Ok(Some(status)) if status.success())
}

fn making(python: &Path, arguments: &Arguments) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", MODULE]).arg(&arguments.run);
    if let Some(out) = &arguments.out {
        command.arg("--out").arg(out);
    }
    if Charset::of_reader() == Charset::Ascii {
        // Python itself uses UTF-8 in the locale "C" (PEP 538).
        command.env("PYTHONIOENCODING", "ascii:backslashreplace");
    }
    command
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Creates executables with these names. Those called `without` lack the module.
    fn fakes(directory: &Path, names: &[&str]) -> Vec<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("report/fake_python");
        let fake = |name: &&str| {
            let place = directory.join(name);
            symlink(&script, &place).unwrap();
            place
        };
        names.iter().map(fake).collect()
    }

    #[test]
    fn the_first_python_that_has_the_module_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut pythons = fakes(directory.path(), &["without", "with", "with-too"]);
        pythons.insert(0, directory.path().join("gone"));
        assert_eq!(first_that_can(pythons.clone()).unwrap(), pythons[2]);
        let told = first_that_can(pythons[..2].to_vec()).unwrap_err();
        let told = told.to_string();
        assert_eq!(told.lines().count(), 1);
        for word in [
            "/gone, ",
            "/without; ",
            "`pip install htex-interchange`",
            "--python",
        ] {
            assert!(told.contains(word), "{word} in {told}");
        }
        let told = first_that_can(Vec::new()).unwrap_err().to_string();
        assert!(told.starts_with("no Python was found"), "{told}");
    }

    #[test]
    fn python_gets_the_arguments_and_its_status_is_returned() {
        let directory = tempfile::tempdir().unwrap();
        let python = fakes(directory.path(), &["with"]).remove(0);
        let mut arguments = Arguments {
            run: "runinfo/a b".into(),
            out: None,
            python: None,
        };
        let told = making(&python, &arguments).output().unwrap();
        let text = "-m\nhtex_interchange.report\nruninfo/a b\n";
        assert_eq!(String::from_utf8_lossy(&told.stdout), text);
        assert_eq!(told.status.code(), Some(7));
        arguments.out = Some("page.html".into());
        let told = making(&python, &arguments).output().unwrap();
        let text = format!("{text}--out\npage.html\n");
        assert_eq!(String::from_utf8_lossy(&told.stdout), text);
    }
}
