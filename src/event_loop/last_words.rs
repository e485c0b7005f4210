//! Tells that the broker was killed, from a process that is started for it: the executor fails
//! every task, instead of waiting for ever (Parsl #3374), and managers exit.
//!
//! The executor may wait for the answer to a command that went with the broker. Its REQ socket
//! takes the next message for the answer, once it knows that the connection that it asked by is
//! gone, and drops what came before a question. So answers are sent for a while, asked for or not.
//! Managers connect again by themselves, within some 100 ms.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::aside::Aside;
use super::frame::Frame;
use super::frame_socket::{FrameSocket, Part};
use super::reserved_port;
use super::socket_monitor::{SocketEvent, SocketMonitor};
use super::sockets::{EXECUTOR, LastSockets};
use keeper::Notes;
use protocol::{Failure, ToManager};
use submit_side::address::Address;
use submit_side::config::SubmitSide;
use submit_side::curve::Certificates;

/// An executor that is there has connected within this, and its questions have come.
const EXECUTOR_WITHIN: Duration = Duration::from_millis(1500);
/// Answers are sent for this long behind the connection.
const ANSWERS_FOR: Duration = Duration::from_millis(300);
/// Managers have connected again within this, and a little for each of them, as there may be keys
/// to be checked.
const MANAGERS_WITHIN: Duration = Duration::from_millis(1500);
const FOR_EACH_MANAGER: Duration = Duration::from_millis(1);
const MANAGERS_WITHIN_MAX: Duration = Duration::from_secs(10);
/// Parsl asks once in its `strategy_period`, of 5 s, and its kernel may be submitting: whoever
/// speaks where nobody listens waits for ever. So somebody is there until nothing came for so long.
const ASKED_WITHIN: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what was taken by a socket may take to leave.
const LINGER_MS: i32 = 1000;

/// What is to be said, and to whom.
pub struct LastWords<'a> {
    /// Where the executor listens.
    pub side: &'a SubmitSide,
    /// None where nothing is encrypted.
    pub certificates: Option<&'a Certificates>,
    /// Where managers connect to, if they could.
    pub workers_at: Option<(Option<&'a Address>, u16)>,
    /// What outlives the broker: its port is reserved there, if it is.
    pub notes: &'a Notes,
    /// Under which identities they did.
    pub managers: Vec<&'a [u8]>,
    /// What users read.
    pub reason: &'a str,
}

/// Who has heard it, as far as that can be known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// It was connected.
    pub executor: bool,
    /// How many managers were.
    pub managers: usize,
    /// And how many were not.
    pub not_there: usize,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let executor = match self.executor {
            true => "The executor was told that every task failed",
            false => "The executor could not be reached",
        };
        write!(
            f,
            "{executor}; {} managers were told to exit, and {} were not there",
            self.managers, self.not_there
        )
    }
}

impl LastWords<'_> {
    /// Says them, which takes two seconds at most, and longer only for thousands of managers; and
    /// stays for as long as the executor asks.
    ///
    /// # Errors
    /// No socket could be opened, or there are no threads for them.
    pub fn say(&self) -> io::Result<Told> {
        let aside = Aside::open(self.certificates)?;
        let sockets = LastSockets::open(aside.context(), self.certificates, LINGER_MS)?;
        let mut talk = Talk {
            is_connected: SocketMonitor::of(&sockets.commands, aside.context(), "commands")?,
            sockets,
            aside,
            waiting: self.managers.iter().copied().collect(),
            told: Told::default(),
            connected: None,
            heard: Instant::now(),
            is_gone: false,
        };
        talk.sockets.connect(self.side)?;
        // Somebody may have this port already; the executor is told all the same.
        let bound = self.workers_at.map(|(address, port)| {
            let workers = talk.sockets.workers.socket_mut();
            reserved_port::bind_again(workers, address, port, Some(self.notes))
        });
        if !matches!(bound, Some(Ok(_))) {
            talk.told.not_there = std::mem::take(&mut talk.waiting).len();
        }
        talk.speak(self.reason);
        Ok(talk.told)
    }
}

/// What the executor has done.
struct Heard {
    asks: bool,
    submits: bool,
}

