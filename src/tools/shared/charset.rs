//! The characters that a reader's terminal can show. The C library's rule for the locale decides
//! (POSIX, section 8.2): the first of LC_ALL, LC_CTYPE and LANG that is not empty. If all are
//! empty, the locale is "C", which has ASCII.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};

use unicode_width::UnicodeWidthChar as _;

const VARIABLES: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// A set of characters that a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
}

impl Charset {
    /// Returns the character set of the reader of this process's output.
    pub(crate) fn of_reader() -> Self {
        Self::of_locale(|variable| env::var_os(variable))
    }

    fn of_locale(value: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = VARIABLES.iter().filter_map(|variable| value(variable));
        let mut named = named.filter(|value| !value.is_empty());
        let locale = named.next();
        let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
        match locale.contains("utf-8") || locale.contains("utf8") {
            true => Self::Utf8,
            false => Self::Ascii,
        }
    }

    /// Returns the text in characters that can be shown. Other characters are replaced by similar
    /// ones, or by their numbers as in Rust and JavaScript.
    pub(crate) fn text(self, text: &str) -> String {
        self.replaced(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
    }

    /// Returns the text in characters that can be shown, with the same number of columns.
    fn cells(self, text: &str) -> String {
        self.replaced(text, |c| "?".repeat(c.width().unwrap_or(0)))
    }

    fn replaced(self, text: &str, other: impl Fn(char) -> String) -> String {
        if self == Self::Utf8 || text.is_ascii() {
            return text.to_owned();
        }
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            match look_alike(c) {
                Some(alike) => shown.push(alike),
                None if c.is_ascii() => shown.push(c),
                None => shown.push_str(&other(c)),
            }
        }
        shown
    }
}

/// Returns a similar ASCII character of the same width, for characters that this program or ratatui
/// writes.
fn look_alike(c: char) -> Option<char> {
    Some(match c {
        // This character marks a text that was cut.
        '…' => '~',
        '·' => '.',
        '×' => 'x',
        '–' | '—' | '−' | '─' | '━' => '-',
        '│' | '┃' | '▏' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╭' | '╮' | '╯' | '╰' => {
            '+'
        }
        '↓' | '▼' => 'v',
        '↑' | '▲' => '^',
        '→' => '>',
        '←' => '<',
        '▁' | '▂' => '_',
        '▃' | '▄' | '▅' => '=',
        '▆' | '▇' | '█' => '#',
        '░' => '.',
        '≈' => '~',
        'µ' => 'u',
        '\u{a0}' => ' ',
        '\u{fffd}' => '?',
        _ => return None,
    })
}

/// A terminal for drawing. Characters that it cannot show are replaced by others of the same width.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    terminal: W,
    charset: Charset,
    /// The first bytes of a character whose other bytes have not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(terminal: W, charset: Charset) -> Self {
        Self {
            terminal,
            charset,
            begun: Vec::new(),
        }
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text: Vec<u8> = self.begun.drain(..whole).collect();
        let text = String::from_utf8_lossy(&text);
        self.terminal
            .write_all(self.charset.cells(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.terminal.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Charset {
        Charset::of_locale(|variable| {
            let found = pairs.iter().find(|(name, _)| *name == variable);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_first_locale_that_is_named_decides() {
        assert_eq!(of(&[]), Charset::Ascii);
        for utf8 in ["en_US.UTF-8", "C.utf8", "C.UTF-8", "de_AT.UTF-8@euro"] {
            assert_eq!(of(&[("LANG", utf8)]), Charset::Utf8, "{utf8}");
            assert_eq!(of(&[("LANG", utf8), ("LC_ALL", "C")]), Charset::Ascii);
            assert_eq!(of(&[("LANG", utf8), ("LC_CTYPE", "POSIX")]), Charset::Ascii);
            assert_eq!(of(&[("LANG", "C"), ("LC_CTYPE", utf8)]), Charset::Utf8);
            assert_eq!(of(&[("LC_ALL", ""), ("LANG", utf8)]), Charset::Utf8);
        }
        for other in [
            "C",
            "POSIX",
            "en_US.ISO-8859-1",
            "de_DE@euro",
            "ja_JP.eucJP",
        ] {
            assert_eq!(of(&[("LC_ALL", other)]), Charset::Ascii, "{other}");
        }
    }

    #[test]
    fn characters_outside_the_charset_are_replaced() {
        let text = "node… 2 × 3 nœud";
        assert_eq!(Charset::Utf8.text(text), text);
        assert_eq!(Charset::Ascii.text(text), "node~ 2 x 3 n\\u{153}ud");
        assert_eq!(Charset::Ascii.text("a\nb"), "a\nb");
    }

    #[test]
    fn a_screen_keeps_its_columns() {
        let drawn = "│█▇▁ 節 nœud ▼│";
        let mut terminal = Vec::new();
        let mut screen = Screen::new(&mut terminal, Charset::Ascii);
        // The text arrives byte by byte.
        for byte in drawn.bytes() {
            screen.write_all(&[byte]).unwrap();
        }
        assert_eq!(terminal, b"|##_ ?? n?ud v|");
        let mut whole = Vec::new();
        Screen::new(&mut whole, Charset::Utf8)
            .write_all(drawn.as_bytes())
            .unwrap();
        assert_eq!(whole, drawn.as_bytes());
    }
}
