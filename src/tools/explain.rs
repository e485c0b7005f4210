//! A page on each finding that `doctor` and `status` may tell of, by its id. A page is a section of
//! a file of `explain/`: its first paragraph says what the finding means; behind it stand what
//! shows it, what may be behind it, what to do, and which others are near it.

use std::fmt::Write as _;

use crate::shared::words::paragraph;

const ROOMS: [&str; 5] = [
    include_str!("explain/configuration.md"),
    include_str!("explain/network.md"),
    include_str!("explain/endpoint.md"),
    include_str!("explain/run.md"),
    include_str!("explain/status.md"),
];
/// What a page begins with, before its id.
const HEAD: &str = "\n## ";
const ITEM: &str = "- ";
const COLUMNS: usize = 92;
const NEAR_MAX: usize = 5;
/// From 0, nothing in common, to 1, the same.
const SIMILAR: f64 = 0.8;

/// What is to be known about the findings of one id.
pub(crate) struct Page {
    id: &'static str,
    body: &'static str,
}

impl Page {
    /// For a terminal.
    pub(crate) fn as_text(&self) -> String {
        let mut text = format!("{}\n", self.id);
        for part in self.parts() {
            text.push('\n');
            text.push_str(&paragraph(&part, "  ", COLUMNS));
        }
        text
    }

    /// In a sentence or two.
    fn meaning(&self) -> String {
        self.parts().into_iter().next().unwrap_or_default()
    }

    /// Each in a line of its own.
    fn parts(&self) -> Vec<String> {
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

pub(crate) fn page(id: &str) -> Option<Page> {
    pages().find(|page| page.id == id)
}

/// What to say of an id that no finding has: those that are near it, and all there are.
pub(crate) fn without_page(id: &str) -> String {
    let mut all: Vec<Page> = pages().collect();
    all.sort_by_key(|page| page.id);
    let mut text = format!("no finding has the id {id:?}.");
    let near = near(id, &all);
    if !near.is_empty() {
        let _ = write!(text, " Near it: {}.", near.join(", "));
    }
    text.push_str("\n\n");
    let widest = all.iter().map(|page| page.id.len()).max().unwrap_or(0);
    for page in &all {
        let _ = writeln!(text, "{:widest$}  {}", page.id, page.meaning());
    }
    text
}

/// The nearest first.
fn near(id: &str, all: &[Page]) -> Vec<&'static str> {
    let id = id.to_lowercase();
    let has = |page: &Page| id.len() > 2 && page.id.contains(&*id);
    let similar = all.iter().map(|page| match has(page) {
        true => (1.0, page.id),
        false => (strsim::jaro_winkler(&id, page.id), page.id),
    });
    let mut near: Vec<(f64, &str)> = similar.filter(|(alike, _)| *alike >= SIMILAR).collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.truncate(NEAR_MAX);
    near.into_iter().map(|(_, id)| id).collect()
}

fn pages() -> impl Iterator<Item = Page> {
    let sections = ROOMS.iter().flat_map(|room| room.split(HEAD).skip(1));
    sections.filter_map(|section| {
        let (id, body) = section.split_once('\n')?;
        Some(Page { id, body })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_page_says_what_it_should_and_leads_to_others() {
        let ids: Vec<&str> = pages().map(|page| page.id).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "one page for each id");
        for page in pages() {
            let parts = page.parts();
            let heads = ["Told when: ", "Behind it: ", "What to do: ", "Related: "];
            assert_eq!(parts.len(), 1 + heads.len(), "{}: {parts:?}", page.id);
            for (part, head) in parts[1..].iter().zip(heads) {
                assert!(
                    part.starts_with(head) && part.ends_with('.'),
                    "{}: {part}",
                    page.id
                );
            }
            let related = parts[4]
                .trim_start_matches("Related: ")
                .trim_end_matches('.');
            for other in related.split(", ") {
                assert!(
                    unique.contains(other) && other != page.id,
                    "{}: {other}",
                    page.id
                );
            }
        }
    }

    #[test]
    fn a_page_is_read_on_a_terminal() {
        let text = page("never-registered").unwrap().as_text();
        assert!(
            text.starts_with("never-registered\n\n  Tasks wait, or"),
            "{text}"
        );
        assert!(text.contains("\n\n  Told when: "), "{text}");
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }

    #[test]
    fn an_id_that_is_not_known_gets_those_near_it() {
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
        assert_eq!(told.lines().count(), 2 + pages().count());
    }
}
