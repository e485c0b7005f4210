//! The queue before a file of lines, and the writer behind it.
//!
//! `tracing-appender` brings the channel and the thread. What is added here is what it lacks: a
//! bound in bytes, a count of what is still on its way (its guard can only be waited for up to
//! 1.1 s, and prints to stdout when that fails), and a file that loses lines on a full disk
//! instead of reporting errors to nobody.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;

/// How much may be on its way to a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// The log's; a burst of dispatches at DEBUG stays below it.
pub(crate) const LOG_LIMITS: QueueLimits = QueueLimits {
    lines: 16_384,
    bytes: 8 << 20,
};
/// The file is written in pieces of about this size while lines keep coming.
const WRITE_BYTES: usize = 64 << 10;

/// What is on its way to the file, and what was lost on the way.
#[derive(Debug)]
pub(crate) struct Backlog {
    limits: QueueLimits,
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Backlog {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            lines: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Lines that were taken and are neither written nor given up.
    pub(crate) fn waiting_lines(&self) -> usize {
        self.lines.load(Ordering::Acquire)
    }

    /// Lines that will never be in the file.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes a line of `bytes` in, or counts it as dropped.
    fn admit(&self, bytes: usize) -> bool {
        let lines_before = self.lines.fetch_add(1, Ordering::AcqRel);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = lines_before < self.limits.lines
            && bytes_before.saturating_add(bytes) <= self.limits.bytes;
        if !fits {
            self.settle(1, bytes);
            self.drop_lines(1);
        }
        fits
    }

    fn settle(&self, lines: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.lines.fetch_sub(lines, Ordering::AcqRel);
    }

    fn drop_lines(&self, lines: usize) {
        self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// The near end of the queue: what the formatter writes lines to.
pub(crate) struct LineQueue {
    channel: NonBlocking,
    backlog: Arc<Backlog>,
}

impl LineQueue {
    pub(crate) fn new(channel: NonBlocking, backlog: Arc<Backlog>) -> Self {
        Self { channel, backlog }
    }

    /// Takes a line, or counts it as dropped. False in the latter case.
    pub(crate) fn take(&self, line: &[u8]) -> bool {
        self.backlog.admit(line.len()) && self.channel.clone().write_all(line).is_ok()
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = QueuedLine<'a>;

    fn make_writer(&'a self) -> QueuedLine<'a> {
        QueuedLine(self)
    }
}

/// Takes one line: the formatter hands it over in one piece.
pub(crate) struct QueuedLine<'a>(&'a LineQueue);

impl Write for QueuedLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The far end: gathers lines, writes them, and never fails.
pub(crate) struct GatheringWriter<W> {
    out: W,
    backlog: Arc<Backlog>,
    gathered: Vec<u8>,
    /// Where each gathered line ends.
    ends: Vec<usize>,
    /// The last write broke off inside a line, and the next must not continue it.
    torn: bool,
}

impl<W: Write> GatheringWriter<W> {
    pub(crate) fn new(out: W, backlog: Arc<Backlog>) -> Self {
        Self {
            out,
            backlog,
            gathered: Vec::new(),
            ends: Vec::new(),
            torn: false,
        }
    }

    /// Writes what it can. A full disk costs the rest of the gathered lines and no more: the
    /// next lines are tried again, as space may come back.
    fn write_gathered(&mut self) {
        if self.torn && self.out.write_all(b"\n").is_ok() {
            self.torn = false;
        }
        let mut written = 0;
        while !self.torn && written < self.gathered.len() {
            match self.out.write(&self.gathered[written..]) {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let whole = self.ends.partition_point(|&end| end <= written);
        self.torn |= written > 0 && self.ends.binary_search(&written).is_err();
        self.backlog.drop_lines(self.ends.len() - whole);
        self.backlog.settle(self.ends.len(), self.gathered.len());
        self.gathered.clear();
        self.ends.clear();
    }
}

impl<W: Write> Write for GatheringWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(line);
        self.ends.push(self.gathered.len());
        if self.gathered.len() >= WRITE_BYTES {
            self.write_gathered();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.ends.is_empty() {
            self.write_gathered();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let backlog = Backlog::new(LOG_LIMITS);
        for _ in 0..LOG_LIMITS.lines {
            assert!(backlog.admit(10));
        }
        assert!(!backlog.admit(10));
        assert_eq!(
            (backlog.waiting_lines(), backlog.dropped()),
            (LOG_LIMITS.lines, 1)
        );
        backlog.settle(1, 10);
        assert!(backlog.admit(10));
    }

    #[test]
    fn few_lines_of_many_bytes_fill_it_too() {
        let backlog = Backlog::new(LOG_LIMITS);
        assert!(backlog.admit(LOG_LIMITS.bytes));
        assert!(!backlog.admit(1));
        backlog.settle(1, LOG_LIMITS.bytes);
        assert!(backlog.admit(1));
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (1, 1));
    }

    #[test]
    fn a_full_disk_costs_its_lines_and_tears_none_of_the_next() {
        let backlog = Arc::new(Backlog::new(LOG_LIMITS));
        let mut file = GatheringWriter::new(
            Disk {
                free: 12,
                content: Vec::new(),
            },
            Arc::clone(&backlog),
        );
        for line in ["first\n", "second\n", "third\n"] {
            assert!(backlog.admit(line.len()));
            file.write_all(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 2));

        assert!(backlog.admit(7));
        file.write_all(b"fourth\n").unwrap();
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 3));

        file.out.free = 100;
        assert!(backlog.admit(6));
        file.write_all(b"fifth\n").unwrap();
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 3));
        assert_eq!(
            String::from_utf8_lossy(&file.out.content),
            "first\nsecond\nfifth\n"
        );
    }

    #[test]
    fn a_long_run_of_lines_is_written_before_it_ends() {
        let backlog = Arc::new(Backlog::new(LOG_LIMITS));
        let mut file = GatheringWriter::new(
            Disk {
                free: usize::MAX,
                content: Vec::new(),
            },
            backlog.clone(),
        );
        let line = [b'x'; 1024];
        for _ in 0..64 {
            assert!(backlog.admit(line.len()));
            file.write_all(&line).unwrap();
        }
        assert_eq!(
            (file.out.content.len(), backlog.waiting_lines()),
            (64 * 1024, 0)
        );
    }

    /// Has room for `free` bytes.
    struct Disk {
        free: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.free);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.free -= taken;
            self.content.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
