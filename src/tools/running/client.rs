//! A client of status sockets: sends one request, reads one answer, and interprets a missing
//! answer.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use status::asking::Request;
use status::document::Document;
use status::socket_name;

use crate::shared::log_file::logdir_of;
use crate::shared::process::state_of;
use crate::shared::words::plain;

/// Time limit for an answer. A running interchange answers in milliseconds, a stopped one never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// Maximum size of an answer. The document of 8,192 managers has 3 MB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Pause before the next try after the interchange turned the client away because of too many
/// others.
const PAUSE: Duration = Duration::from_millis(20);

/// An interchange that listens at a status socket.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) socket: PathBuf,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Told {
        document: Box<Document>,
        /// The answer as received, without the end of the line.
        json: String,
    },
    /// No answer within [`PATIENCE`].
    Silent(Silent),
    /// An answer that is no document, and the reason.
    Unclear(String),
}

/// What is known of a process that does not answer.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    pub(crate) pid: Option<u32>,
    /// The process's state in the kernel's words: `T (stopped)`.
    pub(crate) state: Option<String>,
    pub(crate) logdir: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No process listens at the socket.
    Nobody,
    Silence,
    Trouble(io::Error),
}

/// Asks the interchange at `socket` for its status. Returns None if no process listens there.
/// Removes a socket that a killed process of this machine left behind.
pub(crate) fn ask_one(socket: &Path) -> Option<Found> {
    let answer = match ask(socket, &Request::Status, PATIENCE) {
        Ok(bytes) => read(&bytes),
        Err(Unanswered::Nobody) => {
            if socket_name::is_left_behind(socket) {
                let _ = fs::remove_file(socket);
            }
            return None;
        }
        Err(Unanswered::Silence) => Answer::Silent(Silent::of(socket)),
        Err(Unanswered::Trouble(error)) => Answer::Unclear(error.to_string()),
    };
    let socket = socket.to_owned();
    Some(Found { socket, answer })
}

/// Sends one request and returns its answer.
///
/// # Errors
/// No process listens, none answers within `patience`, or another error occurred.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has many kinds of errors"
)]
pub(crate) fn ask(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Vec<u8>, Unanswered> {
    let give_up = Instant::now() + patience;
    loop {
        // If too many clients are connected, the interchange turns this one away, which then tries
        // again.
        match ask_once(socket, request, give_up) {
            Ok(answer) if !answer.is_empty() => return Ok(answer),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    return Err(Unanswered::Nobody);
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return Err(Unanswered::Silence);
                }
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted => {}
                _ => return Err(Unanswered::Trouble(error)),
            },
        }
        if Instant::now() >= give_up {
            return Err(Unanswered::Silence);
        }
        thread::sleep(PAUSE);
    }
}

/// Sends one request. The answer is empty if the connection closed without one.
fn ask_once(socket: &Path, request: &Request, give_up: Instant) -> io::Result<Vec<u8>> {
    let mut stream = connected(socket, give_up)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    let mut room = vec![0; 64 << 10];
    loop {
        stream.set_read_timeout(Some(left_until(give_up)))?;
        match stream.read(&mut room)? {
            0 => return Ok(answer),
            count => answer.extend_from_slice(&room[..count]),
        }
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is incomplete"));
        }
    }
}

/// Connects with a timeout, because `connect` blocks while too many connections wait to be
/// accepted.
fn connected(socket_path: &Path, give_up: Instant) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let stream: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&stream, Timeout::Send, Some(left_until(give_up)))?;
    connect(&stream, &SocketAddrUnix::new(socket_path)?)?;
    Ok(stream.into())
}

/// Returns the time left, but at least 1 ms: a timeout of zero would mean no timeout.
fn left_until(moment: Instant) -> Duration {
    let left = moment.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

fn read(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let json = text.trim_end();
    match serde_json::from_str(json) {
        Ok(document) => Answer::Told {
            document: Box::new(document),
            json: json.to_owned(),
        },
        Err(error) => Answer::Unclear(format!(
            "this version, {}, cannot read its answer: {error}",
            env!("CARGO_PKG_VERSION")
        )),
    }
}

impl Found {
    pub(super) fn started_at_s(&self) -> f64 {
        match &self.answer {
            Answer::Told { document, .. } => document.interchange.started_at_s,
            Answer::Silent(_) | Answer::Unclear(_) => 0.0,
        }
    }

    pub(crate) fn logdir(&self) -> Option<PathBuf> {
        match &self.answer {
            Answer::Told { document, .. } => Some(document.interchange.logdir_path()),
            Answer::Silent(silent) => silent.logdir.clone(),
            Answer::Unclear(_) => None,
        }
    }
}

impl Silent {
    /// Reads what is known of the process whose id is in the socket's name.
    fn of(socket: &Path) -> Self {
        // The id in a socket of another container belongs to a different process here.
        let is_of_here = socket_name::is_of_here(socket);
        let Some(pid) = socket_name::pid_in(socket).filter(|_| is_of_here) else {
            return Self::default();
        };
        Self {
            pid: Some(pid),
            state: state_of(pid),
            logdir: logdir_of(pid),
        }
    }

    /// Describes the silence: `process 4711 does not answer: it is stopped`.
    pub(crate) fn described(&self) -> String {
        let Some(pid) = self.pid else {
            return "The interchange does not answer: it may be stopped. Its process runs in \
                    another container or on another machine."
                .to_owned();
        };
        let why = match self.state.as_deref().and_then(|state| state.chars().next()) {
            Some('T') => format!("it is stopped (SIGSTOP); `kill -CONT {pid}` continues it"),
            Some('t') => "a debugger holds it".to_owned(),
            Some('D') => "the kernel blocks it, usually while it waits for a disk or a file \
                          server"
                .to_owned(),
            Some(_) => format!(
                "it is too busy or blocked, though it is not stopped (state {})",
                plain(self.state.as_deref().unwrap_or_default())
            ),
            None => "it may be stopped".to_owned(),
        };
        format!("Process {pid} does not answer: {why}.")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_without_a_listener_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let dead = directory.path().join(socket_name::new(u32::MAX, 1));
        let of_another_machine = directory.path().join("1-0123456789ab-0badf00d.sock");
        for socket in [&dead, &of_another_machine] {
            drop(UnixListener::bind(socket).unwrap());
            assert!(ask_one(socket).is_none());
        }
        assert!(!dead.exists());
        assert!(of_another_machine.exists());
    }

    #[test]
    fn a_silent_process_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("x-silent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let begun = Instant::now();
        let patience = Duration::from_millis(200);
        let unanswered = ask(&socket, &Request::Status, patience);
        assert!(
            matches!(unanswered, Err(Unanswered::Silence)),
            "{unanswered:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(2));
        let silent = Silent::of(&socket);
        assert_eq!(
            silent.described(),
            "The interchange does not answer: it may be stopped. Its process runs in another \
             container or on another machine."
        );
    }
}
