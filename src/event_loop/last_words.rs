//! Tells that the broker was killed, from a process that is started for it: the executor fails
//! every task, instead of waiting for ever (Parsl #3374), and managers exit.
//!
//! The executor may wait for the answer to a command that went with the broker. Its REQ socket
//! takes the next message for the answer, once it knows that the connection that it asked by is
//! gone, and drops what came before a question. So answers are sent for a while, asked for or not.
//! Managers connect again by themselves, within some 100 ms.
//!
//! Parsl waits for ever for an answer, or for room for a task, if nobody is connected. So this
//! process stays until SIGTERM, which HTEX sends at its shutdown, or until the submit process has
//! ended, however long that is suspended meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::aside::Aside;
use super::frame::Frame;
use super::frame_socket::{FrameSocket, Part};
use super::reserved_port;
use super::signals::Signals;
use super::socket_monitor::{SocketEvent, SocketMonitor};
use super::sockets::{EXECUTOR, LastSockets};
use super::submit_watch::WatchedProcess;
use keeper::Notes;
use protocol::{Failure, ToManager};
use submit_side::address::Address;
use submit_side::config::SubmitSide;
use submit_side::curve::Certificates;

/// An executor that is there has connected within this, and its questions have come. One that is
/// suspended comes later.
const EXECUTOR_WITHIN: Duration = Duration::from_millis(1500);
/// Where the submit process cannot be watched, it is waited for only so long, and asks again within
/// this: Parsl asks once in its `strategy_period`, of 5 s.
const ASKED_WITHIN: Duration = Duration::from_secs(6);
/// Answers are sent for this long behind the connection.
const ANSWERS_FOR: Duration = Duration::from_millis(300);
/// Managers have connected again within this, and a little for each of them, as there may be keys
/// to be checked.
const MANAGERS_WITHIN: Duration = Duration::from_millis(1500);
const FOR_EACH_MANAGER: Duration = Duration::from_millis(1);
const MANAGERS_WITHIN_MAX: Duration = Duration::from_secs(10);
/// With SIGTERM those that come back at once are still waited for: HTEX waits for 10 s.
const MANAGERS_WITHIN_AT_SIGTERM: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Once everybody has heard it and asks nothing.
const REST_FOR: Duration = Duration::from_millis(200);
/// How long what was taken by a socket may take to leave, and where it was told to end.
const LINGER_MS: i32 = 1000;
const LINGER_AFTER_SIGTERM_MS: i32 = 200;

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
    /// Whose end is ours.
    pub submit_process: WatchedProcess,
    /// None where nobody can send any: the keeper, which hands them on, has ended.
    pub signals: Option<&'a Signals>,
}

/// Who has heard it, as far as that can be known.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// It was connected.
    executor: bool,
    /// How many managers were.
    managers: usize,
    /// And how many were not.
    not_there: usize,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let executor = match self.executor {
            true => "The executor was notified that every task failed",
            false => "The executor could not be reached",
        };
        write!(
            f,
            "{executor}; {} managers were told to exit, and {} were not connected",
            self.managers, self.not_there
        )
    }
}

impl LastWords<'_> {
    /// Says them, which takes two seconds at most, and longer only for thousands of managers; and
    /// stays until it is told to end or nobody is left who could ask.
    ///
    /// # Errors
    /// No socket could be opened, or there are no threads for them.
    pub fn say(&self) -> io::Result<()> {
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
            submit_process: self.submit_process,
            signals: self.signals,
            is_stopped: false,
            is_reported: false,
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
        Ok(())
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
    submit_process: WatchedProcess,
    signals: Option<&'a Signals>,
    /// SIGTERM has come.
    is_stopped: bool,
    is_reported: bool,
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
            let managers_within = match self.is_stopped {
                true => MANAGERS_WITHIN_AT_SIGTERM,
                false => managers_within,
            };
            let managers_done = self.waiting.is_empty() || begin.elapsed() >= managers_within;
            if managers_done && (self.is_stopped || !self.is_awaited(begin)) {
                break;
            }
            let is_answered = match self.connected {
                Some(since) => since.elapsed() < ANSWERS_FOR,
                None => begin.elapsed() < EXECUTOR_WITHIN,
            };
            if is_answered {
                answer(&self.sockets.commands, &refusal);
            } else if self.connected.is_some() && managers_done {
                self.report();
            }
            let is_quiet = !is_answered && managers_done && self.heard.elapsed() >= ANSWERS_FOR;
            let look_again_after = if is_quiet { REST_FOR } else { LOOK_EVERY };
            let commands = &self.sockets.commands;
            self.aside
                .wait([commands, self.is_connected.socket()], look_again_after);
            let Heard { asks, submits } = self.listen();
            if asks {
                answer(&self.sockets.commands, &refusal);
            }
            if submits {
                self.fail(&failure);
            }
            self.tell_managers();
            self.is_stopped |= self.signals.is_some_and(Signals::is_told_to_end);
        }
        if self.is_stopped {
            let _ = self.sockets.set_linger(LINGER_AFTER_SIGTERM_MS);
        }
        self.report();
    }

    /// Once: who has heard it.
    fn report(&mut self) {
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        let told = Told {
            executor: self.connected.is_some(),
            not_there: self.told.not_there + self.waiting.len(),
            ..self.told
        };
        match told.executor {
            true => codes::log!(LOSS_DELIVERED, "{told}"),
            false => codes::log!(LOSS_UNDELIVERED, "{told}"),
        }
    }

    /// Every task, whatever was submitted meanwhile.
    fn fail(&self, failure: &[u8]) {
        let failure = Frame::of_bytes(failure.to_vec());
        let _ = self.sockets.results.send(failure, Part::Last);
    }

    /// Whether the executor may still ask, or has still to be told.
    fn is_awaited(&self, begin: Instant) -> bool {
        match (self.submit_process.is_alive(), self.connected) {
            // One that was there and has closed its sockets asks nothing more.
            (Some(lives), None) => lives,
            (Some(lives), Some(since)) => since.elapsed() < ANSWERS_FOR || (lives && !self.is_gone),
            (None, None) => begin.elapsed() < EXECUTOR_WITHIN,
            (None, Some(since)) => {
                since.elapsed() < ANSWERS_FOR
                    || (!self.is_gone && self.heard.elapsed() < ASKED_WITHIN)
            }
        }
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
        let [asks, submits] = [&self.sockets.commands, &self.sockets.tasks].map(drained);
        if asks || submits {
            self.heard = Instant::now();
        }
        Heard { asks, submits }
    }

    fn tell_managers(&mut self) {
        let workers = &self.sockets.workers;
        // Whoever speaks, and be it one that was about to register: it would wait for an answer.
        while let Some(identity) = workers.receive() {
            workers.skip_rest(&identity);
            if !self.waiting.contains(identity.as_ref()) {
                tell_to_exit(workers, identity.as_ref());
            }
        }
        let before = self.waiting.len();
        self.waiting
            .retain(|identity| !tell_to_exit(workers, identity));
        self.told.managers += before - self.waiting.len();
    }
}

/// Whether it is there.
fn tell_to_exit(workers: &FrameSocket, manager: &[u8]) -> bool {
    let address = Frame::copy_of(manager);
    let is_there = workers.send(address, Part::MoreFollows).is_ok();
    if is_there {
        let word = Frame::copy_of(ToManager::Shutdown.encode());
        let _ = workers.send(word, Part::Last);
    }
    is_there
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
