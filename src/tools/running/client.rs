//! Finds the interchanges of this user on this machine, and asks them.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use status::asking::{DIRECTORY_VARIABLE, Request, SOCKET_SUFFIX, directories};
use status::document::Document;

use crate::shared::words::plain;

/// One that lives answers in milliseconds; one that is stopped never does.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// A document of 8,192 managers has 3 MB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// So many are asked at a time.
const ASKED_AT_ONCE: usize = 16;
/// What the group and others must not have of the sockets' directory.
const NOT_OURS_ALONE: u32 = 0o077;
/// Of processes that were killed.
const PIDS_NAMED: usize = 5;
/// Before another try, when somebody else's crowd had us turned away.
const PAUSE: Duration = Duration::from_millis(20);

/// One interchange that listens.
#[derive(Debug)]
pub struct Found {
    pub socket: PathBuf,
    pub answer: Answer,
}

#[derive(Debug)]
pub enum Answer {
    Told {
        document: Box<Document>,
        /// As it came, without the line's end.
        json: String,
    },
    /// Nothing within [`PATIENCE`].
    Silent(Silent),
    /// Something, but no document: why.
    Unclear(String),
}

/// What is known of a process that does not answer.
#[derive(Debug, Default)]
pub struct Silent {
    pub pid: Option<u32>,
    /// In the kernel's words: `T (stopped)`.
    pub state: Option<String>,
    pub logdir: Option<PathBuf>,
}

/// What was found where.
#[derive(Debug, Default)]
pub struct Look {
    /// In order of their start.
    pub found: Vec<Found>,
    /// Each directory, and what there was to say of it.
    pub places: Vec<(PathBuf, String)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody listens there any more.
    Nobody,
    Silence,
    Trouble(io::Error),
}

/// Asks every interchange of this user on this machine for its document.
pub fn look() -> Look {
    let mut look = Look::default();
    let mut looked_into = Vec::new();
    for directory in directories(rustix::process::getuid().as_raw()) {
        match sockets_in(&directory) {
            Ok(sockets) => looked_into.push((directory, sockets)),
            Err(error) => look.places.push((directory, said(&error))),
        }
    }
    for (directory, sockets) in looked_into {
        let found = ask_all(&sockets);
        let heard = |socket: &&PathBuf| !found.iter().any(|found| found.socket == **socket);
        let dead: Vec<&PathBuf> = sockets.iter().filter(heard).collect();
        look.places
            .push((directory, told_of_sockets(found.len(), &dead)));
        look.found.extend(found);
    }
    look.found.sort_by(|one, other| {
        let key = |found: &Found| (found.started_at_s(), found.socket.clone());
        let (one, other) = (key(one), key(other));
        one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
    });
    look
}

fn ask_all(sockets: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for some in sockets.chunks(ASKED_AT_ONCE) {
        thread::scope(|scope| {
            let asked: Vec<_> = some
                .iter()
                .map(|socket| scope.spawn(|| ask_one(socket)))
                .collect();
            let answers = asked.into_iter().filter_map(|thread| thread.join().ok());
            found.extend(answers.flatten());
        });
    }
    found
}

/// How many are alive, and what those were that are swept away.
fn told_of_sockets(alive: usize, dead: &[&PathBuf]) -> String {
    let sockets = |number| match number {
        0 => "no socket".to_owned(),
        1 => "1 socket".to_owned(),
        several => format!("{several} sockets"),
    };
    if dead.is_empty() {
        return sockets(alive);
    }
    let mut pids: Vec<String> = dead
        .iter()
        .filter_map(|socket| Some(pid_of(socket)?.to_string()))
        .collect();
    if pids.len() > PIDS_NAMED {
        pids.truncate(PIDS_NAMED);
        pids.push("others".to_owned());
    }
    format!(
        "{}; {} left by killed processes ({}), and removed: `htex-interchange status RUNDIR` says \
         what a run's log tells",
        sockets(alive),
        dead.len(),
        pids.join(", ")
    )
}

