//! Who stands at the shim's place, and how it is put there: always under another name first, so
//! that a Parsl that starts meanwhile finds the old one or the new one.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::{fs, process};

/// Stands in every build, and tells a copy from somebody else's program, whatever its release.
static MARK: &[u8] = b"This program is htex-interchange, whatever name its file may have.";
const ELF: &[u8] = b"\x7fELF";
const PROGRAM: &str = "htex-interchange";

pub(crate) enum Occupant {
    Nobody,
    /// A link to htex-interchange, or a copy of it.
    Ours,
    /// The file that is running: there is nothing that a link could lead to.
    Running,
    /// And what it is.
    Stranger(&'static str),
}

/// # Errors
///
/// What is there cannot be looked at; the text names it.
pub(crate) fn occupant_of(place: &Path, program: &Path) -> Result<Occupant, String> {
    let trouble = |error: io::Error| format!("{} cannot be read: {error}", place.display());
    let is_link = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata.is_symlink(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(trouble(error)),
    };
    if is_link {
        // It may lead to where an earlier release was.
        let target = fs::read_link(place).map_err(trouble)?;
        if target.file_name() == Some(PROGRAM.as_ref()) {
            return Ok(Occupant::Ours);
        }
    }
    let metadata = match fs::metadata(place) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(metadata) if metadata.is_dir() => return Ok(Occupant::Stranger("a directory")),
        Ok(_) => return Ok(Occupant::Stranger("no file")),
        Err(_) => return Ok(Occupant::Stranger("a link to nothing")),
    };
    let running = fs::metadata(program).map_err(trouble)?;
    if (metadata.dev(), metadata.ino()) == (running.dev(), running.ino()) {
        return Ok(if is_link {
            Occupant::Ours
        } else {
            Occupant::Running
        });
    }
    match has_mark(place).map_err(trouble)? {
        true => Ok(Occupant::Ours),
        false => Ok(Occupant::Stranger("another program")),
    }
}

fn has_mark(file: &Path) -> io::Result<bool> {
    let bytes = fs::read(file)?;
    Ok(bytes.starts_with(ELF) && bytes.windows(MARK.len()).any(|part| part == MARK))
}

/// # Errors
///
/// The system's; nothing has changed then.
pub(crate) fn link(program: &Path, place: &Path) -> io::Result<()> {
    put(place, |new| symlink(program, new))
}

/// # Errors
///
/// The system's; nothing has changed then.
pub(crate) fn copy(program: &Path, place: &Path) -> io::Result<()> {
    put(place, |new| fs::copy(program, new).map(|_| ()))
}

fn put(place: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = beside(place);
    let put = make(&new).and_then(|()| fs::rename(&new, place));
    if put.is_err() {
        let _ = fs::remove_file(&new);
    }
    put
}

fn beside(place: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(format!(".{}", process::id()));
    place.with_file_name(name)
}
