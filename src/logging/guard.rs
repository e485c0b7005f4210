//! Access to the log after its start: counts of dropped lines, and flushing at the end of the
//! process.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::line_queue::{Backlog, GatheringWriter, LineQueue, QueueLimits, TellGap};

/// Time limit for the last lines at exit. A file system that needs longer is stalled.
pub const EXIT_FLUSH: Duration = Duration::from_millis(200);
/// Up to this many lines are written as soon as the disk accepts anything.
const FEW_LINES: usize = 64;

/// Flushes the last lines of the log; hold it until the process ends.
#[derive(Debug)]
#[must_use = "the tail of the log is flushed through it"]
pub struct LogGuard {
    tail: Option<Tail>,
    /// The link in `/proc` that names the current path of the log file.
    link: Option<PathBuf>,
}

#[derive(Debug)]
struct Tail {
    backlog: Arc<Backlog>,
    worker: Option<WorkerGuard>,
}

impl LogGuard {
    /// Returns a guard for a log without a file.
    pub(crate) fn of_nothing() -> Self {
        Self {
            tail: None,
            link: None,
        }
    }

    /// Returns the number of lines that never reached the file, because the queue was full or the
    /// write failed.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_counter()()
    }

    /// Returns a function that returns the same as [`Self::dropped_lines`], for use in other
    /// places.
    pub fn dropped_counter(&self) -> Box<dyn Fn() -> u64> {
        let backlog = self.tail.as_ref().map(|tail| Arc::clone(&tail.backlog));
        Box::new(move || backlog.as_ref().map_or(0, |backlog| backlog.dropped()))
    }

    /// Adds the link that [`Self::mover`] reads to follow the log file.
    pub(crate) fn of_file(mut self, link: PathBuf) -> Self {
        self.link = Some(link);
        self
    }

    /// Returns a function that returns the current path of the log file if it has changed, in the
    /// kernel's words: `/runs/000/htex/interchange.log (deleted)`. The function does not access the
    /// file server.
    pub fn mover(&self) -> Box<dyn Fn() -> Option<PathBuf>> {
        let link = self.link.clone();
        let before = link.as_deref().and_then(place_of);
        Box::new(move || place_of(link.as_deref()?).filter(|now| Some(now) != before.as_ref()))
    }

    /// Waits until every queued line is written or dropped, but no longer than `limit`.
    ///
    /// Returns true if no line is left. After false the writer is stuck in the kernel, and only
    /// `_exit` ends the process in time.
    pub fn flush_for(&self, limit: Duration) -> bool {
        let Some(tail) = &self.tail else { return true };
        let give_up = Instant::now() + limit;
        while tail.backlog.waiting_lines() > 0 {
            if Instant::now() >= give_up {
                return false;
            }
            // Polling is good enough, because this runs at exit only. A wake-up would cost a lock
            // for every batch of lines.
            std::thread::sleep(Duration::from_micros(100));
        }
        true
    }

    /// Flushes when the process must end soon. Waits up to `limit`, but up to `limit_for_few` if
    /// only a few lines are left: these say why the process ends, and a busy disk merely delays
    /// them.
    pub fn flush_last_lines(&self, limit: Duration, limit_for_few: Duration) -> bool {
        let begin = Instant::now();
        let waiting = || self.tail.as_ref().map_or(0, |t| t.backlog.waiting_lines());
        self.flush_for(limit)
            || (waiting() <= FEW_LINES
                && self.flush_for(limit_for_few.saturating_sub(begin.elapsed())))
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush_for(EXIT_FLUSH);
        if let Some(tail) = &mut self.tail {
            // Dropping the worker may wait 1.1 s for a stalled writer, and then prints to stdout.
            std::mem::forget(tail.worker.take());
        }
    }
}

/// Puts a queue with these limits before a file, and starts the thread that writes the lines;
/// `tell_gap` makes a line that reports dropped ones.
///
/// # Panics
/// The system cannot start a thread.
pub(crate) fn queue_before(
    file: impl io::Write + Send + 'static,
    limits: QueueLimits,
    tell_gap: Option<TellGap>,
) -> (LineQueue, LogGuard) {
    let backlog = Arc::new(Backlog::new(limits));
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        // `Backlog` admits no more lines than this limit, so the appender never refuses one.
        .buffered_lines_limit(limits.lines)
        .thread_name("htex-log");
    let writer = GatheringWriter::new(file, Arc::clone(&backlog), tell_gap);
    let (channel, worker) = without_signals(|| builder.finish(writer));
    let guard = LogGuard {
        tail: Some(Tail {
            backlog: Arc::clone(&backlog),
            worker: Some(worker),
        }),
        link: None,
    };
    (LineQueue::new(channel, backlog, tell_gap.is_some()), guard)
}

/// Returns the link in `/proc` that names the current path of an open file.
pub(crate) fn link_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn place_of(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok()
}

/// Runs `spawn` so that a thread started in it receives no signals: a signalfd reports only signals
/// that every thread blocks.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let made = spawn();
    if let Ok(before) = before {
        // This cannot fail: the mask came from the kernel.
        let _ = before.thread_set_mask();
    }
    made
}
