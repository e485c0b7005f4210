//! All findings about one configuration or one run, as text for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::shared::finding::{Finding, Severity, worst};
use crate::shared::words::paragraph;

/// Version of the JSON document, which defines the meaning of its fields.
const FORMAT: u32 = 1;
const COLUMNS: usize = 92;

/// All that `doctor` reports about a configuration or a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Diagnosis {
    format: u32,
    /// Description of what was examined.
    pub(super) about: String,
    /// What the examination did apart from reading; empty if nothing. Text output prints this
    /// before the examination, not in the diagnosis.
    pub(super) does: String,
    findings: Vec<Finding>,
    pub(super) examined: Vec<String>,
    pub(super) not_examined: Vec<String>,
}

impl Diagnosis {
    pub(super) fn new(about: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            about: about.into(),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        self.findings
            .extend(found.into_iter().map(Finding::into_told));
    }

    pub(super) fn add_about(&mut self, label: &str, found: impl IntoIterator<Item = Finding>) {
        self.add(found.into_iter().map(|finding| Finding {
            executor: Some(label.to_owned()),
            ..finding
        }));
    }

    /// Adds `what` to the list of examined things: once, however many executors it was examined
    /// for.
    pub(super) fn examined(&mut self, what: &str) {
        push_new(&mut self.examined, what);
    }

    pub(super) fn not_examined(&mut self, what: &str) {
        push_new(&mut self.not_examined, what);
    }

    pub(super) fn worst(&self) -> Severity {
        worst(&self.findings)
    }

    /// # Errors
    /// None is known, since all values are plain text.
    pub(super) fn as_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub(super) fn as_text(&self) -> String {
        let mut text = format!("{}\n", self.about);
        let groups = [
            ("Problems", Severity::Problem),
            ("Warnings", Severity::Warning),
            ("Notes", Severity::Note),
        ];
        for (title, severity) in groups {
            let mut of_it = self
                .findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .peekable();
            if of_it.peek().is_some() {
                let _ = writeln!(text, "\n{title}");
            }
            for finding in of_it {
                text.push_str(&told_of(finding));
            }
        }
        text.push('\n');
        let lists = [
            ("Checked", &self.examined),
            ("Could not be checked", &self.not_examined),
        ];
        let mut end = match self.worst() {
            Severity::Note => "No problem was found. ".to_owned(),
            Severity::Warning | Severity::Problem => String::new(),
        };
        for (title, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            let _ = write!(end, "{title}: {}. ", list.join("; "));
        }
        text.push_str(&paragraph(&end, "", COLUMNS));
        let first = self.findings.iter().min_by_key(|finding| finding.severity);
        if let Some(first) = first.filter(|first| first.severity != Severity::Note) {
            let _ = writeln!(
                text,
                "`htex-interchange doctor --explain {}` explains this finding; it does so for \
                 every finding.",
                first.id
            );
        }
        text
    }
}

fn told_of(finding: &Finding) -> String {
    let about = match &finding.executor {
        Some(label) => format!("{} (executor {label})", finding.id),
        None => finding.id.to_owned(),
    };
    let mut body = finding.what.clone();
    let advice = finding.advice();
    if !advice.is_empty() {
        body.push(' ');
        body.push_str(&advice);
    }
    let mut text = format!("  {about}\n{}", paragraph(&body, "    ", COLUMNS));
    for shown in &finding.evidence {
        text += &paragraph(&format!("Shown by: {shown}"), "    ", COLUMNS);
    }
    text
}

fn push_new(list: &mut Vec<String>, what: &str) {
    if !list.iter().any(|known| known == what) {
        list.push(what.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        let mut diagnosis = Diagnosis::new("x");
        assert_eq!(diagnosis.worst(), Severity::Note);
        assert!(diagnosis.as_text().contains("No problem was found"));
        diagnosis.add([Finding::note("n", "N")]);
        assert_eq!(diagnosis.worst(), Severity::Note);
        assert!(!diagnosis.as_text().contains("--explain"));
        diagnosis.add([Finding::warning("w", "W")]);
        assert_eq!(diagnosis.worst(), Severity::Warning);
        diagnosis.add_about("htex", [Finding::problem("p", "P").shown_by("p=1")]);
        assert_eq!(diagnosis.worst(), Severity::Problem);
        let text = diagnosis.as_text();
        assert!(!text.contains("No problem was found"));
        assert!(text.ends_with(
            "`htex-interchange doctor --explain p` explains this finding; it does so for \
             every finding.\n"
        ));
        let places = [
            "Problems\n  p (executor htex)",
            "Warnings\n  w",
            "Notes\n  n",
        ];
        let places = places.map(|part| text.find(part).expect(part));
        assert!(places.is_sorted());
    }

    #[test]
    fn evidence_follows_the_advice() {
        let mut diagnosis = Diagnosis::new("x");
        let finding = Finding::problem("p", "It is so.").remedy("Do that.");
        diagnosis.add([finding.shown_by("a line").shown_by("another")]);
        let told = "  p\n    It is so. Do that.\n    Shown by: a line\n    Shown by: another\n";
        assert!(diagnosis.as_text().contains(told));
    }

    #[test]
    fn lines_are_short_and_lose_nothing() {
        let text = "word ".repeat(100);
        let lines = paragraph(&text, "    ", COLUMNS);
        assert!(lines.lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(lines.split_whitespace().count(), 100);
        assert_eq!(paragraph("a\n  b c", "  ", COLUMNS), "  a\n    b c\n");
        // The last line, a long list, is also broken.
        let mut diagnosis = Diagnosis::new("x");
        (0..30).for_each(|part| diagnosis.examined(&format!("part {part}")));
        let text = diagnosis.as_text();
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }
}
