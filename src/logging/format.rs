//! `parsl.logconfigs.file.FileLogging`'s %-format, compiled once.
//!
//! The rules are those of Python's `str % mapping` on the attributes of a `LogRecord`. A format
//! that Python would reject is rejected here at the start; the stock interchange would print a
//! traceback to stderr for every line instead.
//!
//! Not supported on purpose: a format without any field (every line would be the same), a
//! conversion without a name (`%s` would print the whole record), and widths above 1,000.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock, Moment};
use crate::record::{Controls, LOGGER, PROCESS, Record, Thread};

mod attribute;
mod bad_format;
mod conversion;
mod parse;

pub use bad_format::BadFormat;

use attribute::Attribute;
use conversion::{Conversion, Value};
use parse::Piece;

/// `parsl.log_utils.DEFAULT_FORMAT`, since 2026.01.26.
pub const PARSL_FORMAT: &str = "%(created)f %(asctime)s %(processName)s-%(process)d \
    %(threadName)s-%(thread)d %(name)s:%(lineno)d %(funcName)s %(levelname)s: %(message)s";

/// The compiled format of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineFormat {
    pieces: Vec<Piece>,
}

impl LineFormat {
    /// Returns Parsl's default format.
    pub(crate) fn parsl() -> Self {
        match Self::compile(PARSL_FORMAT) {
            Ok(format) => format,
            // This cannot happen; a test checks that Parsl's format compiles.
            Err(_) => Self {
                pieces: vec![Piece::Value(Attribute::Message, Conversion::plain('s'))],
            },
        }
    }

    /// Compiles a format string of Python's `logging`. As in Python, the empty string means
    /// `%(message)s`.
    ///
    /// # Errors
    /// [`BadFormat`] names the part that Python could not format.
    pub(crate) fn compile(format: &str) -> Result<Self, BadFormat> {
        let format = if format.is_empty() {
            "%(message)s"
        } else {
            format
        };
        Ok(Self {
            pieces: parse::pieces(format)?,
        })
    }
}

/// Writes events as lines of text in a [`LineFormat`].
#[derive(Debug)]
pub(crate) struct TextLines {
    format: Arc<LineFormat>,
    clock: Clock,
    process: u64,
    /// The start of the time that `%(relativeCreated)d` measures.
    started: Moment,
}

impl TextLines {
    pub(crate) fn new(format: LineFormat) -> Self {
        Self {
            format: Arc::new(format),
            clock: Clock::local(),
            process: u64::from(std::process::id()),
            started: Moment::now(),
        }
    }

    fn write(&self, record: &Record, thread: &Thread, out: &mut impl Write) -> fmt::Result {
        for piece in &self.format.pieces {
            match piece {
                Piece::Text(text) => out.write_str(text)?,
                Piece::Value(attribute, conversion) => {
                    self.write_value(*attribute, conversion, record, thread, out)?;
                }
            }
        }
        out.write_char('\n')
    }

