//! Lines of htex-interchange's log, recognized by their codes: the text of a line may change, its
//! code does not. Other interchanges write no codes.

use codes::Code;
use serde::Deserialize;

/// Fields of log lines that tools read.
const FIELDS: [&str; 5] = ["host", "held", "tasks", "queued", "in_flight"];

/// Codes of lines that end an interchange's log. Such a line is no end if a line with
/// [`codes::RESTARTED`] follows: another process continued the run (`--survive`).
pub(crate) const ENDS: [&Code; 8] = [
    &codes::EXITING,
    &codes::SUBMIT_SIDE_GONE,
    &codes::START_REFUSED,
    &codes::INTERNAL_ERROR,
    &codes::INTERCHANGE_KILLED,
    &codes::KEEPER_GONE,
    &codes::RESTART_FAILED,
    &codes::VERSION_MISMATCH,
];

/// A log line's message, separated from its fields and its code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) message: String,
    pub(crate) code: Option<&'static Code>,
    /// The fields ` key=value`, one after the other; empty for a line without a code.
    fields: String,
}

#[derive(Deserialize)]
struct JsonLine {
    levelname: String,
    formatted: String,
    code: Option<String>,
}

impl Coded {
    /// Parses the text of a line at this level, as text logs have it.
    pub(crate) fn of_text(text: &str, level: &str) -> Self {
        let parts = text
            .strip_suffix(']')
            .and_then(|rest| rest.rsplit_once(" ["));
        match parts {
            Some((message, name)) => Self::of_parts(message, Some(name), level)
                .unwrap_or_else(|| Self::without_code(text)),
            None => Self::without_code(text),
        }
    }

    /// Parses the texts of a JSON log's line.
    pub(crate) fn of_json(formatted: &str, name: Option<&str>, level: &str) -> Self {
        Self::of_parts(formatted, name, level).unwrap_or_else(|| Self::without_code(formatted))
    }

    /// Parses a whole line of a text log or a JSON log. Returns None if the line has no code.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let coded = match serde_json::from_str::<JsonLine>(line) {
            Ok(json) => Self::of_json(&json.formatted, json.code.as_deref(), &json.levelname),
            Err(_) => {
                let (_, name) = line.trim_end().strip_suffix(']')?.rsplit_once(" [")?;
                let level = codes::level_name(codes::named(name)?.level);
                let (_, text) = line.trim_end().split_once(&format!(" {level}: "))?;
                Self::of_text(text, level)
            }
        };
        coded.code.is_some().then_some(coded)
    }

    pub(crate) fn has(&self, code: &Code) -> bool {
        self.code == Some(code)
    }

    pub(crate) fn is_end(&self) -> bool {
        ENDS.iter().any(|end| self.has(end))
    }

    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        let mut fields = self
            .fields
            .rsplit(' ')
            .filter_map(|field| field.split_once('='));
        let (_, value) = fields.find(|(name, _)| *name == key)?;
        Some(value)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.parse().ok()
    }

    /// Returns the text as it is in a text log.
    pub(crate) fn whole(&self) -> String {
        let code = self.code.map(|code| format!(" [{}]", code.name));
        format!(
            "{}{}{}",
            self.message,
            self.fields,
            code.unwrap_or_default()
        )
    }

    /// Makes a line with a code, unless the code's level differs from the line's: then the text is
    /// a peer's, and only looks like a code.
    fn of_parts(text: &str, name: Option<&str>, level: &str) -> Option<Self> {
        let code = codes::named(name?)?;
        let fields = fields_of(text);
        let is_its = codes::level_name(code.level) == level;
        is_its.then(|| Self {
            message: text[..text.len() - fields.len()].to_owned(),
            code: Some(code),
            fields: fields.to_owned(),
        })
    }

    fn without_code(text: &str) -> Self {
        Self {
            message: text.to_owned(),
            ..Self::default()
        }
    }
}

/// Returns the fields at the end of a text, including the blank before the first.
fn fields_of(text: &str) -> &str {
    let mut begin = text.len();
    while let Some((before, field)) = text[..begin].rsplit_once(' ')
        && let Some((key, value)) = field.split_once('=')
        && FIELDS.contains(&key)
        // Values in quotes are a peer's text, which may look like fields.
        && !value.contains('"')
    {
        begin = before.len();
    }
    &text[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_fields_are_taken_off_the_end() {
        let text = "gone a=b host=n17 held=false tasks=4";
        let coded = Coded::of_text(&format!("{text} [manager-lost]"), "WARNING");
        assert_eq!(coded.message, "gone a=b");
        assert!(coded.has(&codes::MANAGER_LOST) && !coded.has(&codes::TASKS_LOST));
        assert_eq!(coded.field("host"), Some("n17"));
        assert_eq!(coded.number("tasks"), Some(4));
        assert_eq!(coded.field("queued"), None);
        assert_eq!(coded.whole(), format!("{text} [manager-lost]"));
        assert_eq!(Coded::of_json(text, Some("manager-lost"), "WARNING"), coded);
    }

    #[test]
    fn text_that_is_no_code_stays_in_the_message() {
        for (text, level) in [
            ("said [manager-lost]", "INFO"),
            ("said [no-such-code] tasks=4", "WARNING"),
            ("in flight 0 []", "INFO"),
            ("said tasks=4", "WARNING"),
        ] {
            let coded = Coded::of_text(text, level);
            assert_eq!((coded.message.as_str(), coded.code), (text, None));
            assert_eq!(coded.field("tasks"), None);
        }
        // The name of the node contains a text that looks like a field.
        let text = "gone host=\"n tasks=9\" tasks=4 [manager-lost]";
        let coded = Coded::of_text(text, "WARNING");
        assert_eq!(coded.number("tasks"), Some(4));
        assert_eq!(coded.field("host"), None);
    }

    #[test]
    fn whole_lines_of_both_kinds_are_read() {
        let text = "1.5 2026-11-30 10:00:00 MainProcess-4 x:1 f INFO: Exiting queued=1 [exiting]";
        let json = r#"{"levelname": "INFO", "formatted": "Exiting queued=1", "code": "exiting"}"#;
        for line in [text, json] {
            let coded = Coded::of_line(line).unwrap();
            assert_eq!(coded.message, "Exiting");
            assert!(coded.is_end());
            assert_eq!(coded.number("queued"), Some(1));
        }
        assert_eq!(Coded::of_line("1.5 INFO: Exiting"), None);
        assert_eq!(Coded::of_line("1.5 DEBUG: Exiting [exiting]"), None);
    }
}
