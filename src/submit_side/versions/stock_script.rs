//! The stock `interchange.py` that HTEX would find on PATH, and the interpreter that runs it.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::files::{candidates, read_text};
use super::layout::{prefix_of, python_of_name};
use super::python_version::PythonVersion;

/// The program that HTEX runs by default.
const NAME: &str = "interchange.py";
/// Longest part of a script that is read. It contains the first two lines: the kernel reads 256
/// bytes of the first, and pip may write the interpreter's path, of up to 4,096 bytes, into the
/// second.
const MAX_HEAD_BYTES: u64 = 8 << 10;
const ELF: &[u8] = b"\x7fELF";

/// The stock script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) path: PathBuf,
    /// The Python that the script's first lines name.
    pub(super) interpreter: Option<PathBuf>,
}

impl Script {
    /// Finds the first `interchange.py` on PATH that is not this program, which may be installed by
    /// that name, too.
    pub(super) fn on_path(path: &OsStr, own_exe: &Path) -> Option<Self> {
        let own = fs::metadata(own_exe).ok();
        let found = candidates(path, NAME).find_map(|(file, metadata)| {
            let is_own = own.as_ref().is_some_and(|own| same_file(own, &metadata));
            let head = read_text(&file, MAX_HEAD_BYTES)?;
            // A binary with this name is a copy of this program, or at least not a script.
            (!is_own && !head.as_bytes().starts_with(ELF)).then_some((file, head))
        });
        let (file, head) = found?;
        let interpreter = interpreter(&head, path);
        Some(Self {
            path: file,
            interpreter,
        })
    }

    /// Returns the possible prefixes of the script's environment, the likeliest first.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = PathBuf> {
        let resolved = fs::canonicalize(&self.path).ok();
        // The interpreter's links are not resolved, because they lead out of a virtual environment.
        let interpreter = self.interpreter.clone();
        let files = [Some(self.path.clone()), interpreter, resolved];
        files
            .into_iter()
            .flatten()
            .filter_map(|file| prefix_of(&file))
    }

    /// Returns the version of Python in the interpreter's name, as in `/usr/bin/python3.11`.
    pub(super) fn named_python(&self) -> Option<PythonVersion> {
        python_of_name(self.interpreter.as_ref()?.file_name()?.to_str()?)
    }
}

/// Returns the interpreter that a Python script's first lines name; a name without a directory is
/// looked up in `path`.
#[must_use]
pub fn interpreter_of(script: &Path, path: &OsStr) -> Option<PathBuf> {
    interpreter(&read_text(script, MAX_HEAD_BYTES)?, path)
}

fn same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Returns the Python that a script's first lines name. They name it directly, through `env`, or in
/// pip's form for a path that is too long for a first line or contains a blank.
fn interpreter(head: &str, path: &OsStr) -> Option<PathBuf> {
    let mut lines = head.lines();
    let mut words = lines.next()?.strip_prefix("#!")?.split_ascii_whitespace();
    let first = Path::new(words.next()?);
    let named = match first.file_name()?.to_str()? {
        "env" => {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
            if name.contains('/') {
                PathBuf::from(name)
            } else {
                candidates(path, name).next()?.0
            }
        }
        "sh" => PathBuf::from(execed(lines.next()?)?),
        _ => first.to_owned(),
    };
    let name = named.file_name()?.to_str()?;
    (name.starts_with("python") || name.starts_with("pypy")).then_some(named)
}

/// Parses pip's line `'''exec' /path/to/python "$0" "$@"`.
fn execed(line: &str) -> Option<&str> {
    let command = line.strip_prefix("'''exec' ")?;
    match command.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(path, _)| path),
        None => command.split_once(' ').map(|(path, _)| path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_name_the_interpreter() {
        for (head, found) in [
            (
                "#!/v/bin/python3\nimport datetime\n",
                Some("/v/bin/python3"),
            ),
            ("#! /v/bin/python3.11 -sE\n", Some("/v/bin/python3.11")),
            ("#!/v/bin/pypy3\r\n", Some("/v/bin/pypy3")),
            (
                "#!/usr/bin/env -S A=b /v/bin/python -u\n",
                Some("/v/bin/python"),
            ),
            (
                "#!/bin/sh\n'''exec' /v/bin/python3 \"$0\" \"$@\"\n' '''\n",
                Some("/v/bin/python3"),
            ),
            (
                "#!/bin/sh\n'''exec' \"/v e/python\" \"$0\" \"$@\"\n",
                Some("/v e/python"),
            ),
            ("#!/usr/bin/env htex-no-such-python\n", None),
            ("#!/bin/sh\nexec python \"$0\"\n", None),
            ("#!/bin/bash\n", None),
            ("#!\n", None),
            ("#!/\n", None),
            ("import datetime\n", None),
            ("", None),
        ] {
            assert_eq!(
                interpreter(head, OsStr::new("")),
                found.map(PathBuf::from),
                "{head:?}"
            );
        }
    }
}
