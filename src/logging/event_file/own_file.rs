//! A file that no other process writes to.
//!
//! Executors of one run may be told one file (`--events` with an absolute path), and their
//! interchanges would tear each other's lines and rotate each other's files. So whoever writes a
//! file has it locked, and who finds it locked has one beside it. A file that an ended process left
//! is locked by nobody. Where the file system knows no locks, nothing is known, and the file is
//! taken as it is.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// An open file, to write behind its end.
pub(super) struct OwnFile {
    pub(super) file: File,
    /// None where nothing can be locked.
    lock: Option<Flock<File>>,
}

impl OwnFile {
    /// The first of `names` that no other process writes to, and which one that is.
    pub(super) fn open(names: &[PathBuf]) -> io::Result<(usize, Self)> {
        for (place, path) in names.iter().enumerate() {
            if let Some(own) = Self::open_one(path)? {
                return Ok((place, own));
            }
        }
        Err(io::Error::other("another interchange writes to it"))
    }

    /// None if it is another's.
    fn open_one(path: &Path) -> io::Result<Option<Self>> {
        // A pipe that nobody reads is an error, and one that is full takes nothing: neither waits.
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        // Everybody may write to a device.
        if !is_torn_by_two(file.metadata()?.file_type()) {
            return Ok(Some(Self { file, lock: None }));
        }
        // A lock is that of the open file, by whatever descriptor.
        match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self {
                file,
                lock: Some(lock),
            })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err(_) => Ok(Some(Self { file, lock: None })),
        }
    }

    /// Whether nobody else writes to it, for certain.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

fn is_torn_by_two(kind: FileType) -> bool {
    kind.is_file() || kind.is_fifo()
}

/// The name that was given, that of the executor beside it, and one that this process has alone:
/// `events.jsonl`, `events.htex.jsonl`, `events.htex.4711.jsonl`.
pub(super) fn names(path: &Path, own_name: &OsStr) -> [PathBuf; 3] {
    let with = |parts: &[&OsStr]| {
        let mut name = OsString::from(path.file_stem().unwrap_or_default());
        for part in parts.iter().copied().chain(path.extension()) {
            name.push(".");
            name.push(part);
        }
        path.with_file_name(name)
    };
    let pid = std::process::id().to_string();
    [
        path.to_owned(),
        with(&[own_name]),
        with(&[own_name, pid.as_ref()]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_stand_beside_the_one_that_was_given() {
        let pid = std::process::id();
        let shown = |path: &str| {
            names(Path::new(path), OsStr::new("htex2")).map(|name| name.display().to_string())
        };
        assert_eq!(
            shown("/a.b/events.jsonl"),
            [
                "/a.b/events.jsonl".to_owned(),
                "/a.b/events.htex2.jsonl".to_owned(),
                format!("/a.b/events.htex2.{pid}.jsonl")
            ]
        );
        assert_eq!(shown("events")[1], "events.htex2");
    }

    #[test]
    fn each_has_a_file_and_a_device_is_everybodys() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(&directory.path().join("events.jsonl"), OsStr::new("htex"));
        let first = OwnFile::open(&names).unwrap();
        let second = OwnFile::open(&names).unwrap();
        let third = OwnFile::open(&names).unwrap();
        assert_eq!([first.0, second.0, third.0], [0, 1, 2]);
        assert!(first.1.is_locked());
        assert!(OwnFile::open(&names).is_err());
        drop(first);
        assert_eq!(OwnFile::open(&names).unwrap().0, 0);
        let device = [PathBuf::from("/dev/null")];
        let both = [OwnFile::open(&device), OwnFile::open(&device)];
        assert!(both.iter().all(Result::is_ok));
    }
}
