//! Reads the repository and fails on problems that no lint can find: files that are too large,
//! leftovers, and traces of the developer's machine.

use std::collections::BTreeSet;

/// The repository as text.
#[path = "support/source.rs"]
mod source;

use source::{File, code_of, files, line_of, without_tests, words};

const FILE_LINES_MAX: usize = 600;
const LINE_COLUMNS_MAX: usize = 100;

const TOP_LEVEL: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "python_harness",
    "benches",
    // Recipes of package managers, which look for no other place.
    "packaging",
    "README.md",
    "LICENSE",
    ".ci",
    ".cargo",
    ".github",
    ".gitignore",
];

fn is_ours(file: &File) -> bool {
    let path = &file.path;
    let is_program = !path.contains("/tests/") && !path.starts_with("src/zeromq-src/");
    path.starts_with("src/") && is_program && file.is(".rs")
}

/// Returns path and code of each source file, without comments, texts and tests.
fn our_code() -> Vec<(String, String)> {
    let ours: Vec<(String, String)> = files()
        .iter()
        .filter(|file| is_ours(file))
        .map(|file| {
            let code = code_of(file.text().expect("source is text"));
            (file.path.clone(), without_tests(&code).to_owned())
        })
        .collect();
    assert!(ours.len() > 20, "the source is found");
    ours
}

fn nothing(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// These crates may use no clocks, sockets or randomness: their lib.rs forbids the items in
/// .cargo/clippy.toml. Two rules have no lint: no `static`, and no use of the order in which
/// `into_iter` returns the elements of a hash table.
#[test]
fn broker_and_turn_are_functions_of_their_inputs() {
    let mut found = Vec::new();
    for (path, code) in our_code() {
        if !path.starts_with("src/broker/") && !path.starts_with("src/turn/") {
            continue;
        }
        let statics = words(&code)
            .filter(|(place, word)| *word == "static" && !code[..*place].ends_with('\''))
            .map(|(place, word)| (place, word.to_owned()));
        for (place, what) in statics.chain(given_away_hashes(&code)) {
            found.push(format!("{path}:{}: {what}", line_of(&code, place)));
        }
        if path == "src/broker/lib.rs" || path == "src/turn/lib.rs" {
            let forbids = code.find("#![forbid(").map_or("", |place| &code[place..]);
            let forbidden = forbids.split(")]").next().unwrap_or_default();
            for lint in ["macros", "methods", "types"] {
                let lint = format!("clippy::disallowed_{lint}");
                if !forbidden.contains(&lint) {
                    found.push(format!("{path}: {lint} is not forbidden"));
                }
            }
        }
    }
    nothing(found);
}

/// Finds calls of `into_iter` on variables that are declared as hash tables.
fn given_away_hashes(code: &str) -> Vec<(usize, String)> {
    let tables: BTreeSet<&str> = ["HashMap<", "HashSet<"]
        .iter()
        .flat_map(|kind| code.match_indices(kind))
        .filter_map(|(place, _)| {
            let before = code[..place].trim_end().strip_suffix(':')?;
            words(&before[before.rfind('\n').unwrap_or(0)..])
                .last()
                .map(|(_, word)| word)
        })
        .collect();
    let calls = tables.iter().map(|table| format!("{table}.into_iter("));
    calls
        .flat_map(|call| {
            let places: Vec<usize> = code.match_indices(&call).map(|(place, _)| place).collect();
            places.into_iter().map(move |place| (place, call.clone()))
        })
        .collect()
}

#[test]
fn consumed_hash_tables_are_found() {
    let code = "struct A {\n    by_id: HashMap<u8, u8>,\n    line: Vec<u8>,\n}\n\
                fn f(a: A) { a.line.into_iter(); a.by_id.get(&1); a.by_id.into_iter(); }";
    assert_eq!(given_away_hashes(code).len(), 1);
    let code = "seen: HashSet<u8>,\nfn f() { self.seen.into_iter().next() }";
    assert_eq!(given_away_hashes(code).len(), 1);
}

#[test]
fn nothing_grows_too_large() {
    let mut found = Vec::new();
    for file in files() {
        if !file.is(".rs") && !file.is(".py") {
            continue;
        }
        let text = file.text().expect("source is text");
        let path = &file.path;
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{path}: {lines} lines"));
        }
        for (place, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                found.push(format!("{path}:{}: {columns} columns", place + 1));
            }
        }
    }
    nothing(found);
}

