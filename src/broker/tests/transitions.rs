//! Compares the tables of transitions on the guide's design page with those of all scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::scenarios;

type Transitions = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_transitions_of_the_design_page_are_those_of_the_scenarios() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/design.md");
    let page = fs::read_to_string(path).expect("the page is in the repository");
    let mut tasks = Transitions::new();
    let mut managers = Transitions::new();
    for changes in scenarios::changes_of_all() {
        let mut states: BTreeMap<String, String> = BTreeMap::new();
        for change in changes {
            let words: Vec<&str> = change.split([' ', ',']).collect();
            let (transitions, name, state) = match words[..] {
                ["task", id, state, ..] => (&mut tasks, format!("task {id}"), state),
                [manager, "gave", ..] => (&mut managers, manager.to_owned(), "gave_up"),
                [manager, state, ..] => (&mut managers, manager.to_owned(), state),
                _ => panic!("{change}"),
            };
            let before = match states.insert(name, state.to_owned()) {
                // An executor may use the id of an ended task again.
                Some(before) if before != "done" && before != "failed" => before,
                _ => "(unknown)".to_owned(),
            };
            let next = transitions.entry(before).or_default();
            next.insert(state.to_owned());
        }
    }
    assert_eq!(table_below(&page, "## The life of a task"), tasks);
    assert_eq!(table_below(&page, "## The life of a manager"), managers);
}

/// Reads the rows `| state | next states |` of the section with this title.
fn table_below(page: &str, title: &str) -> Transitions {
    let section = page.split(title).nth(1).expect("the page has the section");
    let section = section.split("\n## ").next().expect("a part");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter(|row| !row.starts_with("---") && !row.starts_with("after"));
    let read = |row: &str| {
        let (state, next) = row.split_once(" | ").expect("two cells");
        let next = next.trim_end_matches(" |").split(", ");
        (state.to_owned(), next.map(str::to_owned).collect())
    };
    rows.map(read).collect()
}
