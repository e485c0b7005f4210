//! The log that the start-up configuration requests.

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

use crate::format::{BadFormat, LineFormat};

/// The log that the start-up configuration requests.
#[derive(Clone, Debug)]
pub struct LogSpec {
    /// The file of the lines and their format.
    pub(crate) sink: Sink,
    /// The lowest level that is logged.
    pub(crate) level: Level,
}

impl LogSpec {
    /// The log of the stock interchange without a `log_config`: `interchange.log` in Parsl's own
    /// format.
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

    /// The log of `parsl.logconfigs.file.FileLogging`: `interchange.log` in a %-format of the user.
    ///
    /// # Errors
    /// [`BadFormat`] if Python could not use the format; the stock interchange would fail at each
    /// line.
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

    /// The log of `parsl.logconfigs.json.JSONLogging`: `interchange.jsonlog`, one object per line.
    pub fn json_logging(logdir: &Path, level: i64) -> Self {
        Self {
            sink: Sink::Json {
                path: logdir.join("interchange.jsonlog"),
            },
            level: Level::from_python(level),
        }
    }

    /// The log of `parsl.logconfigs.noop.NoopLogging`: none.
    pub fn noop() -> Self {
        Self {
            sink: Sink::None,
            level: Level::from_python(i64::MAX),
        }
    }
}

/// The file of the lines and their format.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// A file with one line of text per event; lines are appended.
    File {
        /// The file; its directory is made if it is missing.
        path: PathBuf,
        /// The format of a line.
        format: LineFormat,
    },
    /// A file with one JSON object per event. As in the stock interchange, an older file is
    /// overwritten.
    Json {
        /// The file; its directory is made if it is missing.
        path: PathBuf,
    },
    /// No file is made, and no event is formatted.
    None,
}

/// A level number of Python's `logging`: 10 is DEBUG, 50 is CRITICAL; 0 and 1 include everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(i64);

impl Level {
    fn from_python(number: i64) -> Self {
        Self(number)
    }

    /// Returns which events of `tracing` are logged at this level.
    ///
    /// Python has no name for TRACE. TRACE events are logged below 10 under the name DEBUG, because
    /// tools know only Python's five names. No event of this program is CRITICAL (50).
    pub(crate) fn filter(self) -> LevelFilter {
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
