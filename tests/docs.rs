//! Checks that the tools, log lines and metrics in the guide exist in the program, and that every
//! file named on a page exists. `guide.rs` checks the generated pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory;
use htex_interchange::cli::Arguments;

fn page(topic: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/guide/{topic}.md"));
    fs::read_to_string(path).expect(topic)
}

/// Returns the cells of the tables under a heading of a page, row by row, without the tables'
/// heads.
fn rows(topic: &str, heading: &str) -> Vec<Vec<String>> {
    let text = page(topic);
    let begin = text.find(&format!("\n{heading}\n"));
    let rest = &text[begin.unwrap_or_else(|| panic!("{topic} has '{heading}'")) + 4..];
    let section = rest.split("\n## ").next().expect("a part");
    let lines: Vec<&str> = section.lines().collect();
    let is_row = |line: &str| line.starts_with('|');
    let mut rows = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let is_ruler = line.contains("---");
        let is_head = lines
            .get(number + 1)
            .is_some_and(|next| next.contains("| ---"));
        if is_row(line) && !is_ruler && !is_head {
            let cells = line.trim_matches('|').split(" | ");
            rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    assert!(!rows.is_empty(), "{heading} has a table");
    rows
}

/// Returns the texts between backquotes. A bar in a table is escaped by a backslash.
fn quoted(cell: &str) -> Vec<String> {
    let texts = cell.split('`').skip(1).step_by(2);
    texts.map(|text| text.replace("\\|", "|")).collect()
}

#[test]
fn every_tool_is_documented() {
    let command = Arguments::command();
    let has: BTreeSet<String> = command
        .get_subcommands()
        .map(|tool| tool.get_name().to_owned())
        .collect();
    let told: BTreeSet<String> = rows("operate", "## Tools")
        .iter()
        .map(|row| {
            quoted(&row[0])[0]
                .split(' ')
                .next()
                .expect("a name")
                .to_owned()
        })
        .collect();
    assert_eq!(told, has);
}

/// Returns the path and the text of each Rust file below `place`.
fn files_below(place: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut places = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(place)];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            let entries = fs::read_dir(&place).expect("readable");
            places.extend(entries.map(|entry| entry.expect("readable").path()));
        } else if place.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&place).expect("a text");
            files.push((place.display().to_string(), text));
        }
    }
    files
}

/// Returns the text of the program's source. String literals that continue on the next line are
/// joined.
fn source() -> String {
    let mut joined = String::new();
    for line in files_below("src").iter().flat_map(|(_, text)| text.lines()) {
        match line.strip_suffix('\\') {
            Some(part) => joined.push_str(part.trim_start()),
            None => {
                joined.push_str(line.trim_start());
                joined.push('\n');
            }
        }
    }
    joined
}

#[test]
fn every_documented_metric_exists() {
    let source = source();
    for row in rows("operate", "## Metrics") {
        for name in quoted(&row[0]) {
            let name = name.trim_end_matches("_total");
            let name = name.trim_end_matches("_bytes").trim_end_matches("_seconds");
            assert!(
                source.contains(&format!("\"{name}\"")),
                "no metric is called '{name}'"
            );
        }
    }
}

/// Returns the ids of findings in the source: where a finding is made, and wherever a text has the
/// form of an id.
fn ids_of_findings() -> BTreeSet<String> {
    const MADE_BY: [&str; 5] = [
        "Finding::problem(",
        "Finding::warning(",
        "Finding::note(",
        "Finding::new(",
        " id: ",
    ];
    // The kernel's word, which has the form of an id.
    const OTHERS: [&str; 1] = ["oom-kill"];
    let is_kebab = |text: &str| {
        let is_of_it = |c: char| c.is_ascii_lowercase() || c == '-';
        !text.is_empty() && text.chars().all(is_of_it) && !text.starts_with('-')
    };
    let mut ids = BTreeSet::new();
    for (path, text) in ["src/tools/doctor", "src/tools/running"]
        .into_iter()
        .flat_map(files_below)
    {
        // Ids in test data do not appear in the program's output.
        if path.contains("/tests") || path.ends_with("/sample.rs") {
            continue;
        }
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .expect("a part");
        for begin in MADE_BY {
            let made = text.split(begin).skip(1);
            let named = made.filter_map(|rest| rest.trim_start().strip_prefix('"'));
            ids.extend(named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        let looks_like_one = |text: &&str| is_kebab(text) && text.contains('-');
        let quoted = text.split('"').filter(looks_like_one);
        ids.extend(quoted.filter(|id| !OTHERS.contains(id)).map(str::to_owned));
    }
    ids
}

#[test]
fn every_finding_has_its_page_and_every_page_its_finding() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/findings");
    let mut explained = Vec::new();
    for entry in fs::read_dir(place).expect("it is there") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("a text");
        let heads = text.lines().filter_map(|line| line.strip_prefix("## "));
        explained.extend(heads.map(str::to_owned));
    }
    explained.sort();
    let told: Vec<String> = ids_of_findings().into_iter().collect();
    assert!(told.len() > 100, "the findings are found: {told:?}");
    assert_eq!(explained, told);
}

/// Paths begin at the top of the repository.
#[test]
fn every_file_that_a_page_names_is_there() {
    const PAGES: [&str; 3] = [
        ".github/CONTRIBUTING.md",
        ".github/SECURITY.md",
        "tests/fuzz/README.md",
    ];
    const TOPS: [&str; 7] = [
        "src/",
        "tests/",
        "benches/",
        "python_harness/",
        ".ci/",
        ".cargo/",
        ".github/",
    ];
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_dir(top.join("src/guide")).expect("it is there");
    let guide = guide.map(|entry| entry.expect("readable").path());
    let guide = guide.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let others = PAGES.iter().map(|page| top.join(page));
    for page in guide.chain(others).chain([top.join("README.md")]) {
        let text = fs::read_to_string(&page).expect("a text");
        // Paths appear between backquotes, in drawings, and as targets of links.
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let mut paths: Vec<String> = links.map(str::to_owned).collect();
        paths.extend(quoted(&text));
        paths.extend(text.split_whitespace().map(str::to_owned));
        for path in paths {
            let is_path = TOPS.iter().any(|folder| path.starts_with(folder));
            let is_there = || top.join(&path).exists();
            assert!(!is_path || is_there(), "{}: {path}", page.display());
        }
    }
}
