//! `install-shim DIR`: installs this program as `interchange.py`. An unchanged Parsl starts the
//! first executable of that name on PATH. With `--globus-compute`, installs it under the name of
//! the command that Globus Compute's endpoints start.

mod told;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use clap::Args;

use crate::endpoint_command;
use crate::shared::occupant::{Occupant, occupant_of};
use crate::shared::output::{Trouble, say};
use crate::shared::put;

/// The default `interchange_launch_cmd` of Parsl's HighThroughputExecutor.
const NAME: &str = "interchange.py";

#[derive(Debug, Args)]
pub struct Arguments {
    /// A directory on PATH; created if its parent exists
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Install a copy instead of a symbolic link to this program. A copy keeps working when this
    /// program is removed, and does not follow its upgrades.
    #[arg(long)]
    copy: bool,

    /// For Globus Compute endpoints: install as globus-compute-endpoint, which serves as their
    /// interchange and passes every other call to the next program of that name on PATH
    #[arg(long)]
    globus_compute: bool,

    /// Replace a program of that name even if this tool did not install it
    #[arg(long)]
    force: bool,

    /// Remove it again, if this tool installed it
    #[arg(long, conflicts_with_all = ["copy", "force"])]
    remove: bool,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("{}: PATH cannot contain a directory whose name has a colon", .0.display())]
    Colon(PathBuf),
    #[error(
        "{} is the running program itself; run install-shim from a copy elsewhere that will not be \
         removed",
        .0.display()
    )]
    Running(PathBuf),
    #[error(
        "{} is {what}, and was not made by this tool; {advice}--force replaces it",
        place.display()
    )]
    Occupied {
        place: PathBuf,
        what: &'static str,
        advice: &'static str,
    },
    #[error("{} is {what}, and was not made by this tool, so it is kept", place.display())]
    Stays { place: PathBuf, what: &'static str },
    #[error("{} cannot be created: {why}", directory.display())]
    NotMade { directory: PathBuf, why: String },
    #[error("{} cannot be written: {error}", place.display())]
    NotWritten { place: PathBuf, error: io::Error },
    #[error("{} cannot be removed: {error}", place.display())]
    NotRemoved { place: PathBuf, error: io::Error },
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    // Links in the path are not resolved: the user may want to change them later.
    let directory = absolute(&arguments.directory)?;
    let name = match arguments.globus_compute {
        true => endpoint_command::NAME,
        false => NAME,
    };
    let place = directory.join(name);
    let done = match arguments.remove {
        true => remove(&place)?,
        false => install(&directory, &place, arguments)?,
    };
    let what_follows = match arguments.globus_compute {
        true => told::of_endpoints(&directory, !arguments.remove),
        false => told::of_parsl(&directory, !arguments.remove),
    };
    say(done + &what_follows)?;
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
                advice: match arguments.globus_compute {
                    true => "choose another directory if it is the real command; ",
                    false => "",
                },
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

/// Creates the directory, but not its parent: a missing parent is more often a typing error than
/// intended.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many kinds of errors"
)]
fn make(directory: &Path) -> Result<(), NotDone> {
    let told = match fs::create_dir(directory) {
        Ok(()) => return Ok(()),
        Err(_) if directory.is_dir() => return Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::AlreadyExists => "it exists, and is not a directory".to_owned(),
            io::ErrorKind::NotFound => "its parent does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "its parent is not a directory".to_owned(),
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
        Occupant::Nobody => Ok(format!("{it} does not exist.\n")),
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
            Ok(format!("Removed {it}.\n"))
        }
    }
}
