//! Runs a script by the user's Python, which may load the user's file, with time limits.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use serde::de::DeserializeOwned;
use submit_side::children;

/// Time limit until a script reports that it loads the user's file, or gives its whole answer. An
/// import of Parsl takes a second from a warm disk, and may take long from a network file system.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
/// Default time limit for loading the user's file.
pub(super) const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// Time limit for the script's own work after loading, including a selector's second process.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const STDERR_BYTES_MAX: usize = 64 << 10;
/// Time limit for the end of standard error, which another process may keep open.
const STDERR_WITHIN: Duration = Duration::from_millis(200);

/// Why Python gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("{0} cannot be run: {1}")]
    NotRun(String, std::io::Error),
    #[error("Python did not answer within {} s", BEGUN_WITHIN.as_secs())]
    NotBegun,
    /// Loading the user's file did not end.
    #[error("it was still loading after {} s", .0.as_secs())]
    NotLoaded(Duration),
    #[error("Python ended before it answered:\n{0}")]
    Ended(String),
    #[error("the answer of Python cannot be read: {0}")]
    Unreadable(serde_json::Error),
}

/// A script to run, and its arguments.
pub(super) struct Question<'a> {
    pub(super) python: &'a Path,
    pub(super) script: &'a str,
    pub(super) arguments: Vec<&'a OsStr>,
    /// Time limit for loading the user's file.
    pub(super) loaded_within: Duration,
}

/// Runs `script` by `python` with the argument `place`, and returns its answer, a line of JSON.
pub(super) fn ask<T: DeserializeOwned>(
    python: &Path,
    script: &str,
    place: &Path,
) -> Result<T, NoAnswer> {
    let arguments = vec![place.as_os_str()];
    let question = Question {
        python,
        script,
        arguments,
        loaded_within: LOADED_WITHIN,
    };
    question.ask().map(|(answer, _)| answer)
}

impl Question<'_> {
    /// Runs the script. Returns its answer, a line of JSON, and what was written to standard error.
    pub(super) fn ask<T: DeserializeOwned>(&self) -> Result<(T, String), NoAnswer> {
        children::keep_descriptors_to_ourselves();
        let not_run = |error| NoAnswer::NotRun(self.python.display().to_string(), error);
        let mut child = Command::new(self.python)
            .args(["-c", self.script])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // With its own process group, the script can be killed together with the processes that
            // it started.
            .process_group(0)
            .spawn()
            .map_err(not_run)?;
        let answers = child.stdout.take().map(lines_of);
        let said = child.stderr.take().map(last_of);
        let answered = match &answers {
            Some(lines) => wait_for(lines, self.loaded_within),
            None => Ok(String::new()),
        };
        end(&mut child, answered.is_err());
        let line = answered?;
        let said = said
            .and_then(|said| said.recv_timeout(STDERR_WITHIN).ok())
            .unwrap_or_default();
        if line.is_empty() {
            return Err(NoAnswer::Ended(said));
        }
        let answer = serde_json::from_str(&line).map_err(NoAnswer::Unreadable)?;
        Ok((answer, said))
    }
}

/// Waits for the answer and returns it; empty if Python ended without one.
fn wait_for(lines: &Receiver<String>, loaded_within: Duration) -> Result<String, NoAnswer> {
    let first = match lines.recv_timeout(BEGUN_WITHIN) {
        Ok(line) => line,
        Err(RecvTimeoutError::Timeout) => return Err(NoAnswer::NotBegun),
        Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
    };
    if first.trim_end() != "loading" {
        return Ok(first);
    }
    // The script reports the end of loading; its own work begins then.
    match lines.recv_timeout(loaded_within) {
        Err(RecvTimeoutError::Timeout) => return Err(NoAnswer::NotLoaded(loaded_within)),
        Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
        Ok(line) if line.trim_end() != "loaded" => return Ok(line),
        Ok(_) => {}
    }
    match lines.recv_timeout(TOLD_WITHIN) {
        Ok(line) => Ok(line),
        Err(RecvTimeoutError::Timeout) => Err(NoAnswer::NotLoaded(loaded_within)),
        Err(RecvTimeoutError::Disconnected) => Ok(String::new()),
    }
}

fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe.take(ANSWER_BYTES_MAX));
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

/// Reads a pipe to its end, and then sends the last part.
fn last_of(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, last) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut piece) {
            kept.extend_from_slice(&piece[..count]);
            let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
            kept.drain(..surplus);
        }
        let _ = sender.send(String::from_utf8_lossy(&kept).trim_end().to_owned());
    });
    last
}

/// Waits for the child's end. If the child hangs, first kills its whole process group.
fn end(child: &mut Child, hangs: bool) {
    if hangs && let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = child.wait();
}
