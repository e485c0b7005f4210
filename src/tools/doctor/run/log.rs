//! An interchange's log, read back: its beginning and its last part, line by line.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::shared::log_file::ends_of;

/// More than the lines that a start writes.
const HEAD_BYTES: u64 = 64 << 10;
const TAIL_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    /// Of a format that is not known.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    /// Who wrote it, in Parsl's own formats.
    pub(super) pid: Option<u32>,
    pub(super) message: String,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    /// False: the middle of a long log is left out.
    pub(super) is_whole: bool,
}

impl Log {
    /// # Errors
    /// The system's.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let (text, is_whole) = ends_of(path, HEAD_BYTES, TAIL_BYTES)?;
        let lines = text.lines().filter_map(line).collect();
        Ok(Self { lines, is_whole })
    }
}

/// None for what belongs to the line before, as a traceback does.
fn line(text: &str) -> Option<Line> {
    if text.starts_with('{') {
        return json_line(text);
    }
    let mut fields = text.splitn(8, ' ');
    let moment = fields.next()?;
    let is_parsl = moment.parse::<f64>().is_ok() && moment.contains('.');
    let pid = fields
        .nth(2)
        .and_then(|process| process.rsplit_once('-')?.1.parse().ok());
    let rest = fields.nth(3);
    if let (true, Some(rest)) = (is_parsl, rest)
        && let Some((level, message)) = rest.split_once(": ")
        && let Some(level) = level_named(level)
    {
        let message = message.to_owned();
        return Some(Line {
            level,
            pid,
            message,
        });
    }
    (!text.starts_with([' ', '\t'])).then(|| Line {
        level: Level::Unknown,
        pid: None,
        message: text.to_owned(),
    })
}

#[derive(Deserialize)]
struct JsonLine {
    process: Option<u32>,
    levelname: String,
    formatted: String,
}

fn json_line(text: &str) -> Option<Line> {
    let line: JsonLine = serde_json::from_str(text).ok()?;
    Some(Line {
        level: level_named(&line.levelname)?,
        pid: line.process,
        message: line.formatted,
    })
}

fn level_named(name: &str) -> Option<Level> {
    match name {
        "DEBUG" => Some(Level::Debug),
        "INFO" => Some(Level::Info),
        "WARNING" => Some(Level::Warning),
        "ERROR" | "CRITICAL" => Some(Level::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_parsls_formats_are_read() {
        let text = "1795289403.943684 2026-11-21 19:30:03 MainProcess-978 MainThread-1401 \
                    parsl.executors.high_throughput.interchange:228 start WARNING: a: b";
        let read = line(text).unwrap();
        assert_eq!((read.level, read.pid), (Level::Warning, Some(978)));
        assert_eq!(read.message, "a: b");
        let text = r#"{"created": 1.5, "process": 7, "levelname": "ERROR", "formatted": "x y"}"#;
        let read = line(text).unwrap();
        assert_eq!((read.level, read.pid), (Level::Error, Some(7)));
        assert_eq!(read.message, "x y");
        assert_eq!(line("  File \"x\", line 1"), None);
        assert_eq!(
            line("19:30 of a format of my own").unwrap().level,
            Level::Unknown
        );
    }
}
