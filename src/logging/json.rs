//! The lines of `parsl.logconfigs.json`: one JSON object per event, written like Python's
//! `json.dump`.
//!
//! The eleven keys and their order are fixed, so this module writes the object without a
//! serializer. `msg` is the message alone; `formatted` has the fields after it. A twelfth key,
//! `code`, follows if the line has a code; Parsl's readers look keys up by name.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::record::{Controls, LOGGER, PROCESS, Record, Thread};

/// Writes an event as a JSON object.
#[derive(Debug)]
pub(crate) struct JsonLines {
    process: u32,
}

impl JsonLines {
    pub(crate) fn new() -> Self {
        Self {
            process: std::process::id(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let record = Record::of(event, event.metadata(), Controls::Kept);
        self.write(&record, Thread::current(), &mut out)
    }
}

impl JsonLines {
    fn write(&self, record: &Record, thread: &Thread, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "{{\"created\": {:?}, ", record.moment.as_f64())?;
        write!(
            out,
            "\"process\": {}, \"processName\": \"{PROCESS}\", ",
            self.process
        )?;
        out.write_str("\"threadName\": ")?;
        write_string(&thread.name, out)?;
        write!(out, ", \"thread\": {}, \"name\": \"{LOGGER}\", ", thread.id)?;
        write!(out, "\"lineno\": {}, \"funcname\": ", record.line)?;
        write_string(record.function, out)?;
        write!(out, ", \"levelname\": \"{}\", \"msg\": ", record.level.name)?;
        write_string(record.message(), out)?;
        out.write_str(", \"formatted\": ")?;
        write_string(&record.text, out)?;
        if let Some(code) = record.code {
            write!(out, ", \"code\": \"{code}\"")?;
        }
        out.write_str("}\n")
    }
}

/// Writes a JSON string in ASCII, which is the default of `json.dump`.
fn write_string(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_char('"')?;
    let mut plain_from = 0;
    for (at, character) in text.char_indices() {
        if matches!(character, ' '..='~') && character != '"' && character != '\\' {
            continue;
        }
        out.write_str(&text[plain_from..at])?;
        plain_from = at + character.len_utf8();
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_str(&text[plain_from..])?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_spelt_as_python_does() {
        for (text, json) in [
            ("plain", r#""plain""#),
            ("\"\\\n\r\t\u{8}\u{c}", r#""\"\\\n\r\t\b\f""#),
            ("\0\u{1b}\u{7f}", r#""\u0000\u001b\u007f""#),
            ("é\u{2028}\u{1F600}", r#""\u00e9\u2028\ud83d\ude00""#),
        ] {
            let mut out = String::new();
            write_string(text, &mut out).unwrap();
            assert_eq!(out, json);
        }
    }
}
