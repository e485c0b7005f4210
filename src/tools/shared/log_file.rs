//! An interchange's log as a file: its names, its ends, and the process that has it open.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::process::command_line;

/// By Parsl's `FileLogging` and `JSONLogging`.
pub(crate) const NAMES: [&str; 2] = ["interchange.log", "interchange.jsonlog"];

/// Whether it is an interchange's log, by its name.
pub(crate) fn is_log(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    NAMES.iter().any(|known| name == *known)
}

/// The directory that process `pid` logs into: it has its log open. Read by ourselves: procfs
/// replaces what is not UTF-8.
pub(crate) fn logdir_of(pid: u32) -> Option<PathBuf> {
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    open.find_map(|descriptor| {
        let file = fs::read_link(descriptor.path()).ok()?;
        file.parent().filter(|_| is_log(&file)).map(Path::to_owned)
    })
}

/// Where the process is that a log is of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// It has the log open.
    RunsHere,
    /// A process of its number runs here, as another user, whose files are not to be seen.
    Hidden,
    /// It ran on this machine, and does not any more.
    WasHere,
    /// It was started on another machine.
    Elsewhere(String),
    /// It does not run here, and the log does not tell where it was started.
    Unknown,
}

impl Writer {
    /// That of the log in `logdir`, whose lines name process `pid` and, if they name any, the
    /// machine `host`. A number alone tells nothing: other machines and other namespaces have the
    /// same ones.
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

/// This machine, by its own name.
pub(crate) fn here() -> String {
    let here = rustix::system::uname();
    here.nodename().to_string_lossy().into_owned()
}

/// The first and the last bytes of a file, and whether that is all of it.
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
    fn who_has_a_log_open_logs_into_its_directory() {
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
