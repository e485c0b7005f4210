//! Reads the repository as text, and Rust source as far as its rules can be checked without a
//! compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository; its path is relative to the top.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// Returns the file's text; None if it is not text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self.bytes.contains(&0) {
            true => None,
            false => std::str::from_utf8(&self.bytes).ok(),
        }
    }

    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.ends_with(extension)
    }
}

/// Returns all files of the repository: tracked ones, and new ones that are not ignored. In a copy
/// without git: all files except those that builds and tools leave behind.
pub(crate) fn files() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(top)
        .output();
    let mut paths: Vec<PathBuf> = match listed {
        Ok(listed) if listed.status.success() && top.join(".git").exists() => {
            let names = String::from_utf8(listed.stdout).expect("paths are text");
            names.split_terminator('\0').map(PathBuf::from).collect()
        }
        _ => walk(top),
    };
    paths.sort_unstable();
    paths.dedup();
    let read = |path: PathBuf| {
        // A deleted file may still be tracked.
        let bytes = fs::read(top.join(&path)).ok()?;
        let path = path.to_str()?.to_owned();
        Some(File { path, bytes })
    };
    paths.into_iter().filter_map(read).collect()
}

fn walk(top: &Path) -> Vec<PathBuf> {
    const LEFT_BEHIND: [&str; 5] = ["target", ".git", ".work", "__pycache__", ".pytest_cache"];
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if LEFT_BEHIND.contains(&&*name) || name.ends_with(".pyc") {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else {
                let path = path.strip_prefix(top).expect("below the top");
                found.push(path.to_owned());
            }
        }
    }
    found
}

/// Returns the code alone, with the same lines: comments and quoted text are replaced by blanks,
/// but the quotes stay.
pub(crate) fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut place = 0;
    while place < chars.len() {
        let end = match chars[place] {
            '/' if chars.get(place + 1) == Some(&'/') => end_of_line(&chars, place),
            '/' if chars.get(place + 1) == Some(&'*') => end_of_block(&chars, place),
            '"' => end_of_string(&chars, place),
            'r' | 'b' | 'c' if !follows_word(&chars, place) => end_of_prefixed(&chars, place),
            '\'' => end_of_char(&chars, place),
            _ => place + 1,
        };
        let is_blank = end > place + 1;
        for &c in &chars[place..end] {
            let keeps = !is_blank || c == '\n' || c == '"';
            code.push(if keeps { c } else { ' ' });
        }
        place = end;
    }
    code
}

/// Removes the tests at the end of a file.
pub(crate) fn without_tests(code: &str) -> &str {
    match code.find("#[cfg(test)]\nmod tests {") {
        Some(place) => &code[..place],
        None => code,
    }
}

fn follows_word(chars: &[char], place: usize) -> bool {
    place > 0 && (chars[place - 1].is_alphanumeric() || chars[place - 1] == '_')
}

fn end_of_line(chars: &[char], place: usize) -> usize {
    let rest = &chars[place..];
    place + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn end_of_block(chars: &[char], place: usize) -> usize {
    let mut depth = 0;
    let mut at = place;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Returns the end of `b"…"`, `r"…"`, `br#"…"#` or `b'…'`, or the place after the first letter if
/// it begins an ordinary word.
fn end_of_prefixed(chars: &[char], place: usize) -> usize {
    let mut at = place;
    let mut is_raw = false;
    while let Some('r' | 'b' | 'c') = chars.get(at) {
        is_raw |= chars[at] == 'r';
        at += 1;
    }
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    match chars.get(at + hashes) {
        Some('"') if is_raw => {
            let closing: Vec<char> = std::iter::once('"')
                .chain(std::iter::repeat_n('#', hashes))
                .collect();
            let inside = at + hashes + 1;
            let len = chars[inside..]
                .windows(closing.len())
                .position(|window| window == closing);
            len.map_or(chars.len(), |len| inside + len + closing.len())
        }
        Some('"') if hashes == 0 && at <= place + 2 => end_of_string(chars, at),
        Some('\'') if hashes == 0 && at == place + 1 => end_of_char(chars, at),
        _ => place + 1,
    }
}

/// Returns the end of a char, or the place after the apostrophe of a lifetime.
fn end_of_char(chars: &[char], quote: usize) -> usize {
    match (chars.get(quote + 1), chars.get(quote + 2)) {
        (Some('\\'), _) => {
            let rest = &chars[quote + 3..];
            quote + 4 + rest.iter().position(|c| *c == '\'').unwrap_or(0)
        }
        (Some(_), Some('\'')) => quote + 3,
        _ => quote + 1,
    }
}

/// Returns the words (identifiers and keywords) with the place of each in the code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let len = code[start..].find(|c| !is_word(c));
        rest = len.map_or(code.len(), |len| start + len);
        Some((start, &code[start..rest]))
    })
}

/// Returns the number of the line, counted from 1.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

#[test]
fn comments_and_quoted_text_are_no_code() {
    let source = r####"a(); // b "c"
/* d /* e */ f */ g('h', '\'', '"', b'i', "j \" k", b"l", r#"m " n"#, br"o", 'p: &'static str);
r(); b + c; format!("{}", 'q');"####;
    let code = code_of(source);
    let found: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    let expected = ["a", "g", "p", "static", "str", "r", "b", "c", "format"];
    assert_eq!(found, expected);
    assert_eq!(code.lines().count(), source.lines().count());
}
