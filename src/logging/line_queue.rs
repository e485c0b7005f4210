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
    /// Of these, what found no room since a line was taken.
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

/// The near end of the queue: what the formatter writes lines to.
pub(crate) struct LineQueue {
    channel: NonBlocking,
    backlog: Arc<Backlog>,
    /// The writer is told before which line others were dropped.
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

    /// Takes a line, or counts it as dropped. False in the latter case.
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

/// No line begins with it.
const GAP_MARK: u8 = 0;

/// A line, and how many were dropped right before it.
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

/// Makes the line that tells how many were dropped before another one, which it is given.
pub type TellGap = fn(u64, &[u8]) -> Vec<u8>;

/// A gathered line.
struct Piece {
    /// Where it ends in what is gathered.
    end: usize,
    bytes: usize,
    /// It came from nobody, and tells of so many that were dropped.
    tells_of: Option<u64>,
}

/// The far end: gathers lines, writes them, and never fails.
pub(crate) struct GatheringWriter<W> {
    out: W,
    backlog: Arc<Backlog>,
    gathered: Vec<u8>,
    /// What is gathered, in its order.
    pieces: Vec<Piece>,
    /// Makes the line that tells of a gap, where gaps are told.
    tell_gap: Option<TellGap>,
    /// Lines that were dropped, and that no line in the file tells of.
    untold: u64,
    /// The last write broke off inside a line, and the next must not continue it.
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
        let is_at_end = self
            .pieces
            .binary_search_by_key(&written, |piece| piece.end)
            .is_ok();
        self.torn |= written > 0 && !is_at_end;
        // What comes next ends a torn line, which is whole if it lacks no more than that.
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

    /// What is not in the file: lines, and what a line that is lost as well had told of.
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

    /// Whatever the disk takes of what, each line is in the file or told of there.
    #[test]
    fn what_is_told_as_lost_is_what_is_not_there() {
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
                    // It finds the queue full.
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
            // A torn line has no end.
            let whole = || text.lines().filter_map(|line| line.strip_suffix('.'));
            let there = whole().filter(|line| line.starts_with("line ")).count();
            let told = whole().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok());
            let told: usize = told.sum();
            assert_eq!((there + told, told as u64), (LINES, backlog.dropped()));
            assert!(told > 100 && there > 100, "{told} of {LINES}");
            assert_eq!(backlog.waiting_lines(), 0);
        }
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
