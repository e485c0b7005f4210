//! A log of Parsl or of an interchange, read record by record, in the formats of all Parsl releases
//! and as JSON.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use codes::Code;
use serde::Deserialize;

use crate::shared::coded::Coded;
use crate::shared::log_file::ends_of;
use crate::shared::words::clipped;

/// Bytes read from the beginning of a log: more than the lines of a start take.
const HEAD_BYTES: u64 = 64 << 10;
const TAIL_BYTES: u64 = 4 << 20;
/// Maximum bytes read of a file of which only some records are kept.
const CHOSEN_BYTES_MAX: u64 = 1 << 30;
const CHOSEN_MAX: usize = 100_000;
/// Maximum lines kept below a record: enough for a traceback, or for the messages of several
/// blocks.
const MORE_MAX: usize = 200;
const SHOWN_COLUMNS_MAX: usize = 600;
const LEVELS: [(&str, Level); 5] = [
    ("DEBUG", Level::Debug),
    ("INFO", Level::Info),
    ("WARNING", Level::Warning),
    ("ERROR", Level::Error),
    ("CRITICAL", Level::Error),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    /// The level of a line whose format is unknown.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The line's number in its file, from 1.
    pub(super) number: usize,
    pub(super) level: Level,
    /// The process that wrote the line, in Parsl's own formats.
    pub(super) pid: Option<u32>,
    /// The line's message, and its code if it has one.
    pub(super) coded: Coded,
    /// The lines below this one that belong to it, such as a traceback.
    pub(super) more: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<Line>,
    /// False if a part of a long log was left out.
    pub(super) is_whole: bool,
}

impl Log {
    /// Reads the beginning and the last part of a log.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn ends(path: &Path) -> io::Result<Self> {
        let (text, is_whole) = ends_of(path, HEAD_BYTES, TAIL_BYTES)?;
        if is_whole {
            return Ok(Self::of_text(path, &text));
        }
        let mut log = Self::of(path, false);
        // Lines of the last part get the line numbers that an editor shows.
        let (head, tail) = (text.get(..HEAD_BYTES as usize), text.lines().count());
        let head = head.map_or(0, |head| head.lines().count());
        let left_out = newlines(path)?.saturating_sub(tail);
        for (text, place) in text.lines().zip(1..) {
            let skipped = if place > head { left_out } else { 0 };
            log.push(text, place + skipped);
        }
        Ok(log)
    }

    /// Reads the records of a whole log for which `wanted` is true, with all lines that belong to
    /// them. `wanted` is called once for each record.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn chosen(path: &Path, mut wanted: impl FnMut(&Line) -> bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut log = Self::of(path, file.metadata()?.len() <= CHOSEN_BYTES_MAX);
        let mut reader = BufReader::new(io::Read::take(file, CHOSEN_BYTES_MAX));
        let (mut bytes, mut number) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            number += 1;
            let before = log.lines.len();
            log.push(
                String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']),
                number,
            );
            bytes.clear();
            if log.lines.len() > before && before > 0 && !wanted(&log.lines[before - 1]) {
                log.lines.swap_remove(before - 1);
            }
            if log.lines.len() > CHOSEN_MAX {
                log.is_whole = false;
                break;
            }
        }
        if log.lines.last().is_some_and(|last| !wanted(last)) {
            log.lines.pop();
        }
        Ok(log)
    }

    /// Reads the records in `text`, which is the last part of the file at `path`, or all of it.
    pub(super) fn of_text(path: &Path, text: &str) -> Self {
        let mut log = Self::of(path, true);
        text.lines()
            .zip(1..)
            .for_each(|(text, number)| log.push(text, number));
        log
    }

    fn of(path: &Path, is_whole: bool) -> Self {
        Self {
            path: path.to_owned(),
            lines: Vec::new(),
            is_whole,
        }
    }

    /// Formats a line and its place in the file as evidence.
    pub(super) fn shown(&self, line: &Line) -> String {
        shown(&self.path, line.number, &line.coded.whole())
    }

    /// Formats the first line below `line` that contains `mark` as evidence. If the message of
    /// `line` itself contains `mark`, or no line below does, formats `line`.
    pub(super) fn shown_below(&self, line: &Line, mark: &str) -> String {
        let below = line.more.iter().zip(line.number + 1..);
        let found = below.into_iter().find(|(text, _)| text.contains(mark));
        match found {
            Some((text, number)) if !line.coded.message.contains(mark) => {
                shown(&self.path, number, text)
            }
            _ => self.shown(line),
        }
    }

    pub(super) fn has(&self, mark: &str) -> bool {
        self.find(mark).is_some()
    }

    /// Returns the last record that contains `mark` in its message or below.
    pub(super) fn find(&self, mark: &str) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.has(mark))
    }

    fn push(&mut self, text: &str, number: usize) {
        let of_format = self
            .lines
            .last()
            .is_some_and(|line| line.level != Level::Unknown);
        match record(text) {
            Some((level, pid, coded)) => self.lines.push(Line {
                number,
                level,
                pid,
                coded,
                more: Vec::new(),
            }),
            None if of_format || text.starts_with([' ', '\t']) => {
                let last = self.lines.last_mut();
                if let Some(line) = last.filter(|line| line.more.len() < MORE_MAX) {
                    line.more.push(text.to_owned());
                }
            }
            None => self.lines.push(Line {
                number,
                level: Level::Unknown,
                pid: None,
                coded: Coded::of_text(text, ""),
                more: Vec::new(),
            }),
        }
    }
}

