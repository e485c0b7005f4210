//! An event of `tracing` with the attributes of a Python `LogRecord`.
//!
//! A peer may have written parts of a message, so this module makes the text harmless: control
//! characters are escaped, and a long message is cut.

use std::fmt::{self, Write};

use nix::sys::pthread::pthread_self;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use crate::clock::Moment;

/// `%(name)s`: the logger's name in the stock interchange, by which users filter.
pub(crate) const LOGGER: &str = "parsl.executors.high_throughput.interchange";
/// `%(processName)s`: the name that `multiprocessing` uses for a process that it did not start.
pub(crate) const PROCESS: &str = "MainProcess";

/// Longest message that is kept, in bytes: enough for a traceback, but not for filling the disk.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
const CUT: &str = "... [cut]";
/// The name of the field that `codes::log!` adds.
const CODE: &str = "code";

/// An event with all attributes for a line.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) moment: Moment,
    pub(crate) level: LevelName,
    pub(crate) pathname: &'a str,
    pub(crate) line: u32,
    pub(crate) function: &'a str,
    /// The message followed by its fields as ` key=value`, without the code.
    pub(crate) text: String,
    /// Length of the message at the beginning of `text`.
    pub(crate) message_bytes: usize,
    /// The line's code from the table in the crate `codes`.
    pub(crate) code: Option<&'static str>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(event: &Event<'_>, meta: &'a Metadata<'a>, controls: Controls) -> Self {
        let mut collector = Collector {
            message: Text::new(controls),
            fields: Text::new(controls),
            code: None,
        };
        event.record(&mut collector);
        let Collector {
            message,
            fields,
            code,
        } = collector;
        let mut text = message.kept;
        let message_bytes = text.len();
        text.push_str(&fields.kept);
        Self {
            moment: Moment::now(),
            level: LevelName::of(*meta.level()),
            pathname: meta.file().unwrap_or("unknown"),
            line: meta.line().unwrap_or(0),
            function: last_segment(meta.module_path().unwrap_or(meta.target())),
            text,
            message_bytes,
            code,
        }
    }

    pub(crate) fn message(&self) -> &str {
        self.text.get(..self.message_bytes).unwrap_or(&self.text)
    }

    /// Returns `%(filename)s`.
    pub(crate) fn filename(&self) -> &'a str {
        self.pathname.rsplit('/').next().unwrap_or(self.pathname)
    }

    /// Returns `%(module)s`.
    pub(crate) fn module(&self) -> &'a str {
        self.filename()
            .rsplit_once('.')
            .map_or(self.filename(), |(stem, _)| stem)
    }
}

/// The name and number of a level in Python.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelName {
    pub(crate) name: &'static str,
    pub(crate) number: u64,
}

impl LevelName {
    fn of(level: Level) -> Self {
        let number = match level {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            Level::DEBUG | Level::TRACE => 10,
        };
        Self {
            name: codes::level_name(level),
            number,
        }
    }
}

/// The thread of an event, as Python's `threading` describes it.
#[derive(Debug)]
pub(crate) struct Thread {
    /// The result of `pthread_self()`, which `threading.get_ident()` returns in Python.
    pub(crate) id: u64,
    pub(crate) name: String,
}

impl Thread {
    /// Returns the description of the calling thread. It is made once per thread and never freed:
    /// it has a few bytes, there are few threads, and a thread may log until its very end.
    pub(crate) fn current() -> &'static Self {
        thread_local! {
            static CURRENT: &'static Thread = Box::leak(Box::new(Thread::describe()));
        }
        CURRENT.with(|current| *current)
    }

    fn describe() -> Self {
        let current = std::thread::current();
        let name = match current.name() {
            Some("main") => "MainThread",
            Some(name) => name,
            None => "Thread",
        };
        Self {
            // A pointer with musl, a number with glibc.
            id: pthread_self() as usize as u64,
            name: name.to_owned(),
        }
    }
}

/// The treatment of control characters in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controls {
    /// Escaped as in a Python literal, so that no message can forge a line.
    Escaped,
    /// Kept, because the JSON writer escapes them.
    Kept,
}

/// Text of limited length, in which control characters are escaped if so requested.
#[derive(Debug)]
struct Text {
    kept: String,
    controls: Controls,
    cut: bool,
}

impl Text {
    fn new(controls: Controls) -> Self {
        Self {
            kept: String::new(),
            controls,
            cut: false,
        }
    }