/// None if nobody listens there: what a killed one left is swept away.
pub fn ask_one(socket: &Path) -> Option<Found> {
    let answer = match ask(socket, &Request::Status, PATIENCE) {
        Ok(bytes) => read(&bytes),
        Err(Unanswered::Nobody) => {
            let _ = fs::remove_file(socket);
            return None;
        }
        Err(Unanswered::Silence) => Answer::Silent(Silent::of(socket)),
        Err(Unanswered::Trouble(error)) => Answer::Unclear(error.to_string()),
    };
    let socket = socket.to_owned();
    Some(Found { socket, answer })
}

/// One request, one answer.
///
/// # Errors
/// Nobody listens, or nobody answers within `patience`, or something else is wrong.
pub fn ask(socket: &Path, request: &Request, patience: Duration) -> Result<Vec<u8>, Unanswered> {
    let give_up = Instant::now() + patience;
    loop {
        // Whoever came before too many others is turned away, and asks again.
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
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {}
                _ => return Err(Unanswered::Trouble(error)),
            },
        }
        if Instant::now() >= give_up {
            return Err(Unanswered::Silence);
        }
        thread::sleep(PAUSE);
    }
}

/// Empty if the connection closed without an answer.
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
            return Err(io::Error::other("the answer has no end"));
        }
    }
}

/// With a timeout: where too many wait to be let in, `connect` waits as well.
fn connected(socket_path: &Path, give_up: Instant) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC;
    let stream: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&stream, Timeout::Send, Some(left_until(give_up)))?;
    connect(&stream, &SocketAddrUnix::new(socket_path)?)?;
    Ok(stream.into())
}

/// Not nothing: a timeout of nothing is none.
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
            "what it says cannot be read by this version, {}: {error}",
            env!("CARGO_PKG_VERSION")
        )),
    }
}

impl Found {
    fn started_at_s(&self) -> f64 {
        match &self.answer {
            Answer::Told { document, .. } => document.interchange.started_at_s,
            _ => 0.0,
        }
    }

    pub fn logdir(&self) -> Option<PathBuf> {
        match &self.answer {
            Answer::Told { document, .. } => Some(PathBuf::from(&document.interchange.logdir)),
            Answer::Silent(silent) => silent.logdir.clone(),
            Answer::Unclear(_) => None,
        }
    }
}

impl Silent {
    /// From the process that the socket's name tells.
    fn of(socket: &Path) -> Self {
        let Some(pid) = pid_of(socket) else {
            return Self::default();
        };
        Self {
            pid: Some(pid),
            state: state_of(pid),
            logdir: logdir_of(pid),
        }
    }

    /// `process 4711 does not answer: it is stopped`.
    pub fn described(&self) -> String {
        let pid = self.pid.map_or("?".to_owned(), |pid| pid.to_string());
        let why = match self.state.as_deref().and_then(|state| state.chars().next()) {
            Some('T') => "it is stopped (SIGSTOP); kill -CONT lets it go on".to_owned(),
            Some('t') => "a debugger holds it".to_owned(),
            Some('D') => "the kernel holds it, for a disk or a file server as a rule".to_owned(),
            Some(_) => format!(
                "it does not come to it, though it is not stopped (state {})",
                plain(self.state.as_deref().unwrap_or_default())
            ),
            None => "it may be stopped".to_owned(),
        };
        format!("Process {pid} does not answer: {why}.")
    }
}

/// A socket's name begins with its process.
fn pid_of(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_string_lossy();
    name.split('-').next()?.parse().ok()
}

fn state_of(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let state = status
        .lines()
        .find_map(|line| line.strip_prefix("State:"))?;
    Some(state.trim().to_owned())
}

/// It has its log open.
pub fn logdir_of(pid: u32) -> Option<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let files = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut logs = files.filter(|file| super::last_words::is_log(file));
    logs.next()?.parent().map(Path::to_owned)
}

