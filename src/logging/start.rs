//! Opens the log and directs the events of `tracing` to it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::directory::make_directory_of;
use crate::format::TextLines;
use crate::guard::{LogGuard, link_of, queue_before};
use crate::json::JsonLines;
use crate::line_queue::LOG_LIMITS;
use crate::spec::{LogSpec, Sink};

/// Opens the log and directs every event of the process to it, until the process ends.
///
/// The directory and the file exist when this function returns.
///
/// # Errors
/// The directory or file cannot be made, or the process has a log already.
///
/// # Panics
/// The system cannot start a thread; `tracing-appender` panics then. To avoid the panic, check
/// before that a thread can be started.
pub fn start(spec: &LogSpec) -> io::Result<LogGuard> {
    let (dispatch, guard) = open(spec)?;
    if let Some(dispatch) = dispatch {
        tracing::dispatcher::set_global_default(dispatch).map_err(io::Error::other)?;
    }
    Ok(guard)
}

/// The same as [`start`], but the caller installs the returned subscriber (for tests).
///
/// The subscriber is None if nothing is logged; then events cost no more than without a log.
///
/// # Errors
/// The directory or file cannot be made.
pub fn open(spec: &LogSpec) -> io::Result<(Option<tracing::Dispatch>, LogGuard)> {
    let filter = spec.level.filter();
    match &spec.sink {
        Sink::None => Ok((None, LogGuard::of_nothing())),
        Sink::File { path, format } => {
            let file = make(path, OpenOptions::new().append(true))?;
            let link = link_of(&file);
            let (queue, guard) = queue_before(file, LOG_LIMITS, None);
            let guard = guard.of_file(link);
            let lines = fmt::layer().event_format(TextLines::new(format.clone()));
            let layer = lines
                .log_internal_errors(false)
                .with_ansi(false)
                .with_writer(queue);
            Ok((Some(dispatch(filter, layer)), guard))
        }
        Sink::Json { path } => {
            let file = make(path, OpenOptions::new().write(true).truncate(true))?;
            let link = link_of(&file);
            let (queue, guard) = queue_before(file, LOG_LIMITS, None);
            let guard = guard.of_file(link);
            let lines = fmt::layer().event_format(JsonLines::new());
            let layer = lines
                .log_internal_errors(false)
                .with_ansi(false)
                .with_writer(queue);
            Ok((Some(dispatch(filter, layer)), guard))
        }
    }
}

fn dispatch<L>(filter: LevelFilter, layer: L) -> tracing::Dispatch
where
    L: Layer<tracing_subscriber::layer::Layered<LevelFilter, Registry>> + Send + Sync,
{
    tracing::Dispatch::new(Registry::default().with(filter).with(layer))
}

/// Opens a file without waiting for a reader if it is a pipe. Only the writer behind the queue may
/// wait for one.
fn make(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    make_directory_of(path)?;
    options.create(true).custom_flags(libc::O_NONBLOCK);
    let file = match options.open(path) {
        // The pipe has no reader yet. Opening it for reading as well keeps a reader while it is
        // open.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            options.read(true).open(path).map_err(|_| error)?
        }
        opened => opened?,
    };
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(
        &file,
        FcntlArg::F_SETFL(flags.difference(OFlag::O_NONBLOCK)),
    )?;
    Ok(file)
}
