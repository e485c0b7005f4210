//! A kind of thing that files of a run tell of, known by its words.

use crate::shared::finding::{Finding, Severity};

pub(super) struct Kind {
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    /// A line that has no code is of this kind if it has one of them.
    pub(super) marks: &'static [&'static str],
    pub(super) what: &'static str,
    /// Empty if that goes without saying.
    pub(super) why: &'static str,
    pub(super) remedy: &'static str,
}

impl Kind {
    /// `what` is the case, with what is usual for this kind behind it.
    pub(super) fn finding(&self, what: impl Into<String>) -> Finding {
        Finding::new(self.id, self.severity, what)
            .because(self.why)
            .remedy(self.remedy)
    }
}
