//! Lines of our own log, known by their codes: the text of a line may change, its code may not. An
//! interchange that is not ours writes none.

use codes::Code;
use serde::Deserialize;

/// Fields of our lines that tools read.
const FIELDS: [&str; 5] = ["host", "held", "tasks", "queued", "in_flight"];

/// How the log of an interchange of ours ends. What a line of these tells is none if a line of
/// [`codes::RESTARTED`] follows: another process went on (`--survive`).
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

/// A message without what stands behind it, and that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) message: String,
    pub(crate) code: Option<&'static Code>,
    /// ` key=value`, one behind the other; only of a line with a code.
    fields: String,
}

#[derive(Deserialize)]
struct JsonLine {
    levelname: String,
    formatted: String,
    code: Option<String>,
}

impl Coded {
    /// Of the text of a line at this level, as text logs have it.
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

    /// Of the texts that a JSON log has.
    pub(crate) fn of_json(formatted: &str, name: Option<&str>, level: &str) -> Self {
        Self::of_parts(formatted, name, level).unwrap_or_else(|| Self::without_code(formatted))
    }

    /// Of a whole line, of either kind of log; None if it has no code.
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

    /// As it stands in a text log.
    pub(crate) fn whole(&self) -> String {
        let code = self.code.map(|code| format!(" [{}]", code.name));
        format!(
            "{}{}{}",
            self.message,
            self.fields,
            code.unwrap_or_default()
        )
    }

    /// Words of a peer may look like a code where a line has none: the level has to be the code's.
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

/// The fields at the end of a text, with the blank before the first.
fn fields_of(text: &str) -> &str {
    let mut begin = text.len();
    while let Some((before, field)) = text[..begin].rsplit_once(' ')
        && let Some((key, value)) = field.split_once('=')
        && FIELDS.contains(&key)
        // Quotes stand around words that a peer chose, and may look like fields.
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
    fn what_is_no_code_stays_in_the_message() {
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
        // A node that calls itself so.
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
