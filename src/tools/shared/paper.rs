//! The form of a tool's output: colours only on a terminal, and lines no wider than the terminal.

use std::env;
use std::io::{IsTerminal, stdout};

use anstyle::{AnsiColor, Style};

use super::finding::Severity;

/// Columns of findings without a terminal. Tables are not cut then.
const WIDTH_OF_PAPER: usize = 100;
/// Maximum columns of running text: longer lines are hard to read.
const WIDTH_MAX: usize = 160;
const WIDTH_MIN: usize = 40;

/// The properties of the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paper {
    pub(crate) is_terminal: bool,
    /// Whether the terminal can move its cursor, to draw over what it shows.
    pub(crate) moves_cursor: bool,
    pub(crate) colours: bool,
    /// Columns for running text.
    pub(crate) text_columns: usize,
    /// Maximum columns of a line.
    pub(crate) line_columns: usize,
    pub(crate) rows: usize,
}

impl Paper {
    /// Returns the properties of standard output.
    pub(crate) fn of_stdout() -> Self {
        let out = stdout();
        if !out.is_terminal() {
            return Self::piped();
        }
        // The size is that of standard output's terminal; crossterm would ask the controlling
        // terminal.
        let size = rustix::termios::tcgetwinsize(&out).ok();
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns };
        let rows = size.map_or(0, |size| usize::from(size.ws_row));
        Self {
            is_terminal: true,
            moves_cursor: !is_dumb(),
            colours: !is_dumb() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            text_columns: columns.clamp(WIDTH_MIN, WIDTH_MAX),
            line_columns: columns.max(WIDTH_MIN),
            rows: if rows == 0 { 24 } else { rows },
        }
    }

    pub(crate) fn piped() -> Self {
        Self {
            is_terminal: false,
            moves_cursor: false,
            colours: false,
            text_columns: WIDTH_OF_PAPER,
            line_columns: usize::MAX,
            rows: usize::MAX,
        }
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.painted(text, Style::new().bold())
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.painted(text, Style::new().dimmed())
    }

    pub(crate) fn severity(&self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Problem => AnsiColor::Red,
            Severity::Warning => AnsiColor::Yellow,
            Severity::Note => AnsiColor::Green,
        };
        self.painted(severity.name(), colour.on_default().bold())
    }

    fn painted(&self, text: &str, style: Style) -> String {
        match self.colours {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }
}

/// Whether the terminal cannot move its cursor, and prints the characters for that instead.
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}
