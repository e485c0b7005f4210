//! The two files by which a Python starts this program instead of Parsl's own interchange. The
//! `.pth` file has a line that Python reads at each start. That line loads the second file, a
//! module, if the arguments may be those of an interchange.

mod site;

pub(crate) use site::Site;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::shared::put;

const LINE: &str = include_str!("pth/htex_interchange_enabled.pth");
const MODULE: &str = include_str!("pth/htex_interchange_enabled.py");
/// The name of both files without their extensions.
const STEM: &str = "htex_interchange_enabled";
/// Identifies htex-interchange's files of any release.
const MARK_OF_LINE: &str = STEM;
const MARK_OF_MODULE: &str = "`htex-interchange enable` has put this file here";
/// The beginning of the module's line with the program's path.
const BINARY_BEGINS: &str = "BINARY = b\"";
const BINARY_ENDS: &str = "\"";
const PLACEHOLDER: &str = "@BINARY@";

/// The two files in one directory of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    directory: PathBuf,
}

/// The effect of the two files in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enabled {
    pub(crate) pair: Pair,
    /// The program that is started instead of Parsl's interchange.
    pub(crate) binary: PathBuf,
    /// Whether this release would write the same files.
    pub(crate) is_current: bool,
}

/// Why the files were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotChanged {
    #[error("{} was not made by htex-interchange, and is kept", .0.display())]
    Stranger(PathBuf),
    #[error("{} cannot be written: {error}", place.display())]
    NotWritten { place: PathBuf, error: io::Error },
    #[error("{} cannot be removed: {error}", place.display())]
    NotRemoved { place: PathBuf, error: io::Error },
}

impl Pair {
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Returns the path of the file that Python reads at each start.
    pub(crate) fn line(&self) -> PathBuf {
        self.directory.join(format!("{STEM}.pth"))
    }

    fn module(&self) -> PathBuf {
        self.directory.join(format!("{STEM}.py"))
    }

    /// Reads the files. Returns None unless both exist and are htex-interchange's.
    pub(crate) fn read(&self) -> Option<Enabled> {
        let line = fs::read_to_string(self.line()).ok()?;
        let module = fs::read_to_string(self.module()).ok()?;
        let binary = binary_of(&module).filter(|_| line.contains(MARK_OF_LINE))?;
        Some(Enabled {
            pair: self.clone(),
            is_current: line == LINE && module == module_for(&binary),
            binary,
        })
    }

    /// Writes both files for `binary`. A Python that starts at the same time never finds the line
    /// without its module.
    ///
    /// # Errors
    /// A file of that name is not htex-interchange's, or a file cannot be written.
    pub(crate) fn put(&self, binary: &Path) -> Result<(), NotChanged> {
        let not_written = |place: &Path| {
            let place = place.to_owned();
            |error| NotChanged::NotWritten { place, error }
        };
        let (line, module) = (self.line(), self.module());
        is_ours_or_nobodys(&line, MARK_OF_LINE)?;
        is_ours_or_nobodys(&module, MARK_OF_MODULE)?;
        fs::create_dir_all(&self.directory).map_err(not_written(&self.directory))?;
        put::text(&module_for(binary), &module).map_err(not_written(&module))?;
        self.remove_compiled();
        put::text(LINE, &line).map_err(not_written(&line))
    }

    /// Removes the files. Returns false if there were none.
    ///
    /// # Errors
    /// A file of that name is not htex-interchange's, or cannot be removed.
    pub(crate) fn remove(&self) -> Result<bool, NotChanged> {
        let (line, module) = (self.line(), self.module());
        let mut are_there = false;
        for (place, mark) in [(line, MARK_OF_LINE), (module, MARK_OF_MODULE)] {
            if is_ours_or_nobodys(&place, mark)? {
                fs::remove_file(&place).map_err(|error| NotChanged::NotRemoved { place, error })?;
                are_there = true;
            }
        }
        self.remove_compiled();
        Ok(are_there)
    }

    /// Removes the module's compiled form. Python compares only seconds and sizes to decide whether
    /// this form is out of date.
    fn remove_compiled(&self) {
        let directory = self.directory.join("__pycache__");
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(format!("{STEM}.").as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // This fails, as intended, if the directory has other files.
        let _ = fs::remove_dir(directory);
    }
}

/// Returns whether the file exists. Fails if the file is not htex-interchange's.
fn is_ours_or_nobodys(place: &Path, mark: &str) -> Result<bool, NotChanged> {
    if fs::symlink_metadata(place).is_err() {
        return Ok(false);
    }
    match fs::read_to_string(place) {
        Ok(text) if text.contains(mark) => Ok(true),
        Ok(_) | Err(_) => Err(NotChanged::Stranger(place.to_owned())),
    }
}

fn module_for(binary: &Path) -> String {
    MODULE.replacen(PLACEHOLDER, &literal(binary), 1)
}

/// Returns the path as the inside of Python's `b"…"`.
fn literal(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' | ..b' ' | 0x7f.. => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn binary_of(module: &str) -> Option<PathBuf> {
    let line = module
        .lines()
        .find_map(|line| line.strip_prefix(BINARY_BEGINS))?;
    let mut parts = line.strip_suffix(BINARY_ENDS)?.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_path_is_read_as_it_was_written() {
        for path in [
            &b"/a/b"[..],
            b"/a b/\"c\"\\x41'",
            b"/Zo\xeb\n",
            b"/\xc3\xab",
        ] {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            let module = module_for(&path);
            assert!(module.is_ascii() && !module.contains(PLACEHOLDER));
            assert_eq!(binary_of(&module), Some(path));
        }
    }

    #[test]
    fn files_are_renewed_and_removed_completely() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("lib/site-packages");
        let pair = Pair::below(&directory);
        assert_eq!((pair.read(), pair.remove().unwrap()), (None, false));
        for binary in ["/one", "/other"] {
            pair.put(Path::new(binary)).unwrap();
            let enabled = pair.read().unwrap();
            assert_eq!(enabled.binary, Path::new(binary));
            assert!(enabled.is_current);
            let compiled = directory.join("__pycache__");
            fs::create_dir_all(&compiled).unwrap();
            fs::write(compiled.join(format!("{STEM}.cpython-311.pyc")), "").unwrap();
        }
        fs::write(
            pair.module(),
            format!("\"\"\"{MARK_OF_MODULE}\"\"\"\nBINARY = b\"/old\"\n"),
        )
        .unwrap();
        assert!(!pair.read().unwrap().is_current);
        pair.put(Path::new("/one")).unwrap();
        assert!(pair.read().unwrap().is_current);
        assert!(pair.remove().unwrap());
        assert_eq!(names(&directory), Vec::<OsString>::new());
    }

    #[test]
    fn files_of_others_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let pair = Pair::below(place.path());
        for file in [pair.line(), pair.module()] {
            fs::write(&file, "import os\n").unwrap();
            let before = names(place.path());
            let told = pair.put(Path::new("/one")).unwrap_err().to_string();
            let kept = "was not made by htex-interchange, and is kept";
            assert_eq!(told, format!("{} {kept}", file.display()));
            pair.remove().unwrap_err();
            assert_eq!(names(place.path()), before);
            assert_eq!(fs::read_to_string(&file).unwrap(), "import os\n");
            fs::remove_file(&file).unwrap();
        }
    }
}