    fn write_value(
        &self,
        attribute: Attribute,
        conversion: &Conversion,
        record: &Record,
        thread: &Thread,
        out: &mut impl Write,
    ) -> fmt::Result {
        let moment = record.moment;
        let value = match attribute {
            Attribute::Asctime if conversion.is_plain('s') => {
                return self.clock.write(moment, out);
            }
            Attribute::Asctime => {
                let mut text = String::new();
                self.clock.write(moment, &mut text)?;
                return conversion.write(Value::Str(&text), out);
            }
            Attribute::Created if conversion.is_plain('f') => {
                return write!(out, "{}.{:06}", moment.seconds, moment.nanos / 1_000);
            }
            Attribute::Created => Value::Float(moment.as_f64()),
            Attribute::Msecs => Value::Float(f64::from(moment.nanos / 1_000_000)),
            Attribute::RelativeCreated => {
                Value::Float((moment.as_f64() - self.started.as_f64()) * 1e3)
            }
            Attribute::LevelNo => Value::Int(record.level.number),
            Attribute::LineNo => Value::Int(u64::from(record.line)),
            Attribute::Process => Value::Int(self.process),
            Attribute::Thread => Value::Int(thread.id),
            Attribute::FileName => Value::Str(record.filename()),
            Attribute::FuncName => Value::Str(record.function),
            Attribute::LevelName => Value::Str(record.level.name),
            Attribute::Message => Value::Str(&record.text),
            Attribute::Msg => Value::Str(record.message()),
            Attribute::Module => Value::Str(record.module()),
            Attribute::Name => Value::Str(LOGGER),
            Attribute::PathName => Value::Str(record.pathname),
            Attribute::ProcessName => Value::Str(PROCESS),
            Attribute::ThreadName => Value::Str(&thread.name),
            Attribute::Args => Value::Object("()"),
            Attribute::Nothing => Value::Object("None"),
        };
        conversion.write(value, out)
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
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
        let mut record = Record::of(event, event.metadata(), Controls::Escaped);
        if let Some(code) = record.code {
            // The code is at the end of the line, so that searches for parts of the message still
            // match.
            record.text.push_str(&format!(" [{code}]"));
        }
        self.write(&record, Thread::current(), &mut out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected results, made by Python 3.11: `'%05d' % 65` and so on.
    const CONVERSIONS: [(Value<'static>, &str, &str); 88] = [
        (Value::Str("it's é"), "%s", "it's é"),
        (Value::Str("it's é"), "%10s|", "    it's é|"),
        (Value::Str("it's é"), "%-10s|", "it's é    |"),
        (Value::Str("it's é"), "%.3s", "it'"),
        (Value::Str("it's é"), "%05.2s", "   it"),
        (Value::Str("it's é"), "%r", "\"it's é\""),
        (Value::Str("it's é"), "%a", "\"it's \\xe9\""),
        (Value::Str("it's é"), "%12r|", "    \"it's é\"|"),
        (Value::Str("it's é"), "%-8.4a|", "\"it'    |"),
        (Value::Str("it's é"), "%#s", "it's é"),
        (Value::Str("it's é"), "%+s", "it's é"),
        (Value::Int(0), "%#o", "0o0"),
        (Value::Int(0), "%.2f", "0.00"),
        (Value::Int(65), "%c", "A"),
        (Value::Int(65), "%3c|", "  A|"),
        (Value::Int(1700), "%d", "1700"),
        (Value::Int(1700), "%5d", " 1700"),
        (Value::Int(1700), "%-5d|", "1700 |"),
        (Value::Int(1700), "%05d", "01700"),
        (Value::Int(1700), "%+d", "+1700"),
        (Value::Int(1700), "% d", " 1700"),
        (Value::Int(1700), "%+ d", "+1700"),
        (Value::Int(1700), "%.4d", "1700"),
        (Value::Int(1700), "%08.4d", "00001700"),
        (Value::Int(1700), "%-08d|", "1700    |"),
        (Value::Int(1700), "%x", "6a4"),
        (Value::Int(1700), "%X", "6A4"),
        (Value::Int(1700), "%#x", "0x6a4"),
        (Value::Int(1700), "%#X", "0X6A4"),
        (Value::Int(1700), "%o", "3244"),
        (Value::Int(1700), "%#o", "0o3244"),
        (Value::Int(1700), "%#010x", "0x000006a4"),
        (Value::Int(1700), "%f", "1700.000000"),
        (Value::Int(1700), "%.2f", "1700.00"),
        (Value::Int(1700), "%e", "1.700000e+03"),
        (Value::Int(1700), "%.0e", "2e+03"),
        (Value::Int(1700), "%#.0e", "2.e+03"),
        (Value::Int(1700), "%g", "1700"),
        (Value::Int(1700), "%G", "1700"),
        (Value::Int(1700), "%s", "1700"),
        (Value::Int(1700), "%6s|", "  1700|"),
        (Value::Int(1700), "%hd", "1700"),
        (Value::Int(1700), "%.3x", "6a4"),
        (Value::Float(1798761600.123456), "%s", "1798761600.123456"),
        (Value::Float(1798761600.123456), "%f", "1798761600.123456"),
        (Value::Float(1798761600.123456), "%.3f", "1798761600.123"),
        (Value::Float(1798761600.123456), "%.0f", "1798761600"),
        (Value::Float(1798761600.123456), "%#.0f", "1798761600."),
        (
            Value::Float(1798761600.123456),
            "%020.6f",
            "0001798761600.123456",
        ),
        (Value::Float(1798761600.123456), "%+.1f", "+1798761600.1"),
        (Value::Float(1798761600.123456), "% f", " 1798761600.123456"),
        (Value::Float(1798761600.123456), "%d", "1798761600"),
        (Value::Float(1798761600.123456), "%8d", "1798761600"),
        (Value::Float(1798761600.123456), "%.12d", "001798761600"),
        (Value::Float(1798761600.123456), "%e", "1.798762e+09"),
        (Value::Float(1798761600.123456), "%E", "1.798762E+09"),
        (Value::Float(1798761600.123456), "%.3e", "1.799e+09"),
        (Value::Float(1798761600.123456), "%g", "1.79876e+09"),
        (Value::Float(1798761600.123456), "%G", "1.79876E+09"),
        (Value::Float(1798761600.123456), "%.3g", "1.8e+09"),
        (Value::Float(1798761600.123456), "%#g", "1.79876e+09"),
        (Value::Float(1798761600.123456), "%.10g", "1798761600"),
        (Value::Float(1798761600.123456), "%.0g", "2e+09"),
        (Value::Float(1798761600.123456), "%r", "1798761600.123456"),
        (
            Value::Float(1798761600.123456),
            "%-20.2f|",
            "1798761600.12       |",
        ),
        (Value::Float(1798761600.123456), "%#.3g", "1.80e+09"),
        (Value::Float(1798761600.123456), "%12.4e", "  1.7988e+09"),
        (Value::Float(123.0), "%s", "123.0"),
        (Value::Float(123.0), "%#.0f", "123."),
        (Value::Float(123.0), "%e", "1.230000e+02"),
        (Value::Float(123.0), "%g", "123"),
        (Value::Float(123.0), "%#g", "123.000"),
        (Value::Float(0.0), "%e", "0.000000e+00"),
        (Value::Float(0.0), "%g", "0"),
        (Value::Float(-2.75), "%020.6f", "-000000000002.750000"),
        (Value::Float(-2.75), "%+.1f", "-2.8"),
        (Value::Float(-2.75), "%d", "-2"),
        (Value::Float(-2.75), "%.12d", "-000000000002"),
        (Value::Float(0.00012345), "%e", "1.234500e-04"),
        (Value::Float(0.00012345), "%g", "0.00012345"),
        (Value::Float(0.00012345), "%.3g", "0.000123"),
        (Value::Float(1e-07), "%g", "1e-07"),
        (Value::Float(1e-07), "%G", "1E-07"),
        (Value::Object("None"), "%s", "None"),
        (Value::Object("None"), "%r", "None"),
        (Value::Object("None"), "%8s|", "    None|"),
        (Value::Object("None"), "%.2s", "No"),
        (Value::Object("None"), "%a", "None"),
    ];

    #[test]
    fn conversions_are_those_of_python() {
        for (value, format, expected) in CONVERSIONS {
            assert_eq!(formatted(format, value), expected, "{format:?} % {value:?}");
        }
    }

    #[test]
    fn formats_that_python_refuses_are_refused() {
        let unknown = |field: &str| BadFormat::UnknownField(field.to_owned());
        let conversion = |field: &str, conversion| BadFormat::UnknownConversion {
            field: field.to_owned(),
            conversion,
        };
        let wrong = |field: &str, conversion| BadFormat::WrongType {
            field: field.to_owned(),
            conversion,
        };
        for (format, error) in [
            ("no field", BadFormat::NoField),
            ("%%", BadFormat::NoField),
            ("%(task)s", unknown("task")),
            ("%(a(b))s", unknown("a(b)")),
            ("%()s", unknown("")),
            ("%(task)%", unknown("task")),
            ("%(message)%", conversion("message", '%')),
            ("%5%", BadFormat::NoName(0)),
            ("a %s", BadFormat::NoName(2)),
            ("%(message)s 100 % sure", BadFormat::NoName(16)),
            ("%(lineno)*d", BadFormat::NoName(0)),
            ("%(lineno).*d", BadFormat::NoName(0)),
            ("%(message)s %", BadFormat::Incomplete(12)),
            ("%(message", BadFormat::Incomplete(0)),
            ("%(message)", BadFormat::Incomplete(0)),
            ("%(message)-5.", BadFormat::Incomplete(0)),
            ("%(message)y", conversion("message", 'y')),
            ("%(message)é", conversion("message", 'é')),
            ("%(message)d", wrong("message", 'd')),
            ("%(asctime)f", wrong("asctime", 'f')),
            ("%(created)x", wrong("created", 'x')),
            ("%(created)c", wrong("created", 'c')),
            ("%(exc_info)d", wrong("exc_info", 'd')),
            ("%(message)1001s", BadFormat::TooWide),
            ("%(created).99999999999999999999f", BadFormat::TooWide),
        ] {
            assert_eq!(LineFormat::compile(format), Err(error), "{format:?}");
        }
    }

    #[test]
    fn literal_percent_signs_and_the_empty_format() {
        let laid_out = laid_out("%%(x)s %(lineno)ld%%%%", Value::Int(255));
        assert_eq!(laid_out, "%(x)s 255%%");
        assert_eq!(LineFormat::compile(""), LineFormat::compile("%(message)s"));
        assert!(LineFormat::compile(PARSL_FORMAT).is_ok());
        assert_eq!(LineFormat::compile(PARSL_FORMAT), Ok(LineFormat::parsl()));
    }

    /// Returns `format % value`. Each conversion gets the name of a field of the value's kind.
    fn formatted(format: &str, value: Value<'_>) -> String {
        let field = match value {
            Value::Str(_) => "name",
            Value::Int(_) => "lineno",
            Value::Float(_) => "created",
            Value::Object(_) => "args",
        };
        let named = format.replace('%', &format!("%({field})"));
        laid_out(&named, value)
    }

    fn laid_out(format: &str, value: Value<'_>) -> String {
        let mut out = String::new();
        for piece in parse::pieces(format).unwrap() {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Value(_, conversion) => conversion.write(value, &mut out).unwrap(),
            }
        }
        out
    }
}
