//! The queue before a file of lines, and the writer behind it.
//!
//! `tracing-appender` provides the channel and the thread. This module adds what it lacks: a limit
//! in bytes, a count of the queued lines, and a file that loses lines on a full disk instead of
//! reporting errors that no code handles. The count is needed because the guard of
//! `tracing-appender` waits for 1.1 s at most, and prints to stdout if it fails.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;

/// Limits of the lines that are queued for a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// Limits of the log's queue; a burst of dispatches at DEBUG stays below them.
pub(crate) const LOG_LIMITS: QueueLimits = QueueLimits {
    lines: 16_384,
    bytes: 8 << 20,
};
/// Size of the pieces in which the file is written while lines keep arriving.
const WRITE_BYTES: usize = 64 << 10;

/// Counts of the lines that are queued and that were dropped.
#[derive(Debug)]
pub(crate) struct Backlog {
    limits: QueueLimits,
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
    /// Dropped lines that found the queue full since the last line was accepted.
    refused: AtomicU64,
}

impl Backlog {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            lines: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Returns the number of lines that were accepted and are neither written nor dropped yet.
    pub(crate) fn waiting_lines(&self) -> usize {
        self.lines.load(Ordering::Acquire)
    }

    /// Returns the number of lines that will never be in the file.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Accepts a line of this many bytes, or counts it as dropped and returns false.
    fn admit(&self, bytes: usize) -> bool {
        let lines_before = self.lines.fetch_add(1, Ordering::AcqRel);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = lines_before < self.limits.lines
            && bytes_before.saturating_add(bytes) <= self.limits.bytes;
        if !fits {
            self.settle(1, bytes);
            self.drop_lines(1);
            self.refused.fetch_add(1, Ordering::Relaxed);
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

/// The front of the queue, to which the formatter writes lines.
pub(crate) struct LineQueue {
    channel: NonBlocking,
    backlog: Arc<Backlog>,
    /// Whether the writer learns how many lines were dropped before each line.
    tells_gaps: bool,
}

impl LineQueue {
    pub(crate) fn new(channel: NonBlocking, backlog: Arc<Backlog>, tells_gaps: bool) -> Self {
        Self {
            channel,
            backlog,
            tells_gaps,
        }
    }

    /// Queues a line. Returns false if the line is dropped and counted.
    pub(crate) fn take(&self, line: &[u8]) -> bool {
        if !self.backlog.admit(line.len()) {
            return false;
        }
        let refused = match self.tells_gaps {
            true => self.backlog.refused.swap(0, Ordering::Relaxed),
            false => 0,
        };
        let mut channel = self.channel.clone();
        match refused {
            0 => channel.write_all(line).is_ok(),
            _ => channel.write_all(&behind_gap(refused, line)).is_ok(),
        }
    }
}

/// Marks a message with a count of dropped lines; no line begins with this byte.
const GAP_MARK: u8 = 0;

/// Makes a message of a line and the number of lines that were dropped directly before it.
fn behind_gap(refused: u64, line: &[u8]) -> Vec<u8> {
    let mut message = vec![GAP_MARK];
    message.extend_from_slice(&refused.to_le_bytes());
    message.extend_from_slice(line);
    message
}

fn split_gap(message: &[u8]) -> (u64, &[u8]) {
    let marked = message
        .strip_prefix(&[GAP_MARK])
        .and_then(<[u8]>::split_first_chunk);
    match marked {
        Some((refused, line)) => (u64::from_le_bytes(*refused), line),
        None => (0, message),
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = QueuedLine<'a>;

    fn make_writer(&'a self) -> QueuedLine<'a> {
        QueuedLine(self)
    }
}

/// Queues one line: the formatter writes each line with a single call.
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

/// Makes the line that reports how many lines were dropped. The second argument is the line after
/// the gap.
pub type TellGap = fn(u64, &[u8]) -> Vec<u8>;

/// A line in the buffer of the writer.
struct Piece {
    /// The line's end in the buffer.
    end: usize,
    bytes: usize,
    /// The number of dropped lines that this line reports; None for a line that was queued.
    tells_of: Option<u64>,
}

/// The back of the queue: buffers lines, writes them, and never fails.
pub(crate) struct GatheringWriter<W> {
    out: W,
    backlog: Arc<Backlog>,
    gathered: Vec<u8>,
    /// The lines in the buffer, in order.
    pieces: Vec<Piece>,
    /// Makes a line that reports dropped lines; None if they are not reported.
    tell_gap: Option<TellGap>,
    /// Number of dropped lines that no line in the file reports.
    untold: u64,
    /// Whether the last write ended inside a line, so that the next line must not continue it.
    torn: bool,
}

impl<W: Write> GatheringWriter<W> {
    pub(crate) fn new(out: W, backlog: Arc<Backlog>, tell_gap: Option<TellGap>) -> Self {
        Self {
            out,
            backlog,
            gathered: Vec::new(),
            pieces: Vec::new(),
            tell_gap,
            untold: 0,
            torn: false,
        }
    }

    fn gather(&mut self, line: &[u8]) {
        if let Some(tell_gap) = self.tell_gap.filter(|_| self.untold > 0) {
            let untold = std::mem::take(&mut self.untold);
            self.push(&tell_gap(untold, line), Some(untold));
        }
        self.push(line, None);
    }

    fn push(&mut self, line: &[u8], tells_of: Option<u64>) {
        self.gathered.extend_from_slice(line);
        self.pieces.push(Piece {
            end: self.gathered.len(),
            bytes: line.len(),
            tells_of,
        });
    }

    /// Writes as much of the buffer as possible. A full disk loses the rest of the buffer only: the
    /// next lines are tried again, because there may be space again.
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
        let is_at_end = self
            .pieces
            .binary_search_by_key(&written, |piece| piece.end)
            .is_ok();
        self.torn |= written > 0 && !is_at_end;
        // A line feed is written before the next line. So a line that lacks only its line feed is
        // complete.
        let whole = self
            .pieces
            .partition_point(|piece| piece.end <= written + 1);
        self.lose_from(whole);
        let lines = self.pieces.iter().filter(|piece| piece.tells_of.is_none());
        let (count, bytes) = lines.fold((0, 0), |(count, bytes), line| {
            (count + 1, bytes + line.bytes)
        });
        self.backlog.settle(count, bytes);
        self.gathered.clear();
        self.pieces.clear();
    }

    /// Counts the lines that are not in the file. A lost line that reported others leaves these
    /// unreported.
    fn lose_from(&mut self, first: usize) {
        let mut dropped = 0;
        for piece in &self.pieces[first..] {
            self.untold += piece.tells_of.unwrap_or(1);
            dropped += usize::from(piece.tells_of.is_none());
        }
        self.backlog.drop_lines(dropped);
    }
}

impl<W: Write> Write for GatheringWriter<W> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let (refused, line) = match self.tell_gap {
            Some(_) => split_gap(message),
            None => (0, message),
        };
        self.untold += refused;
        self.gather(line);
        if self.gathered.len() >= WRITE_BYTES {
            self.write_gathered();
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.pieces.is_empty() {
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
    fn few_large_lines_fill_the_queue_too() {
        let backlog = Backlog::new(LOG_LIMITS);
        assert!(backlog.admit(LOG_LIMITS.bytes));
        assert!(!backlog.admit(1));
        backlog.settle(1, LOG_LIMITS.bytes);
        assert!(backlog.admit(1));
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (1, 1));
    }

    #[test]
    fn a_full_disk_loses_its_lines_but_no_later_ones() {
        let backlog = Arc::new(Backlog::new(LOG_LIMITS));
        let mut file = GatheringWriter::new(
            Disk {
                free: 12,
                content: Vec::new(),
            },
            Arc::clone(&backlog),
            None,
        );
        for line in ["first\n", "second\n", "third\n"] {
            assert!(backlog.admit(line.len()));
            file.write_all(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 1));

        assert!(backlog.admit(7));
        file.write_all(b"fourth\n").unwrap();
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 2));

        file.out.free = 100;
        assert!(backlog.admit(6));
        file.write_all(b"fifth\n").unwrap();
        file.flush().unwrap();
        assert_eq!((backlog.waiting_lines(), backlog.dropped()), (0, 2));
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
            None,
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

    /// However much the disk accepts, each line is in the file or reported as lost there.
    #[test]
    fn reported_losses_match_the_missing_lines() {
        const LINES: usize = 5_000;
        const SEEDS: u64 = 20;
        for seed in 1..=SEEDS {
            let mut random = seed;
            let mut next = move |below: usize| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 33) as usize % below
            };
            let backlog = Arc::new(Backlog::new(LOG_LIMITS));
            let disk = Disk {
                free: 0,
                content: Vec::new(),
            };
            let tell_gap: TellGap = |lines, _| format!("lost {lines}.\n").into_bytes();
            let mut file = GatheringWriter::new(disk, Arc::clone(&backlog), Some(tell_gap));
            for number in 0..LINES {
                let line = format!("line {number}.\n").into_bytes();
                file.out.free = match number + 1 == LINES {
                    true => usize::MAX,
                    false => file.out.free + next(16),
                };
                match next(10) {
                    // This line finds the queue full.
                    0 if number + 1 < LINES => {
                        backlog.drop_lines(1);
                        file.untold += 1;
                        continue;
                    }
                    1 => file.write_all(&behind_gap(0, &line)).unwrap(),
                    _ => file.write_all(&line).unwrap(),
                }
                assert!(backlog.admit(line.len()));
                if next(5) == 0 {
                    file.flush().unwrap();
                }
            }
            file.flush().unwrap();
            let text = String::from_utf8(file.out.content).unwrap();
            // An incomplete line has no full stop at its end.
            let whole = || text.lines().filter_map(|line| line.strip_suffix('.'));
            let there = whole().filter(|line| line.starts_with("line ")).count();
            let told = whole().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok());
            let told: usize = told.sum();
            assert_eq!((there + told, told as u64), (LINES, backlog.dropped()));
            assert!(told > 100 && there > 100, "{told} of {LINES}");
            assert_eq!(backlog.waiting_lines(), 0);
        }
    }

    /// A disk with room for `free` bytes.
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
