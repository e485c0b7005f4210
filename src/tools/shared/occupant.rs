//! Whether a file is htex-interchange, under any name, or another program.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use super::child::ended_within;

/// A text that every build contains. It identifies a copy of htex-interchange of any release.
static MARK: &[u8] = b"This program is htex-interchange, whatever name its file may have.";
const ELF: &[u8] = b"\x7fELF";
const PROGRAM: &str = "htex-interchange";
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// The program at a path.
pub(crate) enum Occupant {
    Nobody,
    /// A link to htex-interchange, or a copy of it.
    Ours,
    /// The running program's own file, to which no link can lead.
    Running,
    /// Another file; the text says which kind.
    Stranger(&'static str),
}

/// The file at `place` cannot be examined.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {error}", place.display())]
pub(crate) struct Unreadable {
    place: PathBuf,
    error: io::Error,
}

/// Returns what is at `place`. `program` is this process's own file.
///
/// # Errors
/// The file at `place` cannot be examined; the text names it.
pub(crate) fn occupant_of(place: &Path, program: &Path) -> Result<Occupant, Unreadable> {
    let trouble = |error| Unreadable {
        place: place.to_owned(),
        error,
    };
    let is_link = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata.is_symlink(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(trouble(error)),
    };
    if is_link {
        // The link may lead to the former place of an earlier release.
        let target = fs::read_link(place).map_err(trouble)?;
        if target.file_name() == Some(PROGRAM.as_ref()) {
            return Ok(Occupant::Ours);
        }
    }
    let metadata = match fs::metadata(place) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(metadata) if metadata.is_dir() => return Ok(Occupant::Stranger("a directory")),
        Ok(_) => return Ok(Occupant::Stranger("not a file")),
        Err(_) => return Ok(Occupant::Stranger("a broken link")),
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

/// Runs `file --version`, and returns the release of htex-interchange that it reports. None if it
/// reports no such release.
pub(crate) fn release_of(file: &Path) -> Option<String> {
    let mut child = Command::new(file)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    ended_within(&mut child, RELEASE_WITHIN).ok()??;
    let mut line = String::new();
    child
        .stdout
        .take()?
        .take(256)
        .read_to_string(&mut line)
        .ok()?;
    let release = line.trim().strip_prefix(PROGRAM)?;
    release.strip_prefix(' ').map(str::to_owned)
}

fn has_mark(file: &Path) -> io::Result<bool> {
    let bytes = fs::read(file)?;
    Ok(bytes.starts_with(ELF) && bytes.windows(MARK.len()).any(|part| part == MARK))
}
