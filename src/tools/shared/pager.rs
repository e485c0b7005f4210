//! Shows a text by a pager if it is longer than the terminal.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use super::charset::Charset;
use super::output::say;
use super::paper::Paper;

/// A shell script that runs a pager. If the pager cannot be run, `cat` prints the text.
const SCRIPT: &str = "
    if [ -n \"$PAGER\" ]; then eval \"$PAGER\"
    elif command -v less >/dev/null 2>&1; then less
    elif command -v more >/dev/null 2>&1; then more
    else cat
    fi
    status=$?
    case $status in 126|127) exec cat ;; esac
    exit $status";
/// Lines that a shell's prompt needs below the text.
const PROMPT_ROWS: usize = 2;

/// Prints the text, or replaces this process by a pager that shows it. The pager then gets the
/// terminal's signals.
///
/// # Errors
/// The system's, if the text can be printed in neither way.
pub(crate) fn show(text: &str, paper: &Paper) -> io::Result<()> {
    let is_long = text.lines().count() + PROMPT_ROWS > paper.rows;
    if !paper.is_terminal || !paper.moves_cursor || !is_long {
        return say(text);
    }
    let Ok(file) = file_with(&Charset::of_reader().text(text)) else {
        return say(text);
    };
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]).stdin(Stdio::from(file));
    if std::env::var_os("LESS").is_none() {
        // These options make less keep colours, and leave the text on the screen at the end.
        command.env("LESS", "FRX");
    }
    // `exec` returns only if there is no shell.
    let _ = command.exec();
    say(text)
}

/// Returns a file in memory with this text. The file vanishes with its reader.
fn file_with(text: &str) -> io::Result<File> {
    let memory = memfd_create("htex-interchange guide", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
