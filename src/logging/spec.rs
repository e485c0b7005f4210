//! A log as the start-up configuration asks for it.

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

use crate::format::{BadFormat, LineFormat};

/// A log as the start-up configuration asks for it.
#[derive(Clone, Debug)]
pub struct LogSpec {
    /// Where the lines go.
    pub(crate) sink: Sink,
    /// Which of them.
    pub(crate) level: Level,
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

/// Where the lines go, and in which shape.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
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

/// A level number of Python's `logging`: 10 is DEBUG, 50 is CRITICAL, 0 and 1 are everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(i64);

impl Level {
    /// Takes the number as Python has it.
    fn from_python(number: i64) -> Self {
        Self(number)
    }

    /// Which events of ours this number lets through.
    ///
    /// TRACE has no name in Python: its events pass below 10, and are then called DEBUG, so that
    /// tools find only the five names that they know. CRITICAL (50) has no event of ours.
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
