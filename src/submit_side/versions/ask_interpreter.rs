//! The last resort: run the stock script's interpreter and ask it where Parsl is.
//!
//! It is asked to find Parsl, not to import it (20 ms instead of a second), and the version is
//! then read from the file. The child gets descriptors 0 to 2 and nothing else, and a deadline;
//! the standard library gives it an empty signal mask and the default action for SIGPIPE.

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

/// An interpreter on a slow file system may take this long; a manager waits for the answer.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// `-c` puts the current directory first on the module path where stock has the script's.
const QUESTION: &str = "\
import sys
if sys.path[:1] == ['']: sys.path[0] = sys.argv[1]
import importlib.util
print('\\nhtex-python %d.%d' % sys.version_info[:2])
spec = importlib.util.find_spec('parsl')
if spec and spec.origin: print('htex-parsl ' + spec.origin)
";

/// Longest answer that is read, with whatever a `sitecustomize` prints before it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long a killed child is waited for. One that hangs in the kernel is left behind.
const REAP: Duration = Duration::from_millis(100);

/// What the interpreter says within `limit`.
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
        // A Ctrl-C at the submit process is none of its business.
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

/// All that comes before the end of the stream; None if that is too late or too much.
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

/// Waits for the child, kills it at the deadline, and does not wait for ever even then.
fn end(child: &mut Child, deadline: Instant) {
    if !is_gone(child, deadline) {
        // Fails only if it is gone after all.
        let _ = child.kill();
        is_gone(child, Instant::now() + REAP);
    }
}

fn is_gone(child: &mut Child, deadline: Instant) -> bool {
    loop {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => return true,
            Ok(None) if Instant::now() >= deadline => return false,
            // It has closed its output or been killed: what is left takes a moment.
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
