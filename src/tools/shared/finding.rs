//! A finding of a tool: what is the case, how severe it is, and what to do.

use serde::Serialize;

/// The severity of a finding, the worst first. JSON has its name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// In a current run: tasks do not proceed, or soon will not. In another run or a configuration:
    /// it fails or failed because of this.
    Problem,
    /// Something to look at: it causes a failure under circumstances that are unknown here.
    Warning,
    /// A plain statement about the state.
    Note,
}

impl Severity {
    /// Returns the name for screens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Problem => "PROBLEM",
            Self::Warning => "WARNING",
            Self::Note => "NOTE",
        }
    }
}

/// One finding. Its fields are those of `doctor --json`, in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The finding's id, which stays the same in all releases, even if the text changes.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// The label of the executor that the finding is about, if several executors are examined.
    pub(crate) executor: Option<String>,
    /// What is the case, in a sentence or two.
    pub(crate) what: String,
    /// Why this matters, or what may cause it. Empty if that is obvious.
    pub(crate) why: String,
    /// What to do, or where to look. Empty if there is nothing to do.
    pub(crate) remedy: String,
    /// Evidence: a line of a file with its place, a value with its name, or a command that shows
    /// it.
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

    /// Adds one piece of evidence. Each has its own line on a screen.
    pub(crate) fn shown_by(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// Prepares the finding for output. A problem without evidence is a bug of this program, and
    /// becomes a warning.
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

    /// Returns the explanation and the remedy; empty if there are none.
    pub(crate) fn advice(&self) -> String {
        let parts = [self.why.as_str(), &self.remedy];
        let told: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        told.join(" ")
    }
}

/// Returns the severity of the worst finding; a note if there are none.
pub(crate) fn worst(findings: &[Finding]) -> Severity {
    let severities = findings.iter().map(|finding| finding.severity);
    severities.min().unwrap_or(Severity::Note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "nothing shows the problem p")]
    fn a_problem_needs_evidence() {
        let _ = Finding::warning("w", "W").into_told();
        let _ = Finding::problem("p", "P").shown_by("p=1").into_told();
        let _ = Finding::problem("p", "P").into_told();
    }
}