struct Talk<'a> {
    is_connected: SocketMonitor,
    sockets: LastSockets,
    aside: Aside,
    /// Managers that were not told yet.
    waiting: BTreeSet<&'a [u8]>,
    told: Told,
    /// When the executor was, at last.
    connected: Option<Instant>,
    /// When it sent something last.
    heard: Instant,
    /// It was connected, and is not any more.
    is_gone: bool,
}

impl Talk<'_> {
    fn speak(&mut self, reason: &str) {
        let failure = Failure::Broken {
            reason: reason.to_owned(),
        };
        let (failure, refusal) = (failure.encode(), protocol::refusal(reason));
        self.fail(&failure);
        let begin = Instant::now();
        let managers = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let managers_within =
            (MANAGERS_WITHIN + FOR_EACH_MANAGER.saturating_mul(managers)).min(MANAGERS_WITHIN_MAX);
        loop {
            let executor_done = match self.connected {
                Some(since) => since.elapsed() >= ANSWERS_FOR,
                None => begin.elapsed() >= EXECUTOR_WITHIN,
            };
            let managers_done = self.waiting.is_empty() || begin.elapsed() >= managers_within;
            if executor_done && managers_done && !self.is_awaited() {
                break;
            }
            if !executor_done {
                answer(&self.sockets.commands, &refusal);
            }
            let commands = &self.sockets.commands;
            self.aside
                .wait([commands, self.is_connected.socket()], LOOK_EVERY);
            let Heard { asks, submits } = self.listen();
            if asks {
                answer(&self.sockets.commands, &refusal);
            }
            if submits {
                self.fail(&failure);
            }
            self.tell_managers();
        }
        self.told.executor = self.connected.is_some();
        self.told.not_there += self.waiting.len();
    }

    /// Every task, whatever was submitted meanwhile.
    fn fail(&self, failure: &[u8]) {
        let failure = Frame::of_bytes(failure.to_vec());
        let _ = self.sockets.results.send(failure, Part::Last);
    }

    fn is_awaited(&self) -> bool {
        self.connected.is_some() && !self.is_gone && self.heard.elapsed() < ASKED_WITHIN
    }

    fn listen(&mut self) -> Heard {
        while let Some(event) = self.is_connected.next() {
            match event {
                SocketEvent::HandshakeSucceeded => {
                    self.connected = Some(Instant::now());
                    self.is_gone = false;
                }
                SocketEvent::Disconnected(_) => self.is_gone = true,
                SocketEvent::Connected
                | SocketEvent::Listening(_)
                | SocketEvent::Accepted(_)
                | SocketEvent::AcceptFailed(_)
                | SocketEvent::Closed
                | SocketEvent::HandshakeFailed(_) => {}
            }
        }
        // What is said here is of no use any more, and would fill the sockets.
        let [asks, submits, _] = [
            &self.sockets.commands,
            &self.sockets.tasks,
            &self.sockets.workers,
        ]
        .map(drained);
        if asks || submits {
            self.heard = Instant::now();
        }
        Heard { asks, submits }
    }

    fn tell_managers(&mut self) {
        let workers = &self.sockets.workers;
        let before = self.waiting.len();
        self.waiting.retain(|identity| {
            let address = Frame::copy_of(identity);
            let is_there = workers.send(address, Part::MoreFollows).is_ok();
            if is_there {
                let word = Frame::copy_of(ToManager::Shutdown.encode());
                let _ = workers.send(word, Part::Last);
            }
            !is_there
        });
        self.told.managers += before - self.waiting.len();
    }
}

/// Whether anything had come.
fn drained(socket: &FrameSocket) -> bool {
    let mut has_come = false;
    while let Some(frame) = socket.receive() {
        socket.skip_rest(&frame);
        has_come = true;
    }
    has_come
}

/// In the envelope of a REP socket, whose part a ROUTER plays here.
fn answer(commands: &FrameSocket, refusal: &[u8]) {
    let [name, nothing, refusal] = [EXECUTOR, b"", refusal].map(Frame::copy_of);
    let is_taken = commands.send(name, Part::MoreFollows).is_ok()
        && commands.send(nothing, Part::MoreFollows).is_ok();
    if is_taken {
        let _ = commands.send(refusal, Part::Last);
    }
}
