//! An interchange's log as a file: its names, its beginning and end, and the process that has it
//! open.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::process::command_line;

/// Names that Parsl's `FileLogging` and `JSONLogging` give to the log.
pub(crate) const NAMES: [&str; 2] = ["interchange.log", "interchange.jsonlog"];

/// Whether a file has the name of an interchange's log.
pub(crate) fn is_log(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    NAMES.iter().any(|known| name == *known)
}

/// Returns the directory of the log that process `pid` has open. Reads `/proc` directly, because
/// procfs replaces bytes that are not UTF-8.
pub(crate) fn logdir_of(pid: u32) -> Option<PathBuf> {
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    open.find_map(|descriptor| {
        let file = fs::read_link(descriptor.path()).ok()?;
        file.parent().filter(|_| is_log(&file)).map(Path::to_owned)
    })
}

/// Where the process is that wrote a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The process runs on this machine: it has the log open.
    RunsHere,
    /// Another user's process with this id runs on this machine. Its open files are not visible.
    Hidden,
    /// The process ran on this machine and has ended.
    WasHere,
    /// The process was started on the named machine, which is not this one.
    Elsewhere(String),
    /// The process does not run here, and the log does not say where it was started.
    Unknown,
}

impl Writer {
    /// Locates the process that wrote the log in `logdir`. The log's lines name its id `pid` and
    /// perhaps its machine `host`. An id alone proves nothing, because other machines and other
    /// namespaces have the same ids.
    pub(crate) fn of(logdir: &Path, pid: Option<u32>, host: Option<String>) -> Self {
        let logdir = fs::canonicalize(logdir).ok();
        let has_open = |pid| logdir_of(pid).and_then(|open| fs::canonicalize(open).ok());
        if logdir.is_some() && pid.and_then(has_open) == logdir {
            return Self::RunsHere;
        }
        match host {
            Some(host) if host != here() => Self::Elsewhere(host),
            _ if pid.is_some_and(is_hidden) => Self::Hidden,
            Some(_) => Self::WasHere,
            None => Self::Unknown,
        }
    }
}

fn is_hidden(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        && command_line(pid).contains("interchange")
}

/// Returns the name of this machine.
pub(crate) fn here() -> String {
    let here = rustix::system::uname();
    here.nodename().to_string_lossy().into_owned()
}

/// Returns the first and the last bytes of a file, and whether these are the whole file.
pub(crate) fn ends_of(path: &Path, head: u64, tail: u64) -> io::Result<(String, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= head + tail {
        file.take(head + tail).read_to_end(&mut bytes)?;
        return Ok((String::from_utf8_lossy(&bytes).into_owned(), true));
    }
    (&mut file).take(head).read_to_end(&mut bytes)?;
    bytes.push(b'\n');
    file.seek(SeekFrom::Start(length - tail))?;
    file.take(tail).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), false))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_long_file_has_a_beginning_and_an_end() {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), "first\nmiddle middle\nlast\n").unwrap();
        assert!(ends_of(place.path(), 11, 14).unwrap().1);
        let (text, is_whole) = ends_of(place.path(), 6, 5).unwrap();
        assert_eq!((text.as_str(), is_whole), ("first\n\nlast\n", false));
    }

    #[test]
    fn the_log_directory_is_that_of_the_open_log() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let place = place.join(OsStr::from_bytes(b"Zo\xeb"));
        fs::create_dir(&place).unwrap();
        let log = File::create(place.join("interchange.jsonlog")).unwrap();
        let own = std::process::id();
        assert_eq!(logdir_of(own), Some(place.clone()));
        let writer = |pid, host: &str| Writer::of(&place, pid, Some(host.to_owned()));
        assert_eq!(writer(Some(own), &here()), Writer::RunsHere);
        assert_eq!(writer(Some(own), "other"), Writer::RunsHere);
        assert_eq!(writer(Some(1), &here()), Writer::WasHere);
        let elsewhere = Writer::of(&place.join(".."), Some(own), Some("login2".to_owned()));
        assert_eq!(elsewhere, Writer::Elsewhere("login2".to_owned()));
        drop(log);
        assert_eq!(writer(Some(own), &here()), Writer::WasHere);
        assert_eq!(writer(None, "login2"), elsewhere);
        assert_eq!(Writer::of(&place, Some(own), None), Writer::Unknown);
        assert_eq!(logdir_of(std::process::id()), None);
        assert_eq!(logdir_of(u32::MAX), None);
    }
}
