//! Finds the part of the guide that a word names: a section by its heading, a row of a table by its
//! first cell, or a paragraph by the bold words at its beginning.

use crate::findings::{Finding, findings};
use crate::{PAGES, Page};

/// The first head of a table of transitions, whose rows only list the states that follow.
const TRANSITIONS: &str = "after";

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The topic of the page that contains the part.
    pub topic: &'static str,
    /// The part's text, in Markdown.
    pub text: String,
}

/// Returns the first part that `word` names; upper and lower case are the same.
#[must_use]
pub fn part(word: &str) -> Option<Part> {
    let kinds: [fn(&Page, &str) -> Option<String>; 3] = [section, row, paragraph];
    kinds.iter().find_map(|find| {
        PAGES.iter().find_map(|page| {
            let text = find(page, word)?;
            Some(Part {
                topic: page.topic,
                text,
            })
        })
    })
}

/// Returns the findings that a field of the status document shows, such as `queue.unmet`. The
/// number of a manager (`managers[0].held`) does not matter.
pub fn shown_by(field: &str) -> Vec<Finding> {
    if !field.contains('.') || field.contains(['`', ' ']) {
        return Vec::new();
    }
    let quoted = format!("`{}`", without_places(&field.to_lowercase()));
    let names = |finding: &Finding| finding.parts().iter().any(|part| part.contains(&quoted));
    findings().filter(names).collect()
}

/// Returns the topics of the pages, and the ids of the findings, whose text has this word.
#[must_use]
pub fn mentions(word: &str) -> Vec<&'static str> {
    let pages = PAGES.iter().filter(|page| has_word(page.text, word));
    let found = findings().filter(|finding| has_word(&finding.parts().join(" "), word));
    pages
        .map(|page| page.topic)
        .chain(found.map(|finding| finding.id))
        .collect()
}

/// Returns each definition of a reference, `[name]: target`, in a text.
pub fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(definition)
}

/// Returns the name and the target if the line defines a reference.
#[must_use]
pub fn definition(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ")
}

/// Returns the cells of a line of a table.
#[must_use]
pub fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    // A bar within a cell is escaped by a backslash.
    let bars = inner.replace("\\|", "\u{1}");
    let cells = bars
        .split('|')
        .map(|cell| cell.trim().replace('\u{1}', "|"));
    cells.collect()
}

/// Removes what is in brackets: `managers[0].held` becomes `managers[].held`.
fn without_places(field: &str) -> String {
    let mut parts = field.split('[');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push('[');
        if let Some((_, rest)) = part.split_once(']') {
            kept.push(']');
            kept.push_str(rest);
        }
    }
    kept
}

/// Whether a text has a word or a phrase, not as a part of a longer word; upper and lower case are
/// the same.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.trim().to_lowercase());
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !word.is_empty()
        && text.match_indices(&word).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !is_part(before) && !is_part(after)
        })
}

/// Whether a line is the ruler between a table's head and its rows.
#[must_use]
pub fn is_ruler(line: &str) -> bool {
    line.starts_with('|') && line.contains("---") && line.chars().all(|c| "|-: ".contains(c))
}

fn section(page: &Page, word: &str) -> Option<String> {
    let mut level = None;
    let mut text = String::new();
    let mut is_code = false;
    for line in page.text.lines() {
        is_code ^= line.starts_with("```");
        if let Some((depth, title)) = heading(line).filter(|_| !is_code) {
            match level {
                None if depth > 1 && is_named(title, word) => level = Some(depth),
                Some(level) if depth <= level => break,
                _ => {}
            }
        }
        if level.is_some() {
            text.push_str(line);
            text.push('\n');
        }
    }
    level.map(|_| text)
}

/// Returns the depth and the words if the line is a heading.
#[must_use]
pub fn heading(line: &str) -> Option<(usize, &str)> {
    let words = line.trim_start_matches('#');
    let depth = line.len() - words.len();
    words
        .strip_prefix(' ')
        .filter(|_| depth > 0)
        .map(|words| (depth, words))
}

/// Returns the row that `word` names, as a list below the row's first cell.
fn row(page: &Page, word: &str) -> Option<String> {
    let lines: Vec<&str> = page.text.lines().collect();
    let mut heads = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if lines.get(number + 1).is_some_and(|next| is_ruler(next)) {
            heads = cells(line);
            continue;
        }
        let is_left_out = heads.first().is_some_and(|head| head == TRANSITIONS);
        if !line.starts_with('|') || is_ruler(line) || is_left_out {
            continue;
        }
        let cells = cells(line);
        let first = cells.first()?;
        if !first.split(", ").any(|name| is_named(name, word)) {
            continue;
        }
        let mut text = format!("## {first}\n\n");
        for (head, cell) in heads.iter().zip(&cells).skip(1) {
            text.push_str(&format!("- {head}: {cell}\n"));
        }
        return Some(text);
    }
    None
}

