//! Reads files of unknown kind as bounded text, and finds executables on PATH.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Reads at most `limit` bytes of a regular file as text. Other kinds of files are not opened,
/// because they might block.
pub(super) fn read_text(path: &Path, limit: u64) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(limit)
        .read_to_end(&mut content)
        .ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

/// Returns the executable files with this name, in the order of PATH. An empty entry of PATH means
/// the current directory.
pub fn candidates<'a>(
    path: &'a OsStr,
    name: &'a str,
) -> impl Iterator<Item = (PathBuf, Metadata)> + use<'a> {
    std::env::split_paths(path).filter_map(move |directory| {
        let directory = if directory.as_os_str().is_empty() {
            ".".into()
        } else {
            directory
        };
        let file = directory.join(name);
        let metadata = fs::metadata(&file).ok()?;
        let runs = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        runs.then_some((file, metadata))
    })
}
