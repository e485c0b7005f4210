//! A file that no other process writes to.
//!
//! The executors of one run may share one file name (`--events` with an absolute path). Their
//! interchanges would then damage each other's lines and rotate each other's files. So each process
//! locks the file that it writes, and uses another name if it finds the file locked. The lock ends
//! with its process. If the file system does not support locks, the file is used without one.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// An open file for appending.
pub(super) struct OwnFile {
    pub(super) file: File,
    /// The lock; None where the file cannot be locked.
    lock: Option<Flock<File>>,
}

impl OwnFile {
    /// Opens the first of `names` that no other process writes to. Returns its index and the file.
    pub(super) fn open(names: &[PathBuf]) -> io::Result<(usize, Self)> {
        for (place, path) in names.iter().enumerate() {
            if let Some(own) = Self::open_one(path)? {
                return Ok((place, own));
            }
        }
        Err(io::Error::other("another interchange writes to it"))
    }

    /// Opens a file; returns None if another process has locked it.
    fn open_one(path: &Path) -> io::Result<Option<Self>> {
        // With O_NONBLOCK, opening a pipe without a reader fails and writing to a full pipe fails,
        // instead of blocking.
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        // Several processes may write to a device without damage.
        if !is_torn_by_two(file.metadata()?.file_type()) {
            return Ok(Some(Self { file, lock: None }));
        }
        // The lock belongs to the open file, so it holds for both descriptors.
        match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self {
                file,
                lock: Some(lock),
            })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err(_) => Ok(Some(Self { file, lock: None })),
        }
    }

    /// Whether a lock guarantees that no other interchange writes to the file.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

fn is_torn_by_two(kind: FileType) -> bool {
    kind.is_file() || kind.is_fifo()
}

/// Returns the given name, a name with the executor's label, and a name that is unique to this
/// process: `events.jsonl`, `events.htex.jsonl`, `events.htex.4711.jsonl`.
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
    fn own_names_derive_from_the_given_name() {
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
    fn each_process_has_its_file_but_a_device_is_shared() {
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