impl Line {
    pub(super) fn is(&self, code: &Code) -> bool {
        self.coded.has(code)
    }

    pub(super) fn has(&self, mark: &str) -> bool {
        self.coded.message.contains(mark) || self.more.iter().any(|text| text.contains(mark))
    }
}

/// Formats a line of a file as evidence.
pub(super) fn shown(path: &Path, number: usize, text: &str) -> String {
    format!(
        "{}, line {number}: {}",
        path.display(),
        clipped(text.trim(), SHOWN_COLUMNS_MAX)
    )
}

/// Formats a line as evidence without its number, which is unknown if the lines above were not
/// read.
pub(super) fn shown_near_end(path: &Path, text: &str) -> String {
    format!("{}, near its end: {}", path.display(), text.trim())
}

fn newlines(path: &Path) -> io::Result<usize> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut count = 0;
    loop {
        let bytes = reader.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            return Ok(count);
        }
        count += bytes.iter().filter(|byte| **byte == b'\n').count();
        reader.consume(length);
    }
}

/// Parses the beginning of a record. Returns None for any other line.
fn record(text: &str) -> Option<(Level, Option<u32>, Coded)> {
    if text.starts_with('{') {
        return json_record(text);
    }
    let (moment, rest) = text.split_once(' ')?;
    if moment.contains('.') && moment.parse::<f64>().is_ok() {
        return since_2023(rest);
    }
    let is_date = moment.len() == 10 && moment.bytes().filter(|byte| *byte == b'-').count() == 2;
    if is_date { before_2023(rest) } else { None }
}

/// Parses the format of `parsl/log_utils.py`, which follows the seconds since the epoch:
/// `%(asctime)s %(processName)s-%(process)d %(threadName)s-%(thread)d %(name)s:%(lineno)d
/// %(funcName)s %(levelname)s: `. Names of threads may contain blanks.
fn since_2023(rest: &str) -> Option<(Level, Option<u32>, Coded)> {
    let pid = rest.split(' ').nth(2);
    let pid = pid.and_then(|process| process.rsplit_once('-')?.1.parse().ok());
    let found = LEVELS.iter().filter_map(|(name, level)| {
        let mark = format!(" {name}: ");
        Some((rest.find(&mark)?, mark.len(), *name, *level))
    });
    let (place, length, name, level) = found.min_by_key(|(place, ..)| *place)?;
    Some((level, pid, Coded::of_text(&rest[place + length..], name)))
}

/// Parses the format of parsl.log before 2023, which Parsl's own interchanges and managers used
/// until 2026: `%(asctime)s.%(msecs)03d %(name)s:%(lineno)d %(processName)s(%(process)d) …
/// [%(levelname)s]  `.
fn before_2023(rest: &str) -> Option<(Level, Option<u32>, Coded)> {
    let found = LEVELS.iter().filter_map(|(name, level)| {
        let mark = format!("[{name}]");
        Some((rest.find(&mark)?, mark.len(), *name, *level))
    });
    let (place, length, name, level) = found.min_by_key(|(place, ..)| *place)?;
    let pid = rest[..place].split(' ').find_map(|word| {
        let (_, number) = word.strip_suffix(')')?.rsplit_once('(')?;
        number.parse().ok()
    });
    let text = rest[place + length..].trim_start();
    Some((level, pid, Coded::of_text(text, name)))
}

