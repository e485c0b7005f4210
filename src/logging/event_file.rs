//! A file of events: lines that somebody else made, behind a bounded queue of their own as the
//! log's are, in files of a bounded size.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::directory::make_directory_of;
use crate::guard::{LogGuard, queue_before};
use crate::line_queue::{LineQueue, QueueLimits};

/// Three lines a task, at a hundred thousand tasks a second, come faster than a disk may write; a
/// burst of twenty thousand tasks is taken whole.
const EVENT_LIMITS: QueueLimits = QueueLimits {
    lines: 65_536,
    bytes: 16 << 20,
};

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFileSpec {
    /// The newest file. Older ones are called `<path>.1` (newer) and so on.
    pub path: PathBuf,
    /// Another file is begun when one has so many.
    pub bytes_max: u64,
    /// So many older files are kept.
    pub kept: u32,
}

/// Takes lines without waiting for the disk.
pub struct EventFile {
    queue: LineQueue,
    guard: LogGuard,
}

impl EventFile {
    /// Appends to the file, and makes it if it is missing. `head` is the first line of every file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(spec: EventFileSpec, head: Vec<u8>) -> io::Result<Self> {
        make_directory_of(&spec.path)?;
        let file = RotatingFile::open(spec, head)?;
        let (queue, guard) = queue_before(file, EVENT_LIMITS);
        Ok(Self { queue, guard })
    }

    /// Takes a line. False if there is no room for it: it is lost, and counted.
    pub fn write(&self, line: &[u8]) -> bool {
        self.queue.take(line)
    }

    /// Lines that never reached the file.
    pub fn dropped_lines(&self) -> u64 {
        self.guard.dropped_lines()
    }

    /// As [`LogGuard::flush_last_lines`].
    pub fn flush_last_lines(&self, limit: Duration, limit_for_few: Duration) -> bool {
        self.guard.flush_last_lines(limit, limit_for_few)
    }
}

/// Files of a bounded size, one after another.
struct RotatingFile {
    spec: EventFileSpec,
    head: Vec<u8>,
    file: File,
    written: u64,
    is_between_lines: bool,
}

impl RotatingFile {
    fn open(spec: EventFileSpec, head: Vec<u8>) -> io::Result<Self> {
        let mut file = append_to(&spec.path)?;
        let before = file.metadata()?.len();
        file.write_all(&head)?;
        Ok(Self {
            written: before + head.len() as u64,
            spec,
            head,
            file,
            is_between_lines: true,
        })
    }

    /// The names of older files move on by one, and the last one goes.
    fn begin_another(&mut self) -> io::Result<()> {
        for number in (1..self.spec.kept).rev() {
            let (from, to) = (self.older(number), self.older(number + 1));
            if let Err(error) = fs::rename(from, to)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        if self.spec.kept > 0 {
            fs::rename(&self.spec.path, self.older(1))?;
        } else {
            fs::remove_file(&self.spec.path)?;
        }
        self.file = append_to(&self.spec.path)?;
        self.file.write_all(&self.head)?;
        self.written = self.head.len() as u64;
        Ok(())
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.spec.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

impl Write for RotatingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let has_lines = self.written > self.head.len() as u64;
        let is_full = self.written.saturating_add(lines.len() as u64) > self.spec.bytes_max;
        if self.is_between_lines && has_lines && is_full {
            self.begin_another()?;
        }
        let count = self.file.write(lines)?;
        self.written += count as u64;
        self.is_between_lines = lines[..count].ends_with(b"\n");
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // A pipe that nobody reads is an error, and one that is full takes nothing: neither waits.
    OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let spec = EventFileSpec {
            path: path.clone(),
            bytes_max: 20,
            kept: 2,
        };
        let mut file = RotatingFile::open(spec, b"head\n".to_vec()).unwrap();
        for number in 0..10 {
            let line = format!("line {number}\n");
            assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
        }
        let read = |suffix: &str| {
            let name = format!("{}{suffix}", path.display());
            fs::read_to_string(name).unwrap_or_else(|error| error.kind().to_string())
        };
        assert_eq!(read(""), "head\nline 8\nline 9\n");
        assert_eq!(read(".1"), "head\nline 6\nline 7\n");
        assert_eq!(read(".2"), "head\nline 4\nline 5\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_is_there_is_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        fs::write(&path, "before\n").unwrap();
        let spec = EventFileSpec {
            path: path.clone(),
            bytes_max: 1000,
            kept: 2,
        };
        let file = EventFile::open(spec, b"head\n".to_vec()).unwrap();
        assert!(file.write(b"line\n"));
        let long = Duration::from_secs(20);
        assert!(file.flush_last_lines(long, long));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nhead\nline\n");
        assert_eq!(file.dropped_lines(), 0);
    }
}
