//! How a screen is written: colours where somebody sees them, and no wider than there is room.

use std::env;
use std::io::{IsTerminal, stdout};

use anstyle::{AnsiColor, Style};

use super::finding::Severity;

/// Where there is no terminal, findings are broken into lines of this width; tables are not cut.
const WIDTH_OF_PAPER: usize = 100;
/// More is not read easily.
const WIDTH_MAX: usize = 160;
const WIDTH_MIN: usize = 40;

/// What is written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paper {
    pub(crate) is_terminal: bool,
    /// Whether what is there can be drawn over.
    pub(crate) moves_cursor: bool,
    pub(crate) colours: bool,
    /// Columns for running text.
    pub(crate) text_columns: usize,
    /// Columns that a line may have.
    pub(crate) line_columns: usize,
    pub(crate) rows: usize,
}

impl Paper {
    /// Standard output.
    pub(crate) fn of_stdout() -> Self {
        let out = stdout();
        if !out.is_terminal() {
            return Self::piped();
        }
        // Of standard output itself; crossterm would ask the controlling terminal.
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

/// Such a terminal prints what it gets, and shows what should move its cursor.
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}