#[test]
fn nothing_is_left_over() {
    // The marks are written in two halves, so that this file does not match.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["HA", "CK:"], ["XX", "X:"]].map(|two| two.concat());
    let mut found = Vec::new();
    for file in files() {
        let is_text_of_ours = !matches!(file.path.as_str(), "Cargo.lock" | "LICENSE");
        let Some(text) = file.text().filter(|_| is_text_of_ours) else {
            continue;
        };
        for mark in &marks {
            let places = text.match_indices(mark.as_str());
            found.extend(places.map(|(at, _)| format!("{}:{}", file.path, line_of(text, at))));
        }
    }
    nothing(found);
}

/// Only peers' input may cause errors. Code that cannot fail must give the reason as text; the lint
/// covers `unwrap` only.
#[test]
fn expectations_give_a_reason() {
    let mut found = Vec::new();
    for (path, code) in our_code() {
        let mut complain = |place, what: &str| {
            found.push(format!("{path}:{}: {what}", line_of(&code, place)));
        };
        let unchecked = ".unwrap_unchecked()";
        code.match_indices(unchecked)
            .for_each(|(place, _)| complain(place, unchecked));
        for (place, word) in code.match_indices(".expect(") {
            if !code[place + word.len()..].trim_start().starts_with('"') {
                complain(place, ".expect without a text");
            }
        }
    }
    nothing(found);
}

/// Every warning and error needs a code, and every code must be used by a line.
#[test]
fn every_warning_and_error_has_a_code_and_every_code_a_line() {
    let mut found = Vec::new();
    let mut logged = BTreeSet::new();
    for (path, code) in our_code() {
        for bare in ["warn", "error", "event"] {
            let is_macro = |(place, word): &(usize, &str)| {
                *word == bare && code[place + word.len()..].starts_with('!')
            };
            let places = words(&code).filter(is_macro);
            // The macro in the crate `codes` itself uses the bare macros.
            found.extend(
                places
                    .filter(|_| !path.starts_with("src/codes/"))
                    .map(|(place, _)| format!("{path}:{}: a bare {bare}!", line_of(&code, place))),
            );
        }
        let lines = code.split("codes::log!(").skip(1);
        let named = lines.filter_map(|rest| rest.trim_start().split(',').next());
        logged.extend(named.map(str::to_owned));
    }
    let unused = codes::all().filter(|code| !logged.contains(code.constant));
    found.extend(unused.map(|code| format!("no line has the code {}", code.name)));
    nothing(found);
}

#[test]
fn no_trace_of_the_machine_that_it_was_written_on() {
    // The traces are written in two halves for the same reason: paths that exist on one machine
    // only, and private package indexes.
    let traces = [
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/Us", "ers/"],
        ["/wo", "rk/"],
        ["/tmp/", "lab"],
        ["/opt/", "wheels"],
        ["index", "-url"],
        ["find", "-links"],
        ["artif", "actory"],
        ["[regis", "tries"],
        ["replace", "-with"],
        ["local", "-registry"],
    ]
    .map(|two| two.concat());
    // Public hosts of projects, and names that denote no real machine.
    const HOSTS: [&str; 17] = [
        // The name space of SVG.
        "www.w3.org",
        "github.com",
        "www.apache.org",
        "parsl-project.org",
        "docs.rs",
        "crates.io",
        "pypi.org",
        "doi.org",
        "rfc.zeromq.org",
        // Projects whose libraries are inside the program.
        "zeromq.org",
        "libsodium.org",
        "libcxx.llvm.org",
        "musl.libc.org",
        "gcc.gnu.org",
        "cdn.plot.ly",
        "127.0.0.1",
        "example.org",
    ];
    let mut found = Vec::new();
    for file in files() {
        let Some(text) = file.text() else {
            continue;
        };
        // Licences name their own hosts.
        if file.path.ends_with("THIRD-PARTY-LICENSES.txt") {
            continue;
        }
        let mut complain = |at, what: &str| {
            found.push(format!("{}:{}: {what}", file.path, line_of(text, at)));
        };
        for trace in &traces {
            text.match_indices(trace.as_str())
                .for_each(|(at, _)| complain(at, trace));
        }
        for (at, _) in text.match_indices("://") {
            let is_web = text[..at].ends_with("http") || text[..at].ends_with("https");
            let host = text[at + 3..].split(|c: char| !c.is_alphanumeric() && !".-".contains(c));
            // A sentence may end with an address.
            let host = host
                .into_iter()
                .next()
                .unwrap_or_default()
                .trim_end_matches('.');
            if is_web && !HOSTS.contains(&host) {
                complain(at, host);
            }
        }
    }
    nothing(found);
}

