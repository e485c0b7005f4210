//! An interchange's log as a file: its names, its ends, and the process that has it open.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

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
        assert_eq!(logdir_of(std::process::id()), Some(place));
        drop(log);
        assert_eq!(logdir_of(std::process::id()), None);
        assert_eq!(logdir_of(u32::MAX), None);
    }
}
