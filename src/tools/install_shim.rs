//! `install-shim DIR`: this program by the name of `interchange.py`, which is what an unchanged
//! Parsl starts: the first executable of that name on PATH.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use clap::Args;

use crate::shared::occupant::{Occupant, occupant_of};
use crate::shared::output::{Trouble, say};
use crate::shared::put;
use submit_side::versions::candidates;

/// HTEX's `interchange_launch_cmd`, unless somebody names another.
const NAME: &str = "interchange.py";

#[derive(Debug, Args)]
pub struct Arguments {
    /// A directory for programs; it is made if its parent is there
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Put a copy there instead of a symbolic link to this program. It serves after this program
    /// has gone, and stays as old as it is.
    #[arg(long)]
    copy: bool,

    /// Replace an interchange.py that is not ours
    #[arg(long)]
    force: bool,

    /// Take it away again, if it is ours
    #[arg(long, conflicts_with_all = ["copy", "force"])]
    remove: bool,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("{}: no PATH can name a colon", .0.display())]
    Colon(PathBuf),
    #[error("{} is this very program; start one that stays", .0.display())]
    Running(PathBuf),
    #[error("{} is {what}, not ours; --force replaces it", place.display())]
    Occupied { place: PathBuf, what: &'static str },
    #[error("{} is {what}, not ours; it stays", place.display())]
    Stays { place: PathBuf, what: &'static str },
    #[error("{} cannot be made: {why}", directory.display())]
    NotMade { directory: PathBuf, why: String },
    #[error("{} cannot be written: {error}", place.display())]
    NotWritten { place: PathBuf, error: io::Error },
    #[error("{} cannot be removed: {error}", place.display())]
    NotRemoved { place: PathBuf, error: io::Error },
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    // As the user wrote it: a link in it may be meant to be moved later.
    let directory = absolute(&arguments.directory)?;
    let place = directory.join(NAME);
    let mut told = match arguments.remove {
        true => remove(&place)?,
        false => install(&directory, &place, arguments)?,
    };
    told.push_str(&who_wins(&directory, !arguments.remove));
    say(told)?;
    Ok(ExitCode::SUCCESS)
}

fn install(directory: &Path, place: &Path, arguments: &Arguments) -> Result<String, Trouble> {
    if directory.as_os_str().as_encoded_bytes().contains(&b':') {
        return Err(NotDone::Colon(directory.to_owned()).into());
    }
    make(directory)?;
    let program = env::current_exe()?;
    match occupant_of(place, &program)? {
        Occupant::Running => {
            return Err(NotDone::Running(place.to_owned()).into());
        }
        Occupant::Stranger(what) if !arguments.force => {
            return Err(NotDone::Occupied {
                place: place.to_owned(),
                what,
            }
            .into());
        }
        Occupant::Nobody | Occupant::Ours | Occupant::Stranger(_) => {}
    }
    let put = match arguments.copy {
        true => put::copy,
        false => put::link,
    };
    put(&program, place).map_err(|error| NotDone::NotWritten {
        place: place.to_owned(),
        error,
    })?;
    let how = match arguments.copy {
        true => "is a copy of",
        false => "is a link to",
    };
    Ok(format!(
        "{} {how} {}.\n",
        place.display(),
        program.display()
    ))
}

/// With its parent there: a missing one is a slip of the pen more often than a wish.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many kinds of errors"
)]
fn make(directory: &Path) -> Result<(), NotDone> {
    let told = match fs::create_dir(directory) {
        Ok(()) => return Ok(()),
        Err(_) if directory.is_dir() => return Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::AlreadyExists => "it is there, and is no directory".to_owned(),
            io::ErrorKind::NotFound => "its parent does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "its parent is no directory".to_owned(),
            _ => error.to_string(),
        },
    };
    Err(NotDone::NotMade {
        directory: directory.to_owned(),
        why: told,
    })
}

fn remove(place: &Path) -> Result<String, Trouble> {
    let it = place.display();
    match occupant_of(place, &env::current_exe()?)? {
        Occupant::Nobody => Ok(format!("There is no {it}.\n")),
        Occupant::Stranger(what) => Err(NotDone::Stays {
            place: place.to_owned(),
            what,
        }
        .into()),
        Occupant::Ours | Occupant::Running => {
            fs::remove_file(place).map_err(|error| NotDone::NotRemoved {
                place: place.to_owned(),
                error,
            })?;
            Ok(format!("{it} is removed.\n"))
        }
    }
}

/// Which interchange.py a Parsl that is started from here would run, and what to do if `wanted`
/// and that is not ours.
fn who_wins(directory: &Path, wanted: bool) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let winner = candidates(&path, NAME).next().map(|(file, _)| file);
    let is_ours = |file: &Path| file.parent().is_some_and(|parent| same(parent, directory));
    let on_path = env::split_paths(&path).any(|entry| same(&entry, directory));
    let mut told = String::new();
    let _ = match &winner {
        None => writeln!(told, "No directory on PATH has an {NAME}."),
        Some(file) if wanted && is_ours(file) => {
            writeln!(
                told,
                "It is the first {NAME} on PATH: every Parsl that is started from here runs it."
            )
        }
        Some(file) if wanted && on_path => writeln!(
            told,
            "{} comes before it on PATH, and is what Parsl would run.",
            file.display()
        ),
        Some(file) => writeln!(told, "Parsl would run {}, by PATH.", file.display()),
    };
    if wanted && !winner.as_deref().is_some_and(is_ours) {
        let _ = write!(
            told,
            "To use it, say in the shell or script that starts the program, after an environment \
             is activated:\n    {}\n",
            export(directory)
        );
    }
    told
}

/// Whether both are one directory, by whatever way.
fn same(one: &Path, other: &Path) -> bool {
    let one = fs::canonicalize(if one.as_os_str().is_empty() {
        Path::new(".")
    } else {
        one
    });
    matches!((one, fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// The line for a shell.
fn export(directory: &Path) -> String {
    format!("export PATH={}:\"$PATH\"", quoted(directory.as_os_str()))
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%,".contains(c);
    match word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_directory_as_it_is() {
        let line = |text| export(Path::new(text));
        assert_eq!(line("/opt/a-b_c.d"), "export PATH=/opt/a-b_c.d:\"$PATH\"");
        assert_eq!(line("/opt/a b"), "export PATH='/opt/a b':\"$PATH\"");
        assert_eq!(line("/o'p$t"), r#"export PATH='/o'\''p$t':"$PATH""#);
    }
}
