//! Runs every fuzz target on the inputs that fuzzing has found, and on the frames that it starts
//! from. `tests/fuzz/README.md` describes the origin of these files.

use std::fs;
use std::path::{Path, PathBuf};

/// The bodies of the fuzz targets.
#[expect(
    unreachable_pub,
    reason = "the fuzzer's targets reach them from outside"
)]
#[path = "fuzz/bodies/lib.rs"]
mod bodies;

/// Paths below the project's top. Files in their subdirectories are included.
const SEEDS: [&str; 2] = ["tests/fuzz/seeds", "src/pickle/tests/golden"];
const FOUND: &str = "tests/fuzz/found";
const CORPUS: &str = "tests/fuzz/corpus";

#[test]
fn real_frames_break_no_guarantee() {
    for place in SEEDS {
        let files = files_below(place);
        assert!(files.len() > 40, "{place} holds frames");
        run_all(&files);
    }
}

#[test]
fn found_inputs_stay_fixed() {
    run_all(&files_below(FOUND));
}

/// Each file runs only with the target that it belongs to, because there are some thousand files.
#[test]
fn the_corpus_breaks_no_guarantee() {
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

/// Runs a body on a file. On failure, the file is named, which a panic alone would not do.
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