fn paragraph(page: &Page, word: &str) -> Option<String> {
    let mut paragraphs = page.text.split("\n\n");
    let found = paragraphs.find(|text| {
        let text = text.trim_start_matches(['-', ' ', '\n']);
        let bold = text
            .strip_prefix("**")
            .and_then(|rest| rest.split_once("**"));
        bold.is_some_and(|(bold, _)| is_named(bold, word))
    });
    found.map(|text| format!("{}\n", text.trim()))
}

/// Whether `word` names a title, a cell or bold words: `word` is the whole text, or the first word
/// of the code at its beginning. `--events` names the flag `--events FILE`.
fn is_named(text: &str, word: &str) -> bool {
    let text = text.trim();
    let in_code = text.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    let code = in_code.map_or("", |(code, _)| code);
    let plain = text.trim_matches(['`', '.', ':']);
    let first = code.split(' ').next().unwrap_or_default();
    !word.is_empty()
        && [plain, code, first]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page {
        topic: "made",
        text: "# Made\n\nA page.\n\n## One\n\nFirst.\n\n```sh\n## no heading\n```\n\n### Below\n\n\
               Second.\n\n## Two\n\n| flag | default | what |\n| --- | --- | --- |\n\
               | `--a X\\|Y` | `1` | is a |\n\n- **P-1.2** says so.\n",
    };

    #[test]
    fn a_section_ends_at_the_next_one_of_its_depth() {
        let one = section(&PAGE, "one").unwrap();
        assert!(
            one.starts_with("## One\n") && one.ends_with("Second.\n\n"),
            "{one}"
        );
        assert_eq!(section(&PAGE, "Below").unwrap(), "### Below\n\nSecond.\n\n");
        assert_eq!(section(&PAGE, "no heading"), None);
        assert_eq!(section(&PAGE, "made"), None, "a page has its topic");
    }

    #[test]
    fn a_row_is_found_by_its_first_cell() {
        let wanted = "## `--a X|Y`\n\n- default: `1`\n- what: is a\n";
        assert_eq!(row(&PAGE, "--a").as_deref(), Some(wanted));
        assert_eq!(row(&PAGE, "flag"), None);
        assert_eq!(row(&PAGE, ""), None);
    }

    #[test]
    fn a_table_of_transitions_explains_no_state() {
        let text = "| after | comes |\n| --- | --- |\n| held | lost |\n\n\
                    | state | meaning |\n| --- | --- |\n| held | gets no tasks |\n";
        let page = Page { topic: "x", text };
        let found = row(&page, "held");
        assert_eq!(
            found.as_deref(),
            Some("## held\n\n- meaning: gets no tasks\n")
        );
        for state in ["queued", "replaced"] {
            let found = part(state);
            assert!(
                found.is_none_or(|part| !part.text.contains("comes: ")),
                "{state}"
            );
        }
    }

    #[test]
    fn a_field_of_the_status_names_the_findings_that_it_shows() {
        let ids = |field: &str| -> Vec<&str> {
            let found = shown_by(field);
            found.iter().map(|finding| finding.id).collect()
        };
        assert!(ids("queue.unmet").contains(&"no-manager-fits"));
        assert!(ids("totals.managers_lost").contains(&"manager-lost"));
        assert!(ids("managers[0].held").contains(&"managers-held"));
        for none in ["queue", "queue.unme", "no such.thing", ""] {
            assert!(ids(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn whole_words_of_all_texts_are_found() {
        assert!(mentions("gunicorn").is_empty() && mentions("").is_empty());
        let found = mentions("worker_init");
        assert!(found.contains(&"never-registered") || found.contains(&"manager-versions"));
        assert!(has_word("a Slurm job", "slurm") && !has_word("slurmstepd", "slurm"));
    }

    #[test]
    fn a_paragraph_is_found_by_its_bold_words() {
        assert_eq!(
            paragraph(&PAGE, "p-1.2").as_deref(),
            Some("- **P-1.2** says so.\n")
        );
        assert_eq!(paragraph(&PAGE, "P-1"), None);
    }
}
