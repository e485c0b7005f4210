//! Makes the directories of logs and events files.

use std::path::Path;
use std::{fs, io};

/// Makes the directory of a file if it is missing.
pub(crate) fn make_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => fs::create_dir_all(directory),
        None => Ok(()),
    }
}