#[test]
fn the_top_level_stays_as_it_is() {
    let files = files();
    let top: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .collect();
    let strangers: Vec<String> = top
        .iter()
        .filter(|entry| !TOP_LEVEL.contains(entry))
        .map(|entry| format!("{entry} does not belong to the top level"))
        .collect();
    nothing(strangers);
    for needed in ["Cargo.toml", "Cargo.lock", "src", "tests"] {
        assert!(top.contains(needed), "{needed}");
    }
}

/// The README is one page to begin with; the guide has the rest.
#[test]
fn readme_stays_one_page() {
    const BYTES_MAX: usize = 7 * 1024;
    let files = files();
    let readme = files.iter().find(|file| file.path == "README.md");
    let bytes = readme.expect("README.md is there").bytes.len();
    assert!(bytes <= BYTES_MAX, "README.md: {bytes} bytes");
}

/// Each row of the table of threats must name tests, and these must exist.
#[test]
fn each_threat_names_existing_tests() {
    let files = files();
    let page = files
        .iter()
        .find(|file| file.path == "src/guide/security.md");
    let page = page.and_then(File::text).expect("the page is text");
    let rows: Vec<&str> = page.lines().filter(|line| is_row(line)).collect();
    assert!(rows.len() >= 10, "the table is found");
    let tests = tests_in(&files);
    let mut found = Vec::new();
    for row in rows {
        let named = quoted(
            row.trim_end_matches('|')
                .rsplit('|')
                .next()
                .unwrap_or_default(),
        );
        if named.is_empty() {
            found.push(format!("no test is named: {row}"));
        }
        let missing = named.iter().filter(|name| !tests.contains(**name));
        found.extend(missing.map(|name| format!("there is no test {name}")));
    }
    // The tests that the text below the table names must exist, too.
    let named = quoted(page).into_iter();
    let missing = named.filter(|name| name.starts_with("test_") && !tests.contains(*name));
    found.extend(missing.map(|name| format!("there is no test {name}")));
    nothing(found);
}

#[test]
fn tests_are_found_by_their_names() {
    assert_eq!(quoted("`a`, `b_c` and d"), ["a", "b_c"]);
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    let files = [
        file(
            "a.rs",
            "#[test]\nfn one() {}\nfn helper() {}\n    #[test]\n    fn two() {}",
        ),
        file(
            "test_b.py",
            "def test_three(start):\n    pass\ndef other():\n    pass\n",
        ),
        file("b.py", "def test_four():\n    pass\n"),
    ];
    assert_eq!(
        tests_in(&files),
        ["one", "test_three", "two"].map(str::to_owned).into()
    );
}

/// Whether a line is a row of the table but not its head.
fn is_row(line: &str) -> bool {
    line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| threat")
}

/// Returns the texts between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the names of all tests in Rust and Python.
fn tests_in(files: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let is_pytest = file.is(".py")
            && file
                .path
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .starts_with("test_");
        let Some(text) = file.text().filter(|_| is_pytest || file.is(".rs")) else {
            continue;
        };
        let mut before = "";
        for line in text.lines() {
            let rust = line.trim_start().strip_prefix("fn ");
            let name = match is_pytest {
                true => line
                    .strip_prefix("def ")
                    .filter(|name| name.starts_with("test_")),
                false => rust.filter(|_| before.trim() == "#[test]"),
            };
            let end = |name: &str| name.find('(').unwrap_or(name.len());
            names.extend(name.map(|name| name[..end(name)].to_owned()));
            before = line;
        }
    }
    names
}
