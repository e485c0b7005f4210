//! `enable`, `disable` and `enabled`: make a Python start this program instead of Parsl's own
//! interchange. They are for programs whose `interchange_launch_cmd` the user cannot choose, or
//! whose command names Parsl's interchange by its path. `shared::pth` has the files that do this.

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::shared::occupant::release_of;
use crate::shared::output::{Trouble, say};
use crate::shared::pth::{Enabled, NotChanged, Site};
use crate::shared::python;
use crate::shared::words::command;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    which: WhichPython,

    /// Install into the user's site-packages instead of that Python's: affects only this user, in
    /// all environments of the same Python version that use them
    #[arg(long)]
    user: bool,
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct WhichPython {
    /// The Python that runs the Parsl programs. Default: that of the interchange.py on PATH, else
    /// python3 on PATH
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

const AFTER_HELP: &str = "Parsl's own interchange is whatever this Python starts as `-m \
                          parsl.executors.high_throughput.interchange`, or as Parsl's script \
                          interchange.py under any path, without further arguments. With -S, \
                          Python reads no .pth files; with -s or -I, it reads none of the user's \
                          own packages. Parsl's own interchange serves in these cases.\n\nExit \
                          status: 0 done, or enabled; 1 it failed; 2 wrong arguments; 3 not \
                          enabled (from `enabled`).";

const NOT_ENABLED: u8 = 3;
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Why the Python was not changed.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("no Python was found; name one with --python")]
    NoPython,
    #[error("{} has no site-packages from which it would read .pth files", .0.display())]
    NoPackages(PathBuf),
    #[error("{} does not use the user's own packages; leave out --user", .0.display())]
    NoUserPackages(PathBuf),
    #[error("{0}; use --user to write {place} instead", place = .1.display())]
    MayBeUsers(NotChanged, PathBuf),
    #[error(
        "{} is still enabled by {}, which belongs to another environment; run `htex-interchange \
         disable --python PYTHON` with the Python of that environment",
        python.display(), line.display()
    )]
    Elsewhere { python: PathBuf, line: PathBuf },
}

pub(super) fn enable(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let (python, site) = arguments.which.ask()?;
    let binary = env::current_exe()?;
    let pair = match arguments.user {
        true => site
            .of_user()
            .ok_or(NotDone::NoUserPackages(python.clone())),
        false => site.own().ok_or(NotDone::NoPackages(python.clone())),
    }?;
    pair.put(&binary)
        .map_err(|error| hint(error, &site, arguments.user))?;
    let mut told = format!(
        "{} (Python {}) now starts {} wherever it would start Parsl's own interchange.\n{} makes \
         it do so.\n",
        python.display(),
        site.version,
        binary.display(),
        pair.line().display()
    );
    // Python reads the user's own packages before those of the installation.
    if let Some(first) = site.enabled()
        && first.pair != pair
        && first.binary != binary
    {
        let _ = writeln!(
            told,
            "However, {} takes precedence, and starts {}.",
            first.pair.line().display(),
            first.binary.display()
        );
    }
    say(told)?;
    Ok(ExitCode::SUCCESS)
}

/// Adds a hint to --user if the user's own packages may be writable instead.
fn hint(error: NotChanged, site: &Site, is_users: bool) -> Trouble {
    match (&error, site.of_user()) {
        (NotChanged::NotWritten { .. }, Some(users)) if !is_users => {
            NotDone::MayBeUsers(error, users.line()).into()
        }
        _ => error.into(),
    }
}

pub(super) fn disable(which: &WhichPython) -> Result<ExitCode, Trouble> {
    let (python, site) = which.ask()?;
    let mut told = String::new();
    for pair in site.own().into_iter().chain(site.of_user()) {
        if pair.remove()? {
            let _ = writeln!(told, "Removed {}.", pair.line().display());
        }
    }
    let left = site.enabled();
    if told.is_empty() && left.is_none() {
        let _ = writeln!(told, "{} was not enabled.", python.display());
    }
    say(told)?;
    match left {
        None => Ok(ExitCode::SUCCESS),
        Some(left) => {
            let line = left.pair.line();
            Err(NotDone::Elsewhere { python, line }.into())
        }
    }
}

pub(super) fn enabled(which: &WhichPython) -> Result<ExitCode, Trouble> {
    let (python, site) = which.ask()?;
    let it = format!("{} (Python {})", python.display(), site.version);
    let Some(enabled) = site.enabled() else {
        say(format!("{it} is not enabled.\n"))?;
        return Ok(ExitCode::from(NOT_ENABLED));
    };
    let (serves, program) = program(&enabled);
    let mut told = match serves {
        true => format!("{it} is enabled.\n"),
        false => format!(
            "{it} is enabled, but the program does not run, so Parsl's own interchange serves.\n"
        ),
    };
    let _ = writeln!(told, "By      {}", enabled.pair.line().display());
    let _ = writeln!(told, "Starts  {} ({program})", enabled.binary.display());
    if !enabled.is_current {
        let _ = writeln!(
            told,
            "Another release installed it; {} updates it.",
            command("htex-interchange enable --python", &python)
        );
    }
    say(told)?;
    Ok(match serves {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_ENABLED),
    })
}

/// Returns whether the program runs, and a description of it.
fn program(enabled: &Enabled) -> (bool, String) {
    match release_of(&enabled.binary) {
        Some(release) if release == OURS => {
            (true, format!("release {release}, the same as this program"))
        }
        Some(release) => (true, format!("release {release}; this program is {OURS}")),
        None if enabled.binary.exists() => (false, "which does not run".to_owned()),
        None => (false, "which does not exist".to_owned()),
    }
}

impl WhichPython {
    fn ask(&self) -> Result<(PathBuf, Site), Trouble> {
        let named = self.python.clone().or_else(python::of_submit_side);
        let python = named.ok_or(NotDone::NoPython)?;
        let site = Site::of(&python)?;
        Ok((python, site))
    }
}
