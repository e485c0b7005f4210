//! The sections about findings of `doctor` and `status`, by the findings' ids. A section's first
//! paragraph says what the finding means. A list follows: what shows it, what may cause it, what to
//! do, and related findings.

const FILES: [&str; 5] = [
    include_str!("findings/configuration.md"),
    include_str!("findings/network.md"),
    include_str!("findings/endpoint.md"),
    include_str!("findings/run.md"),
    include_str!("findings/status.md"),
];
/// The exceptions in which a program may see a finding, and the finding's id.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("BadStateException", "bad-state"),
    ("ManagerLost", "manager-lost"),
    ("VersionMismatch", "version-mismatch"),
    ("InterchangeLost", "interchange-killed"),
];
/// The beginning of a section, before its id.
const HEAD: &str = "\n## ";
const ITEM: &str = "- ";

/// The guide's section about the findings of one id.
#[derive(Debug, Clone, Copy)]
pub struct Finding {
    /// The id, as the tools print it.
    pub id: &'static str,
    body: &'static str,
}

impl Finding {
    /// Returns what the finding means, in a sentence or two.
    #[must_use]
    pub fn meaning(&self) -> String {
        self.parts().into_iter().next().unwrap_or_default()
    }

    /// Returns the meaning, then each item of the list; each as one line.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for line in self.body.lines().filter(|line| !line.is_empty()) {
            let item = line.strip_prefix(ITEM);
            match parts.last_mut().filter(|_| item.is_none()) {
                Some(part) => {
                    part.push(' ');
                    part.push_str(line.trim_start());
                }
                None => parts.push(item.unwrap_or(line).to_owned()),
            }
        }
        parts
    }
}

/// Returns the section about the finding with this id.
#[must_use]
pub fn finding(id: &str) -> Option<Finding> {
    findings().find(|finding| finding.id == id)
}

/// Returns the section about the finding that a program sees as this exception. Upper and lower
/// case are the same.
#[must_use]
pub fn of_exception(name: &str) -> Option<Finding> {
    let mut exceptions = EXCEPTIONS.iter();
    let (_, id) = exceptions.find(|(exception, _)| exception.eq_ignore_ascii_case(name))?;
    finding(id)
}

/// Returns the sections about all findings, file by file.
pub fn findings() -> impl Iterator<Item = Finding> {
    let sections = FILES.iter().flat_map(|file| file.split(HEAD).skip(1));
    sections.filter_map(|section| {
        let (id, body) = section.split_once('\n')?;
        Some(Finding { id, body })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_exception_has_a_finding() {
        for (exception, id) in EXCEPTIONS {
            let found = of_exception(&exception.to_lowercase()).map(|finding| finding.id);
            assert_eq!(found, Some(id));
        }
        assert!(of_exception("ValueError").is_none());
    }

    #[test]
    fn every_finding_is_complete_and_links_to_others() {
        let ids: Vec<&str> = findings().map(|finding| finding.id).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "one section for each id");
        for finding in findings() {
            let parts = finding.parts();
            let heads = ["Shown when: ", "Cause: ", "What to do: ", "Related: "];
            assert_eq!(parts.len(), 1 + heads.len(), "{}: {parts:?}", finding.id);
            for (part, head) in parts[1..].iter().zip(heads) {
                assert!(
                    part.starts_with(head) && part.ends_with('.'),
                    "{}: {part}",
                    finding.id
                );
            }
            let related = parts[4]
                .trim_start_matches("Related: ")
                .trim_end_matches('.');
            for other in related.split(", ") {
                assert!(
                    unique.contains(other) && other != finding.id,
                    "{}: {other}",
                    finding.id
                );
            }
        }
    }
}
