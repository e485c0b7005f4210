//! What is left of a log when the process ends: its last lines.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::line_queue::{Backlog, GatheringWriter, LineQueue, QueueLimits, TellGap};

/// How long the last lines may take at exit. A file system that needs longer is stalled.
pub const EXIT_FLUSH: Duration = Duration::from_millis(200);
/// So few are written as soon as the disk lets anything be written.
const FEW_LINES: usize = 64;

/// Keeps the log's tail reachable; hold it until the process ends.
#[derive(Debug)]
#[must_use = "the tail of the log is flushed through it"]
pub struct LogGuard {
    tail: Option<Tail>,
    /// Where the file is that the lines go to, as the system has it.
    link: Option<PathBuf>,
}

#[derive(Debug)]
struct Tail {
    backlog: Arc<Backlog>,
    worker: Option<WorkerGuard>,
}

impl LogGuard {
    /// Of a log that has no file.
    pub(crate) fn of_nothing() -> Self {
        Self {
            tail: None,
            link: None,
        }
    }

    /// Lines that never reached the file: the queue was full, or the file refused them.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_counter()()
    }

    /// As [`Self::dropped_lines`], to be asked elsewhere.
    pub fn dropped_counter(&self) -> Box<dyn Fn() -> u64> {
        let backlog = self.tail.as_ref().map(|tail| Arc::clone(&tail.backlog));
        Box::new(move || backlog.as_ref().map_or(0, |backlog| backlog.dropped()))
    }

    /// Has the place of `file` watched, to which the lines go.
    pub(crate) fn of_file(mut self, link: PathBuf) -> Self {
        self.link = Some(link);
        self
    }

    /// Tells where the file is now, in the system's words, once it is elsewhere than at its
    /// beginning: `/runs/000/htex/interchange.log (deleted)`. It asks no file server.
    pub fn mover(&self) -> Box<dyn Fn() -> Option<PathBuf>> {
        let link = self.link.clone();
        let before = link.as_deref().and_then(place_of);
        Box::new(move || place_of(link.as_deref()?).filter(|now| Some(now) != before.as_ref()))
    }

    /// Waits until every line so far is written or given up, but no longer than `limit`.
    ///
    /// True if none is left. After false the writer is stuck in the kernel, and only `_exit`
    /// ends it in time.
    pub fn flush_for(&self, limit: Duration) -> bool {
        let Some(tail) = &self.tail else { return true };
        let give_up = Instant::now() + limit;
        while tail.backlog.waiting_lines() > 0 {
            if Instant::now() >= give_up {
                return false;
            }
            // At exit only, so a short nap does; a wake-up would cost every batch of lines a lock.
            std::thread::sleep(Duration::from_micros(100));
        }
        true
    }

    /// At an end that is in a hurry: `limit` for a backlog, but `limit_for_few` if no more than a
    /// few lines are left. They tell why the process ends, and a busy disk only delays them.
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
            // Its own drop may wait 1.1 s for a stalled writer, and then prints to stdout.
            std::mem::forget(tail.worker.take());
        }
    }
}

/// Puts a queue of such a size before a file, and a thread that writes between them; `tell_gap`
/// makes a line for those that are dropped.
///
/// # Panics
/// The system refuses a thread.
pub(crate) fn queue_before(
    file: impl io::Write + Send + 'static,
    limits: QueueLimits,
    tell_gap: Option<TellGap>,
) -> (LineQueue, LogGuard) {
    let backlog = Arc::new(Backlog::new(limits));
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        // `Backlog` admits no more than that many, so the appender never has to refuse one.
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

/// By which the system tells where an open file is.
pub(crate) fn link_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn place_of(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok()
}

/// Runs `spawn` so that a thread made in it takes no signals: a signalfd reports only what every
/// thread blocks.
fn without_signals<T>(spawn: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let made = spawn();
    if let Ok(before) = before {
        // The kernel takes back any mask that it handed out.
        let _ = before.thread_set_mask();
    }
    made
}
