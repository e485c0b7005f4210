//! The last resort of the search: run the stock script's interpreter and ask it where Parsl is.
//!
//! The interpreter only locates Parsl and does not import it, which takes 20 ms instead of a
//! second. The version is then read from Parsl's file. The child process inherits descriptors 0 to
//! 2 only and has a deadline. The standard library gives it an empty signal mask and the default
//! action for SIGPIPE.

use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::environment::Environment;
use super::layout::version_in_file;
use super::python_version::PythonVersion;
use crate::children;

/// Time limit for an interpreter, which may be on a slow file system; a manager waits for the
/// answer.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// Prints the Python version and Parsl's path. `-c` puts the current directory first on the module
/// path; the stock interchange has the script's directory there.
const QUESTION: &str = "\
import sys
if sys.path[:1] == ['']: sys.path[0] = sys.argv[1]
import importlib.util
print('\\nhtex-python %d.%d' % sys.version_info[:2])
spec = importlib.util.find_spec('parsl')
if spec and spec.origin: print('htex-parsl ' + spec.origin)
";

/// Longest answer that is read, including any output of a `sitecustomize` before it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Time to wait for a killed child. A child that hangs in the kernel is left behind.
const REAP: Duration = Duration::from_millis(100);

/// Runs the interpreter and returns what it reports within `limit`.
pub(super) fn environment_of(interpreter: &Path, script: &Path, limit: Duration) -> Environment {
    let deadline = Instant::now() + limit;
    let directory = script.parent().unwrap_or(Path::new("."));
    children::keep_descriptors_to_ourselves();
    let spawned = Command::new(interpreter)
        .args(["-c", QUESTION])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A separate process group: a Ctrl-C at the submit process does not reach this child.
        .process_group(0)
        .spawn();
    let Ok(mut child) = spawned else {
        return Environment::default();
    };
    let answer = child
        .stdout
        .take()
        .and_then(|pipe| read_until(pipe, deadline));
    end(&mut child, deadline);
    answer
        .map(|answer| environment(&answer))
        .unwrap_or_default()
}

/// Reads the pipe to its end. Returns None if the end comes after the deadline or the answer is too
/// long.
fn read_until(mut pipe: ChildStdout, deadline: Instant) -> Option<String> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < MAX_ANSWER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut items = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut items, timeout) {
            Ok(0) => return None,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        match pipe.read(&mut piece) {
            Ok(0) => return Some(String::from_utf8_lossy(&answer).into_owned()),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(_) => return None,
        }
    }
    None
}

/// Waits for the child and kills it at the deadline. After the kill, the wait is limited to
/// [`REAP`].
fn end(child: &mut Child, deadline: Instant) {
    if !is_gone(child, deadline) {
        // Killing fails only if the child has ended in the meantime.
        let _ = child.kill();
        is_gone(child, Instant::now() + REAP);
    }
}

fn is_gone(child: &mut Child, deadline: Instant) -> bool {
    loop {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => return true,
            Ok(None) if Instant::now() >= deadline => return false,
            // The child has closed its output or was killed, so it ends soon.
            Ok(None) => std::thread::sleep(Duration::from_micros(500)),
        }
    }
}

fn environment(answer: &str) -> Environment {
    let after = |mark: &str| {
        answer
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(mark))
    };
    let python = after("htex-python ").and_then(|text| text.parse::<PythonVersion>().ok());
    let package = after("htex-parsl ").and_then(|origin| Path::new(origin).parent());
    let parsl = package.and_then(|package| version_in_file(&package.join("version.py")));
    Environment {
        python,
        parsl,
        package: package.map(Path::to_owned),
    }
}
