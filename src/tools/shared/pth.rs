//! The two files by which a Python starts this program where it would start Parsl's own
//! interchange: a line that Python reads at each start, and the module that this line loads when
//! the arguments may be those of an interchange.

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
/// Of both files.
const STEM: &str = "htex_interchange_enabled";
/// What tells our files from somebody else's, whatever their release.
const MARK_OF_LINE: &str = STEM;
const MARK_OF_MODULE: &str = "`htex-interchange enable` has put this file here";
/// Where the module has the path of the program.
const BINARY_BEGINS: &str = "BINARY = b\"";
const BINARY_ENDS: &str = "\"";
const PLACEHOLDER: &str = "@BINARY@";

/// The two files in one directory of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    directory: PathBuf,
}

/// What the two files of a directory do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enabled {
    pub(crate) pair: Pair,
    /// The program that is started.
    pub(crate) binary: PathBuf,
    /// Whether this release would write the same.
    pub(crate) is_current: bool,
}

/// Why the files are as they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotChanged {
    #[error("{} is not ours; it stays", .0.display())]
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

    /// The file that Python reads at each start.
    pub(crate) fn line(&self) -> PathBuf {
        self.directory.join(format!("{STEM}.pth"))
    }

    fn module(&self) -> PathBuf {
        self.directory.join(format!("{STEM}.py"))
    }

    /// What is there, if both are there and ours.
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

    /// Both, for `binary`. A Python that starts meanwhile never finds the line without its module.
    ///
    /// # Errors
    /// Somebody else's file is there, or the system's.
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

    /// Takes away what is there; false if nothing is.
    ///
    /// # Errors
    /// Somebody else's file is there, or the system's.
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

    /// What Python has made of the module. It looks at seconds and sizes alone to see that it is
    /// out of date.
    fn remove_compiled(&self) {
        let directory = self.directory.join("__pycache__");
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(format!("{STEM}.").as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // Only if there was nothing else in it.
        let _ = fs::remove_dir(directory);
    }
}

/// False if nothing is there.
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

/// The inside of Python's `b"…"`.
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
    fn what_was_put_is_renewed_and_removed_to_the_last_file() {
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
    fn what_is_not_ours_stays() {
        let place = tempfile::tempdir().unwrap();
        let pair = Pair::below(place.path());
        for file in [pair.line(), pair.module()] {
            fs::write(&file, "import os\n").unwrap();
            let before = names(place.path());
            let told = pair.put(Path::new("/one")).unwrap_err().to_string();
            assert_eq!(told, format!("{} is not ours; it stays", file.display()));
            pair.remove().unwrap_err();
            assert_eq!(names(place.path()), before);
            assert_eq!(fs::read_to_string(&file).unwrap(), "import os\n");
            fs::remove_file(&file).unwrap();
        }
    }
}
