//! A file of events: lines that somebody else made, behind a bounded queue of their own as the
//! log's are, in files of a bounded size.

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

/// Three lines a task, at a hundred thousand tasks a second, come faster than a disk may write; a
/// burst of twenty thousand tasks is taken whole.
const EVENT_LIMITS: QueueLimits = QueueLimits {
    lines: 65_536,
    bytes: 16 << 20,
};

/// Takes lines without waiting for the disk.
pub struct EventFile {
    queue: LineQueue,
    guard: LogGuard,
    state: Arc<Mutex<EventFileState>>,
}

impl EventFile {
    /// Appends to the file, and makes it if it is missing. `head` is the first line of every file.
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

    /// Takes a line. False if there is no room for it: it is lost, and counted.
    pub fn write(&self, line: &[u8]) -> bool {
        self.queue.take(line)
    }

    /// Where lines go, and what hinders them.
    pub fn state(&self) -> EventFileState {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_gone_on_with() {
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