    fn push(&mut self, text: &str) {
        if self.cut {
            return;
        }
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.kept.len());
        if text.len() <= room {
            self.kept.push_str(text);
            return;
        }
        let fits = |&(at, character): &(usize, char)| at + character.len_utf8() <= room;
        self.kept.extend(
            text.char_indices()
                .take_while(fits)
                .map(|(_, character)| character),
        );
        self.kept.push_str(CUT);
        self.cut = true;
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.controls == Controls::Kept {
            self.push(text);
            return Ok(());
        }
        let mut clean_from = 0;
        for (at, character) in text.char_indices().filter(|&(_, c)| breaks_lines(c)) {
            self.push(&text[clean_from..at]);
            self.push(&escape(character));
            clean_from = at + character.len_utf8();
            if self.cut {
                break;
            }
        }
        self.push(&text[clean_from..]);
        Ok(())
    }
}

/// Separates an event's message from its other fields.
struct Collector {
    message: Text,
    fields: Text,
    code: Option<&'static str>,
}

impl Collector {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // `Text` never returns an error. If a value's own `Debug` does, the text written so far is
        // kept.
        let _ = if field.name() == "message" {
            self.message.write_fmt(value)
        } else {
            write!(self.fields, " {}={value}", field.name())
        };
    }
}

impl Visit for Collector {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == CODE
            && let Some(code) = codes::named(value)
        {
            self.code = Some(code.name);
            return;
        }
        let unclear = value.is_empty() || value.contains([' ', '"', '=']);
        if unclear && field.name() != "message" {
            self.field(field, format_args!("{value:?}"));
        } else {
            self.field(field, format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, format_args!("{value:?}"));
    }
}

/// Whether a character could end a line or control a terminal: line feeds, other control characters
/// (ESC, the C1 range), and separators at which `str.splitlines` splits.
fn breaks_lines(character: char) -> bool {
    match character {
        '\t' => false,
        '\u{2028}' | '\u{2029}' => true,
        _ => character.is_control(),
    }
}

fn escape(character: char) -> String {
    match character {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        _ => match u32::from(character) {
            code @ ..0x100 => format!("\\x{code:02x}"),
            code @ 0x100..0x1_0000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
    }
}

/// Returns Python's `repr` of a string, or its `ascii`.
pub(crate) fn python_repr(text: &str, ascii: bool) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        if character == quote || character == '\\' {
            out.push('\\');
            out.push(character);
        } else if breaks_lines(character) || character == '\t' || ascii && !character.is_ascii() {
            out.push_str(&escape(character));
        } else {
            out.push(character);
        }
    }
    out.push(quote);
    out
}

fn last_segment(module_path: &str) -> &str {
    module_path.rsplit("::").next().unwrap_or(module_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let mut text = Text::new(Controls::Escaped);
        text.write_str("a\nb\r\u{1b}[2K\u{9b}\u{2028}\u{85}\0 \tÿ\\n")
            .unwrap();
        assert_eq!(text.kept, "a\\nb\\r\\x1b[2K\\x9b\\u2028\\x85\\x00 \tÿ\\n");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut text = Text::new(Controls::Escaped);
        text.write_str("x").unwrap();
        for _ in 0..MAX_MESSAGE_BYTES {
            text.write_str("é").unwrap();
        }
        assert!(
            text.kept.ends_with("é... [cut]"),
            "{}",
            &text.kept[MAX_MESSAGE_BYTES - 8..]
        );
        assert!(text.kept.len() <= MAX_MESSAGE_BYTES + CUT.len());
    }

    #[test]
    fn repr_quotes_as_python_does() {
        for (text, repr, ascii) in [
            ("plain", "'plain'", "'plain'"),
            ("it's", "\"it's\"", "\"it's\""),
            ("it's \"it\"", "'it\\'s \"it\"'", "'it\\'s \"it\"'"),
            ("a\\b\tc\n", "'a\\\\b\\tc\\n'", "'a\\\\b\\tc\\n'"),
            ("é\u{1F600}", "'é\u{1F600}'", "'\\xe9\\U0001f600'"),
            ("\u{20ac}", "'\u{20ac}'", "'\\u20ac'"),
        ] {
            assert_eq!(python_repr(text, false), repr);
            assert_eq!(python_repr(text, true), ascii);
        }
    }
}
