//! What fuzzing has found, and the frames that it begins with: each of these files is run through
//! every target. `tests/fuzz/README.md` says how they came about.

use std::fs;
use std::path::{Path, PathBuf};

/// What fuzzing does with its inputs.
#[expect(
    unreachable_pub,
    reason = "the fuzzer's targets reach them from outside"
)]
#[path = "fuzz/bodies/lib.rs"]
mod bodies;

/// Files below the project's top; each is looked into with what is below it.
const SEEDS: [&str; 2] = ["tests/fuzz/seeds", "src/pickle/tests/golden"];
const FOUND: &str = "tests/fuzz/found";
const CORPUS: &str = "tests/fuzz/corpus";

#[test]
fn real_frames_break_no_promise() {
    for place in SEEDS {
        let files = files_below(place);
        assert!(files.len() > 40, "{place} holds frames");
        run_all(&files);
    }
}

#[test]
fn what_was_found_stays_mended() {
    run_all(&files_below(FOUND));
}

/// Each with its own target only: there are some thousand of them.
#[test]
fn what_fuzzing_grew_breaks_no_promise() {
    for (name, body) in bodies::TARGETS {
        let files = files_below(&format!("{CORPUS}/{name}"));
        assert!(!files.is_empty(), "{name} has a corpus");
        files.iter().for_each(|file| run(name, body, file));
    }
}

#[test]
fn every_target_is_built_for_the_fuzzer() {
    let manifest = read(&top().join("tests/fuzz/Cargo.toml"));
    let manifest = String::from_utf8(manifest).expect("text");
    let built: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|part| part.split('"').nth(1))
        .collect();
    let known: Vec<&str> = bodies::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, known);
}

fn run_all(files: &[PathBuf]) {
    for (name, body) in bodies::TARGETS {
        files.iter().for_each(|file| run(name, body, file));
    }
}

/// Says which file it was: a panic alone would not.
fn run(name: &str, body: fn(&[u8]), file: &Path) {
    let input = read(file);
    let outcome = std::panic::catch_unwind(|| body(&input));
    assert!(outcome.is_ok(), "{name}: {}", file.display());
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn files_below(place: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![top().join(place)];
    assert!(waiting[0].is_dir(), "{place} is a directory");
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            waiting.extend(entries.map(|entry| entry.expect("readable").path()));
        } else {
            files.push(path);
        }
    }
    files.sort_unstable();
    files
}
