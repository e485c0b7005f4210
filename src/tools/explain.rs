//! The page about a finding of `doctor` or `status`, for a terminal. The guide has the texts.

use std::fmt::Write as _;

use guide::findings::{Finding, finding, findings};

use crate::shared::words::paragraph;

const COLUMNS: usize = 92;
const NEAR_MAX: usize = 5;
/// Minimum similarity of a name, from 0 (nothing in common) to 1 (the same).
const SIMILAR: f64 = 0.8;

/// Returns the page about a finding, for a terminal.
pub(crate) fn page(id: &str) -> Option<String> {
    let finding = finding(id)?;
    let mut text = format!("{}\n", finding.id);
    for part in finding.parts() {
        text.push('\n');
        text.push_str(&paragraph(&part, "  ", COLUMNS));
    }
    Some(text)
}

/// Returns the message that no finding has this id, with similar ids and all ids.
pub(crate) fn without_page(id: &str) -> String {
    let mut all: Vec<Finding> = findings().collect();
    all.sort_by_key(|finding| finding.id);
    let mut text = format!("no finding has the id {id:?}.");
    let near = near(id, all.iter().map(|finding| finding.id));
    if !near.is_empty() {
        let _ = write!(text, " Similar: {}.", near.join(", "));
    }
    text.push_str("\n\n");
    let widest = all
        .iter()
        .map(|finding| finding.id.len())
        .max()
        .unwrap_or(0);
    for finding in &all {
        let _ = writeln!(text, "{:widest$}  {}", finding.id, finding.meaning());
    }
    text
}

/// Returns the names in `all` that are similar to `id`, the most similar first.
pub(crate) fn near<'a>(id: &str, all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let id = id.to_lowercase();
    let similar = all.map(|other| match id.len() > 2 && other.contains(&*id) {
        true => (1.0, other),
        false => (strsim::jaro_winkler(&id, other), other),
    });
    let mut near: Vec<(f64, &str)> = similar.filter(|(alike, _)| *alike >= SIMILAR).collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.truncate(NEAR_MAX);
    near.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_on_a_terminal() {
        let text = page("never-registered").unwrap();
        assert!(
            text.starts_with("never-registered\n\n  Tasks wait, or"),
            "{text}"
        );
        assert!(text.contains("\n\n  Shown when: "), "{text}");
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }

    #[test]
    fn an_unknown_id_lists_near_ones() {
        for (wrong, right) in [
            ("never-registred", "never-registered"),
            ("Bad-State", "bad-messages"),
            ("registered", "never-registered"),
            ("lost", "manager-lost"),
        ] {
            let told = without_page(wrong);
            let first = told.lines().next().unwrap();
            assert!(first.contains(right), "{first}");
        }
        let told = without_page("qqq");
        assert!(
            told.starts_with("no finding has the id \"qqq\".\n\n"),
            "{told}"
        );
        assert_eq!(told.lines().count(), 2 + findings().count());
    }
}
