//! The submit side's Python interpreter, for running a selector that only Python can run.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::candidates;
use super::hints::Hints;
use super::stock_script::Script;

/// Returns the interpreter that the submit process was started with; else that of the stock script;
/// else the `python3` on PATH. The first is right whenever the submit process is visible. Its path
/// is the name that it was called by, because Python finds a virtual environment through that name.
#[must_use]
pub fn python(hints: &Hints) -> Option<PathBuf> {
    let starter = hints
        .starter_pid
        .and_then(|pid| python_of_process(pid, hints));
    let stock = || Script::on_path(&hints.path, &hints.own_exe)?.interpreter;
    let any = || {
        candidates(&hints.path, "python3")
            .next()
            .map(|(file, _)| file)
    };
    starter.or_else(stock).or_else(any)
}

fn python_of_process(pid: u32, hints: &Hints) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let line = fs::read(process.join("cmdline")).ok()?;
    let called = std::str::from_utf8(line.split(|byte| *byte == 0).next()?).ok()?;
    let called = Path::new(called);
    // A process may have replaced its command line by a title, which is not a program's name.
    if !called.file_name()?.to_str()?.starts_with("python") {
        return None;
    }
    if called.is_absolute() {
        return Some(called.to_owned()).filter(|file| file.is_file());
    }
    if called.components().count() > 1 {
        let directory = fs::read_link(process.join("cwd")).ok()?;
        return Some(directory.join(called)).filter(|file| file.is_file());
    }
    candidates(&hints.path, called.to_str()?)
        .next()
        .map(|(file, _)| file)
}
