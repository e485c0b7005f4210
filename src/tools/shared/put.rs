//! Puts files in place: each is written under another name and then renamed, so that a program that
//! starts at the same time finds either the old or the new file.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io, process};

/// Makes `place` a link to `program`.
///
/// # Errors
/// The system's; nothing has changed then.
pub(crate) fn link(program: &Path, place: &Path) -> io::Result<()> {
    put(place, |new| symlink(program, new))
}

/// Makes `place` a copy of `program`.
///
/// # Errors
/// The system's; nothing has changed then.
pub(crate) fn copy(program: &Path, place: &Path) -> io::Result<()> {
    put(place, |new| fs::copy(program, new).map(|_| ()))
}

/// Makes `place` a file with this text.
///
/// # Errors
/// The system's; nothing has changed then.
pub(crate) fn text(text: &str, place: &Path) -> io::Result<()> {
    put(place, |new| fs::write(new, text))
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
