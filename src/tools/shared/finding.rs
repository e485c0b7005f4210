//! What a tool has found out: what is the case, how bad it is, and what to do about it.

use serde::Serialize;

/// What to make of a finding; the worst first. In JSON its name is in small letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Of a run that goes on: tasks do not go on, or will not soon. Of another: it fails, or has
    /// failed, by it.
    Problem,
    /// Something to look at: it fails under circumstances that cannot be told from here.
    Warning,
    /// How things are.
    Note,
}

impl Severity {
    /// As it stands on a screen.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Problem => "PROBLEM",
            Self::Warning => "WARNING",
            Self::Note => "NOTE",
        }
    }
}

/// One thing that was found. Its fields are those of `doctor --json`, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Stays the same from release to release, whatever becomes of the words.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// The executor's label, where several are looked at and it is about one.
    pub(crate) executor: Option<String>,
    /// What is the case: a sentence or two.
    pub(crate) what: String,
    /// Why it matters, or what may be behind it. Empty if that goes without saying.
    pub(crate) why: String,
    /// What to do, or where to look. Empty if there is nothing to do.
    pub(crate) remedy: String,
    /// What shows that it is so: a line of a file with its place, a value that was read with its
    /// name, or the command that shows it.
    pub(crate) evidence: Vec<String>,
}

impl Finding {
    pub(crate) fn problem(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Problem, what)
    }

    pub(crate) fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Warning, what)
    }

    pub(crate) fn note(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Note, what)
    }

    pub(crate) fn new(id: &'static str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            executor: None,
            what: what.into(),
            why: String::new(),
            remedy: String::new(),
            evidence: Vec::new(),
        }
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Of several, each in a line of its own.
    pub(crate) fn shown_by(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// As it may be told: a problem that nothing shows is a fault of ours, and a warning.
    pub(crate) fn into_told(self) -> Self {
        let is_shown = self.severity != Severity::Problem || !self.evidence.is_empty();
        debug_assert!(is_shown, "nothing shows the problem {}", self.id);
        match is_shown {
            true => self,
            false => Self {
                severity: Severity::Warning,
                ..self
            },
        }
    }

    /// All that stands behind the first sentence; empty if there is nothing.
    pub(crate) fn advice(&self) -> String {
        let parts = [self.why.as_str(), &self.remedy];
        let told: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        told.join(" ")
    }
}

/// That of the worst finding; of none, a note.
pub(crate) fn worst(findings: &[Finding]) -> Severity {
    let severities = findings.iter().map(|finding| finding.severity);
    severities.min().unwrap_or(Severity::Note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "nothing shows the problem p")]
    fn a_problem_has_to_be_shown() {
        let _ = Finding::warning("w", "W").into_told();
        let _ = Finding::problem("p", "P").shown_by("p=1").into_told();
        let _ = Finding::problem("p", "P").into_told();
    }
}
