//! A kind of event that files of a run report, recognized by certain words.

use crate::shared::finding::{Finding, Severity};

pub(super) struct Kind {
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    /// Texts that identify lines of this kind. A line without a code contains at least one of them.
    pub(super) marks: &'static [&'static str],
    pub(super) what: &'static str,
    /// The explanation; empty if none is needed.
    pub(super) why: &'static str,
    pub(super) remedy: &'static str,
}

impl Kind {
    /// Makes a finding that says `what`, with the explanation and the remedy of this kind.
    pub(super) fn finding(&self, what: impl Into<String>) -> Finding {
        Finding::new(self.id, self.severity, what)
            .because(self.why)
            .remedy(self.remedy)
    }
}