#[derive(Deserialize)]
struct JsonLine {
    process: Option<u32>,
    levelname: String,
    formatted: String,
    code: Option<String>,
}

fn json_record(text: &str) -> Option<(Level, Option<u32>, Coded)> {
    let line: JsonLine = serde_json::from_str(text).ok()?;
    let (name, level) = LEVELS.iter().find(|(name, _)| *name == line.levelname)?;
    let coded = Coded::of_json(&line.formatted, line.code.as_deref(), name);
    Some((*level, line.process, coded))
}

#[cfg(test)]
pub(super) fn log_of(texts: &[(Level, &str)]) -> Log {
    let mut log = Log::of(Path::new("x.log"), true);
    for ((level, text), number) in texts.iter().zip(1..) {
        let name = LEVELS.iter().find(|(_, known)| known == level);
        let coded = Coded::of_text(text, name.map_or("", |(name, _)| name));
        log.lines.push(Line {
            number,
            level: *level,
            pid: None,
            coded,
            more: Vec::new(),
        });
    }
    log
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn records_of_all_formats_are_read() {
        let texts = [
            "1795289403.943684 2026-11-21 19:30:03 MainProcess-978 MainThread-1401 \
             parsl.executors.high_throughput.interchange:228 start WARNING: a: b",
            "1795289403.943684 2026-11-21 19:30:03 MainProcess-978 Thread-3 (run it)-1401 \
             parsl.x:228 start WARNING: a: b",
            "2024-01-02 19:30:03.123 parsl.x:7 MainProcess(978) MainThread start [WARNING]  a: b",
            r#"{"created": 1.5, "process": 978, "levelname": "WARNING", "formatted": "a: b"}"#,
        ];
        for text in texts {
            let coded = Coded::of_text("a: b", "WARNING");
            assert_eq!(
                record(text),
                Some((Level::Warning, Some(978), coded)),
                "{text}"
            );
        }
        let old = record("2022-01-02 19:30:03 parsl.x:7 [CRITICAL]  a: b");
        assert_eq!(
            old,
            Some((Level::Error, None, Coded::of_text("a: b", "CRITICAL")))
        );
        for text in ["  File \"x\", line 1", "19:30 of my own", "ValueError: x"] {
            assert_eq!(record(text), None);
        }
    }

    #[test]
    fn lines_below_a_record_belong_to_it() {
        let mut log = Log::of(Path::new("x.log"), true);
        for (text, number) in [
            "free",
            "2022-01-02 19:30:03 x:7 [ERROR] e",
            "Traceback",
            "E: x",
        ]
        .iter()
        .zip(1..)
        {
            log.push(text, number);
        }
        assert_eq!(log.lines.len(), 2);
        assert_eq!(log.lines[0].level, Level::Unknown);
        let line = &log.lines[1];
        assert_eq!(log.shown(line), "x.log, line 2: e");
        assert_eq!(log.shown_below(line, "E: "), "x.log, line 4: E: x");
        assert!(log.has("Trace") && !log.has("other"));
    }

    #[test]
    fn lines_of_a_long_log_have_their_own_numbers() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let mut text = String::new();
        for number in 1..=100_000 {
            let _ = writeln!(
                text,
                "2022-01-02 19:30:03 x:7 [INFO] line {number} of many, many"
            );
        }
        std::fs::write(place.path(), text).unwrap();
        let log = Log::ends(place.path()).unwrap();
        assert!(!log.is_whole);
        for line in [&log.lines[3], log.lines.last().unwrap()] {
            let said = format!("line {} of many, many", line.number);
            assert_eq!(line.coded.message, said);
        }
        let log = Log::chosen(place.path(), |line| line.coded.message.contains("77777 ")).unwrap();
        assert_eq!((log.lines.len(), log.lines[0].number), (1, 77_777));
    }
}