fn sockets_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = fs::symlink_metadata(directory)?;
    let uid = rustix::process::getuid().as_raw();
    if !found.is_dir() || found.uid() != uid || found.mode() & NOT_OURS_ALONE != 0 {
        return Err(io::Error::other(
            "not looked into, nor used by an interchange: it must be a directory of this user, of \
             mode 0700",
        ));
    }
    let entries = fs::read_dir(directory)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_socket = |path: &PathBuf| path.to_string_lossy().ends_with(SOCKET_SUFFIX);
    let mut sockets: Vec<PathBuf> = paths.filter(is_socket).collect();
    sockets.sort();
    Ok(sockets)
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => error.to_string(),
    }
}

/// Where one looks if nothing is found.
pub fn told_of(places: &[(PathBuf, String)]) -> String {
    let mut told = "Looked for sockets in:\n".to_owned();
    for (directory, what) in places {
        told += &format!("    {}: {what}\n", directory.display());
    }
    told + &format!(
        "Others are found on the machine where they run, by the user who runs them. \
         {DIRECTORY_VARIABLE} names another directory, for both sides.\n"
    )
}

/// Those whose log directory lies at or below `directory`: of several runs, the one that started
/// last, unless all are wanted. And how many were left out.
pub fn below(found: Vec<Found>, directory: &Path, all: bool) -> (Vec<Found>, usize) {
    let real = |path: PathBuf| fs::canonicalize(&path).unwrap_or(path);
    let directory = real(directory.to_owned());
    let mut matching: Vec<(PathBuf, Found)> = found
        .into_iter()
        .filter_map(|found| Some((real(found.logdir()?), found)))
        .filter(|(logdir, _)| logdir.starts_with(&directory))
        .collect();
    let count = matching.len();
    // Executors of one run have their logs side by side.
    let newest = matching
        .last()
        .and_then(|(logdir, _)| logdir.parent().map(Path::to_owned));
    if !all {
        matching.retain(|(logdir, _)| logdir.parent() == newest.as_deref());
    }
    let left_out = count - matching.len();
    (
        matching.into_iter().map(|(_, found)| found).collect(),
        left_out,
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::running::sample;

    fn found(logdir: &Path, started_at_s: f64) -> Found {
        let mut document = sample::document();
        document.interchange.logdir = logdir.display().to_string();
        document.interchange.started_at_s = started_at_s;
        Found {
            socket: PathBuf::from("/nowhere"),
            answer: Answer::Told {
                document: Box::new(document),
                json: String::new(),
            },
        }
    }

    fn logdirs(found: &[Found]) -> Vec<PathBuf> {
        found.iter().filter_map(Found::logdir).collect()
    }

    #[test]
    fn of_a_directory_of_runs_the_newest_is_meant() {
        let runs = tempfile::tempdir().unwrap();
        let all = ["000/a", "001/a", "001/b"].map(|name| runs.path().join(name));
        for directory in &all {
            fs::create_dir_all(directory).unwrap();
        }
        let link = runs.path().join("link");
        std::os::unix::fs::symlink(runs.path().join("000"), &link).unwrap();
        let some = || {
            vec![
                found(&all[0], 1.0),
                found(&all[1], 2.0),
                found(&all[2], 2.5),
            ]
        };
        let (chosen, left_out) = below(some(), runs.path(), false);
        assert_eq!((logdirs(&chosen), left_out), (all[1..].to_vec(), 1));
        assert_eq!(below(some(), runs.path(), true).0.len(), 3);
        let (chosen, left_out) = below(some(), &link, false);
        assert_eq!((logdirs(&chosen), left_out), (all[..1].to_vec(), 0));
        assert_eq!(logdirs(&below(some(), &all[2], false).0), all[2..]);
        assert!(below(some(), Path::new("/"), true).0.len() == 3);
        // A name that only begins alike is another directory.
        assert!(below(some(), &runs.path().join("00"), true).0.is_empty());
    }

    #[test]
    fn a_place_where_nobody_listens_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let dead = directory.path().join("1-dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        assert!(ask_one(&dead).is_none());
        assert!(!dead.exists());
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
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
            "Process ? does not answer: it may be stopped."
        );
    }
}
