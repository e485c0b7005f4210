//! Events files: lines from another crate pass through a bounded queue, as in the log, into files
//! of bounded size.

mod own_file;
mod rotating_file;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::directory::make_directory_of;
use crate::guard::{LogGuard, queue_before};
use crate::line_queue::{LineQueue, QueueLimits};

use rotating_file::RotatingFile;
pub use rotating_file::{EventFileSpec, EventFileState};

/// Limits of the queue. At 100,000 tasks per second with three lines each, lines arrive faster than
/// a disk may write. The queue holds all lines of a burst of 20,000 tasks.
const EVENT_LIMITS: QueueLimits = QueueLimits {
    lines: 65_536,
    bytes: 16 << 20,
};

/// An events file. Writing to it never waits for the disk.
pub struct EventFile {
    queue: LineQueue,
    guard: LogGuard,
    state: Arc<Mutex<EventFileState>>,
}

impl EventFile {
    /// Opens the file for appending and makes it if it is missing. `head` is the first line of
    /// every file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(spec: EventFileSpec, head: Vec<u8>) -> io::Result<Self> {
        make_directory_of(&spec.path)?;
        let tell_gap = spec.tell_gap;
        let file = RotatingFile::open(spec, head)?;
        let state = file.state();
        let (queue, guard) = queue_before(file, EVENT_LIMITS, Some(tell_gap));
        Ok(Self {
            queue,
            guard,
            state,
        })
    }

    /// Queues a line. Returns false if the queue is full; then the line is dropped and counted.
    pub fn write(&self, line: &[u8]) -> bool {
        self.queue.take(line)
    }

    /// Returns the current file and what prevents lines from being written, if anything does.
    pub fn state(&self) -> EventFileState {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of lines that never reached the file.
    pub fn dropped_lines(&self) -> u64 {
        self.guard.dropped_lines()
    }

    /// The same as [`LogGuard::flush_last_lines`].
    pub fn flush_last_lines(&self, limit: Duration, limit_for_few: Duration) -> bool {
        self.guard.flush_last_lines(limit, limit_for_few)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_existing_file_is_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        fs::write(&path, "before\n").unwrap();
        let spec = EventFileSpec {
            path: path.clone(),
            own_name: "htex".into(),
            tell_gap: |lines, _| format!("lost {lines}\n").into_bytes(),
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
