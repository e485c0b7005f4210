//! Reports that the broker was killed, from a separate process that is started for this purpose.
//! The executor then fails every task instead of waiting for ever (Parsl #3374), and managers exit.
//!
//! The executor may wait for the answer to a command that the broker had received. Once its REQ
//! socket has noticed that the old connection is gone, it takes the next message as the answer. It
//! drops messages that arrive before a request. So this process sends answers for a while, whether
//! or not it received a request. Managers reconnect automatically within some 100 ms.
//!
//! Parsl waits for ever for an answer, or for room to send a task, if no peer is connected. So this
//! process stays until SIGTERM, which HTEX sends at its shutdown, or until the submit process ends,
//! however long that process is suspended.

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

/// Within this time a running executor has connected and its requests have arrived. A suspended
/// executor connects later.
const EXECUTOR_WITHIN: Duration = Duration::from_millis(1500);
/// How long to wait for further requests if the submit process cannot be watched. Parsl sends one
/// request per `strategy_period`, which is 5 s.
const ASKED_WITHIN: Duration = Duration::from_secs(6);
/// How long answers are sent without a request after the executor has connected.
const ANSWERS_FOR: Duration = Duration::from_millis(300);
/// Time within which managers have reconnected. A little is added for each manager, as their keys
/// may have to be checked.
const MANAGERS_WITHIN: Duration = Duration::from_millis(1500);
const FOR_EACH_MANAGER: Duration = Duration::from_millis(1);
const MANAGERS_WITHIN_MAX: Duration = Duration::from_secs(10);
/// Time to wait for reconnecting managers after SIGTERM, well within the 10 s that HTEX waits for
/// this process at its shutdown.
const MANAGERS_WITHIN_AT_SIGTERM: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Interval of checks once all peers are notified and no request arrives.
const REST_FOR: Duration = Duration::from_millis(200);
/// How long queued messages may take to leave; the second value applies after SIGTERM.
const LINGER_MS: i32 = 1000;
const LINGER_AFTER_SIGTERM_MS: i32 = 200;

/// The last messages, and the peers that receive them.
pub struct LastWords<'a> {
    /// The address and ports where the executor listens.
    pub side: &'a SubmitSide,
    /// The CURVE certificates. None if nothing is encrypted.
    pub certificates: Option<&'a Certificates>,
    /// The worker address and port, if the broker had bound them.
    pub workers_at: Option<(Option<&'a Address>, u16)>,
    /// The notes that outlive the broker. They hold the reserved worker port, if there is one.
    pub notes: &'a Notes,
    /// The identities of the managers that had connected.
    pub managers: Vec<&'a [u8]>,
    /// The reason that users read.
    pub reason: &'a str,
    /// The submit process, whose end also ends this process.
    pub submit_process: WatchedProcess,
    /// The signals. None if the keeper, which forwards them, has ended.
    pub signals: Option<&'a Signals>,
}

/// Which peers are known to be notified.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// Whether the executor was connected.
    executor: bool,
    /// Number of managers that were connected.
    managers: usize,
    /// Number of managers that were not connected.
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
            "{executor}; {} managers were told to exit, {} managers were not connected",
            self.managers, self.not_there
        )
    }
}

impl LastWords<'_> {
    /// Sends the last messages, which takes two seconds at most, and longer only for thousands of
    /// managers. Then stays until SIGTERM, or until no peer can send a request any more.
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
        // Another process may use this port already; the executor is notified nevertheless.
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

/// What arrived from the executor.
struct Heard {
    asks: bool,
    submits: bool,
}

struct Talk<'a> {
    is_connected: SocketMonitor,
    sockets: LastSockets,
    aside: Aside,
    /// Managers that have not been notified yet.
    waiting: BTreeSet<&'a [u8]>,
    told: Told,
    /// When the executor last connected.
    connected: Option<Instant>,
    /// When the executor last sent something.
    heard: Instant,
    /// Whether the executor has disconnected.
    is_gone: bool,
    submit_process: WatchedProcess,
    signals: Option<&'a Signals>,
    /// Whether SIGTERM has arrived.
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

    /// Logs, once, which peers were notified.
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

    /// Fails every task, including those submitted since the broker was killed.
    fn fail(&self, failure: &[u8]) {
        let failure = Frame::of_bytes(failure.to_vec());
        let _ = self.sockets.results.send(failure, Part::Last);
    }

    /// Whether the executor may still send requests, or has not been notified yet.
    fn is_awaited(&self, begin: Instant) -> bool {
        match (self.submit_process.is_alive(), self.connected) {
            // An executor that was connected and has closed its sockets sends no more requests.
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
        // These messages are of no use any more, and unread they would fill the sockets.
        let [asks, submits] = [&self.sockets.commands, &self.sockets.tasks].map(drained);
        if asks || submits {
            self.heard = Instant::now();
        }
        Heard { asks, submits }
    }

    fn tell_managers(&mut self) {
        let workers = &self.sockets.workers;
        // Every manager that sends a message receives a shutdown, even one that was about to
        // register: it would wait for an answer.
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

/// Sends a manager the shutdown message. Returns whether the manager is connected.
fn tell_to_exit(workers: &FrameSocket, manager: &[u8]) -> bool {
    let address = Frame::copy_of(manager);
    let is_there = workers.send(address, Part::MoreFollows).is_ok();
    if is_there {
        let word = Frame::copy_of(ToManager::Shutdown.encode());
        let _ = workers.send(word, Part::Last);
    }
    is_there
}

/// Reads and drops all messages. Returns whether there were any.
fn drained(socket: &FrameSocket) -> bool {
    let mut has_come = false;
    while let Some(frame) = socket.receive() {
        socket.skip_rest(&frame);
        has_come = true;
    }
    has_come
}

/// Sends an answer in the envelope of a REP socket, which this ROUTER replaces.
fn answer(commands: &FrameSocket, refusal: &[u8]) {
    let [name, nothing, refusal] = [EXECUTOR, b"", refusal].map(Frame::copy_of);
    let is_taken = commands.send(name, Part::MoreFollows).is_ok()
        && commands.send(nothing, Part::MoreFollows).is_ok();
    if is_taken {
        let _ = commands.send(refusal, Part::Last);
    }
}
