//! Parsl's line formats on `tracing`, written by a thread that may stall without stopping us.
//!
//! A log directory is often on a network file system. So an event is formatted where it happens,
//! put into a bounded queue, and written by another thread; a line that finds the queue full is
//! dropped and counted. What the lines look like is Parsl's to say (`parsl.log_utils` and
//! `parsl.logconfigs`): users grep and parse these files with tools made for the stock one.
//!
//! This room imports no other room. It does not decide what is worth a line, nor what happens
//! to a log configuration that nobody here knows: that is for `config` and `main`.

mod clock;
mod event_file;
mod format;
mod json;
mod record;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

pub use event_file::{EventFile, EventFileSpec};
pub use format::{BadFormat, LineFormat};

use writer::{Books, Intake, LOG_ROOM, LogFile, Room};

/// `parsl.log_utils.DEFAULT_FORMAT`, since 2026.01.26.
pub const PARSL_FORMAT: &str = "%(created)f %(asctime)s %(processName)s-%(process)d \
    %(threadName)s-%(thread)d %(name)s:%(lineno)d %(funcName)s %(levelname)s: %(message)s";

/// How long the last lines may take at exit. A file system that needs longer is stalled.
pub const EXIT_FLUSH: Duration = Duration::from_millis(200);
/// So few are written as soon as the disk lets anything be written.
const FEW_LINES: usize = 64;

/// A level number of Python's `logging`: 10 is DEBUG, 50 is CRITICAL, 0 and 1 are everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(i64);

impl Level {
    /// Takes the number as Python has it.
    pub fn from_python(number: i64) -> Self {
        Self(number)
    }

    /// Which events of ours this number lets through.
    ///
    /// TRACE has no name in Python: its events pass below 10, and are then called DEBUG, so that
    /// tools find only the five names that they know. CRITICAL (50) has no event of ours.
    pub fn filter(self) -> LevelFilter {
        match self.0 {
            ..10 => LevelFilter::TRACE,
            10 => LevelFilter::DEBUG,
            11..=20 => LevelFilter::INFO,
            21..=30 => LevelFilter::WARN,
            31..=40 => LevelFilter::ERROR,
            41.. => LevelFilter::OFF,
        }
    }
}

/// Where the lines go, and in which shape.
#[derive(Clone, Debug)]
pub enum Sink {
    /// One line of text per event, appended.
    File {
        /// The file; its directory is made if it is missing.
        path: PathBuf,
        /// The shape of a line.
        format: LineFormat,
    },
    /// One JSON object per event; an older file is overwritten, as stock does.
    Json {
        /// The file; its directory is made if it is missing.
        path: PathBuf,
    },
    /// Nowhere: no file is made, and no event is ever formatted.
    None,
}

/// A log as the start-up configuration asks for it.
#[derive(Clone, Debug)]
pub struct LogSpec {
    /// Where the lines go.
    pub sink: Sink,
    /// Which of them.
    pub level: Level,
}

impl LogSpec {
    /// What stock does without a `log_config`: `interchange.log` in Parsl's own format.
    pub fn parsl_file(logdir: &Path, level: i64) -> Self {
        let format = LineFormat::parsl();
        Self {
            sink: Sink::File {
                path: logdir.join("interchange.log"),
                format,
            },
            level: Level::from_python(level),
        }
    }

    /// `parsl.logconfigs.file.FileLogging`: `interchange.log` in a %-format of the user.
    ///
    /// # Errors
    /// [`BadFormat`] for what Python could not format; stock would fail there, line by line.
    pub fn file_logging(logdir: &Path, format: &str, level: i64) -> Result<Self, BadFormat> {
        let format = LineFormat::compile(format)?;
        Ok(Self {
            sink: Sink::File {
                path: logdir.join("interchange.log"),
                format,
            },
            level: Level::from_python(level),
        })
    }

    /// `parsl.logconfigs.json.JSONLogging`: `interchange.jsonlog`, an object per line.
    pub fn json_logging(logdir: &Path, level: i64) -> Self {
        Self {
            sink: Sink::Json {
                path: logdir.join("interchange.jsonlog"),
            },
            level: Level::from_python(level),
        }
    }

    /// `parsl.logconfigs.noop.NoopLogging`: nothing.
    pub fn noop() -> Self {
        Self {
            sink: Sink::None,
            level: Level::from_python(i64::MAX),
        }
    }
}

