//! The table keeps its own rules, and the guide's page is made from the table.
//!
//! `HTEX_TEST_STORE_CODES=1 cargo test -p codes` writes the page.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use support::pages::filled;

const STORE_VARIABLE: &str = "HTEX_TEST_STORE_CODES";
const NAME_CHARACTERS_MAX: usize = 24;
const HEAD: &str = "# Codes of log lines

Each line of the log that an operator may need carries a code. In `interchange.log` it stands
behind the message, ` [manager-lost]`; in `interchange.jsonlog` it is the field `code`. A code never
changes; the text before it may. This page is made from the program's table.
";

#[test]
fn codes_are_unique_and_short_words_that_people_can_search_for() {
    let names: BTreeSet<&str> = codes::all().map(|code| code.name).collect();
    assert_eq!(names.len(), codes::all().count(), "each name is one code's");
    assert!(names.len() > 80, "the table is read: {names:?}");
    for code in codes::all() {
        let name = code.name;
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(name.split('-').all(is_word), "{name} is kebab-case");
        assert!(name.len() <= NAME_CHARACTERS_MAX, "{name} is short");
        assert_eq!(code.constant, name.replace('-', "_").to_uppercase());
        assert_eq!(codes::named(name), Some(code));
    }
    assert_eq!(codes::named("no-such-code"), None);
}

#[test]
fn every_code_says_what_it_means_and_what_to_do() {
    for code in codes::all() {
        for text in [code.meaning, code.remedy] {
            assert!(text.ends_with('.'), "{}: {text:?}", code.name);
            let begins = text
                .chars()
                .next()
                .is_some_and(|first| !first.is_lowercase());
            assert!(
                begins && text.len() >= "Nothing.".len(),
                "{}: {text:?}",
                code.name
            );
        }
        let is_good = code.level == tracing::Level::INFO;
        let is_idle = code.remedy == "Nothing.";
        assert!(is_good || !is_idle, "{} has a remedy", code.name);
    }
}

/// Every code that a sentence refers to exists.
#[test]
fn codes_that_are_referred_to_exist() {
    for code in codes::all() {
        for text in [code.meaning, code.remedy] {
            for (_, rest) in text
                .match_indices("see ")
                .map(|(at, see)| (at, &text[at + see.len()..]))
            {
                let word = rest.split([',', '.', ' ', ';']).next().expect("a word");
                let is_code =
                    word.contains('-') && word.bytes().all(|byte| byte.is_ascii_graphic());
                assert!(
                    !is_code || codes::named(word).is_some(),
                    "{}: {word}",
                    code.name
                );
            }
        }
    }
}

#[test]
fn the_page_of_the_guide_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/codes.md");
    if std::env::var_os(STORE_VARIABLE).is_some() {
        fs::write(&path, page()).expect("the page can be written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page(),
        "src/guide/codes.md is not what the table says; {STORE_VARIABLE}=1 writes it"
    );
}

fn page() -> String {
    let mut codes: Vec<&codes::Code> = codes::all().collect();
    codes.sort_by_key(|code| code.name);
    let mut page = HEAD.to_owned();
    for code in codes {
        let level = codes::level_name(code.level);
        let about = format!("Level: {level}. Concerns: {}.", code.who.words());
        let remedy = format!("What to do: {}", code.remedy);
        let _ = write!(page, "\n## {}\n", code.name);
        for text in [about.as_str(), code.meaning, &remedy] {
            let _ = write!(page, "\n{}\n", filled(text));
        }
    }
    page
}