/// Opens the log and sends every event of the process there, from now to its end.
///
/// The directory and the file exist when this returns.
///
/// # Errors
/// The directory or file cannot be made, or the process has a log already.
///
/// # Panics
/// The system refuses a thread (`tracing-appender` decides so; libzmq would abort a moment later).
pub fn start(spec: &LogSpec) -> io::Result<LogGuard> {
    let (dispatch, guard) = open(spec)?;
    if let Some(dispatch) = dispatch {
        tracing::dispatcher::set_global_default(dispatch).map_err(io::Error::other)?;
    }
    Ok(guard)
}

/// As [`start`], but leaves it to the caller where the subscriber is in force (tests).
///
/// There is none if nothing is logged: an event then costs what it costs without a log.
///
/// # Errors
/// The directory or file cannot be made.
pub fn open(spec: &LogSpec) -> io::Result<(Option<tracing::Dispatch>, LogGuard)> {
    let filter = spec.level.filter();
    match &spec.sink {
        Sink::None => Ok((None, LogGuard { tail: None })),
        Sink::File { path, format } => {
            make_directory_of(path)?;
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let (intake, guard) = queue_before(file, LOG_ROOM);
            let lines = fmt::layer().event_format(format::TextLines::new(format.clone()));
            let layer = lines
                .log_internal_errors(false)
                .with_ansi(false)
                .with_writer(intake);
            Ok((Some(dispatch(filter, layer)), guard))
        }
        Sink::Json { path } => {
            make_directory_of(path)?;
            let file = File::create(path)?;
            let (intake, guard) = queue_before(file, LOG_ROOM);
            let lines = fmt::layer().event_format(json::JsonLines::new());
            let layer = lines
                .log_internal_errors(false)
                .with_ansi(false)
                .with_writer(intake);
            Ok((Some(dispatch(filter, layer)), guard))
        }
    }
}

/// Keeps the log's tail reachable; hold it until the process ends.
#[derive(Debug)]
#[must_use = "the tail of the log is flushed through it"]
pub struct LogGuard {
    tail: Option<Tail>,
}

#[derive(Debug)]
struct Tail {
    books: Arc<Books>,
    worker: Option<WorkerGuard>,
}

impl LogGuard {
    /// Lines that never reached the file: the queue was full, or the file refused them.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_counter()()
    }

    /// As [`Self::dropped_lines`], to be asked elsewhere.
    pub fn dropped_counter(&self) -> Box<dyn Fn() -> u64> {
        let books = self.tail.as_ref().map(|tail| Arc::clone(&tail.books));
        Box::new(move || books.as_ref().map_or(0, |books| books.dropped()))
    }

    /// Waits until every line so far is written or given up, but no longer than `limit`.
    ///
    /// True if none is left. After false the writer is stuck in the kernel, and only `_exit`
    /// ends it in time.
    pub fn flush_for(&self, limit: Duration) -> bool {
        let Some(tail) = &self.tail else { return true };
        let give_up = Instant::now() + limit;
        while tail.books.waiting_lines() > 0 {
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
        let waiting = || self.tail.as_ref().map_or(0, |t| t.books.waiting_lines());
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

fn make_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => fs::create_dir_all(directory),
        None => Ok(()),
    }
}

fn queue_before(file: impl io::Write + Send + 'static, room: Room) -> (Intake, LogGuard) {
    let books = Arc::new(Books::new(room));
    let builder = NonBlockingBuilder::default()
        .lossy(true)
        // `Books` admits no more than that many, so the appender never has to refuse one.
        .buffered_lines_limit(room.lines)
        .thread_name("htex-log");
    let log_file = LogFile::new(file, Arc::clone(&books));
    let (queue, worker) = without_signals(|| builder.finish(log_file));
    let guard = LogGuard {
        tail: Some(Tail {
            books: Arc::clone(&books),
            worker: Some(worker),
        }),
    };
    (Intake::new(queue, books), guard)
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

fn dispatch<L>(filter: LevelFilter, layer: L) -> tracing::Dispatch
where
    L: Layer<tracing_subscriber::layer::Layered<LevelFilter, Registry>> + Send + Sync,
{
    tracing::Dispatch::new(Registry::default().with(filter).with(layer))
}
