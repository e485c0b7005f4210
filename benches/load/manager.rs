//! One manager: its socket, its state, and the tasks that it holds.

use std::time::Instant;

use zmq::{Message, Socket};

use super::batch_reader::{BatchReader, Read};
use super::checker::Checker;
use super::message::message_of;
use super::pattern::Pattern;
use super::trouble::{Outcome, Trouble, violation};
use super::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The socket is not connected yet.
    Unconnected,
    /// The manager waits for the answer to its probe.
    Probing,
    /// The manager waits for the reply to the heartbeat that it sent after its registration.
    Registering,
    Registered,
    /// The manager takes no new tasks and waits to be told to exit.
    Draining,
    /// It was told to exit.
    Drained,
}

/// The meaning of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Tasks,
    /// The answer to the probe: the manager may register now.
    Answered,
    /// The reply to the heartbeat after the registration. One connection keeps its order, so the
    /// registration has been handled.
    Registered,
    Echo,
    /// A draining manager may exit now.
    Drained,
}

pub(crate) struct Manager {
    socket: Socket,
    pub name: String,
    /// Tells it from others in its place and of its name.
    pub born: u64,
    phase: Phase,
    /// How many probes have no answer yet.
    probes: usize,
    /// The ids of tasks that are not answered yet.
    held: Vec<u64>,
    last_rank: Option<u64>,
    /// The manager does not answer until then.
    pub silent_until: Option<Instant>,
    /// Whether tasks may have been lost with a connection. Then the interchange may send others in
    /// their place, and the slots do not bound what the manager holds.
    pub has_doubts: bool,
}

impl Manager {
    pub(crate) fn new(socket: Socket, name: String, born: u64) -> Self {
        Self {
            socket,
            name,
            born,
            phase: Phase::Unconnected,
            probes: 0,
            held: Vec::new(),
            last_rank: None,
            silent_until: None,
            has_doubts: false,
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn probe(&mut self) -> Outcome<()> {
        self.phase = Phase::Probing;
        self.probes += 1;
        Ok(self.socket.send(words::PROBE, zmq::DONTWAIT)?)
    }

    pub(crate) fn is_probing(&self) -> bool {
        self.phase == Phase::Probing
    }

    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.phase, Phase::Registered | Phase::Draining)
    }

    /// Whether the manager is registered and takes tasks.
    pub(crate) fn is_working(&self) -> bool {
        self.phase == Phase::Registered
    }

    pub(crate) fn is_unconnected(&self) -> bool {
        self.phase == Phase::Unconnected
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.phase == Phase::Drained
    }

    /// Returns the ids of tasks that are not answered yet.
    pub(crate) fn held(&self) -> &[u64] {
        &self.held
    }

    pub(crate) fn drain(&mut self) -> Outcome<()> {
        self.phase = Phase::Draining;
        Ok(self.socket.send(words::DRAIN, zmq::DONTWAIT)?)
    }

    pub(crate) fn register(&mut self, registration: &[u8]) -> Outcome<()> {
        self.phase = Phase::Registering;
        self.socket.send(registration, zmq::DONTWAIT)?;
        self.beat()
    }

    pub(crate) fn beat(&self) -> Outcome<()> {
        Ok(self.socket.send(words::HEARTBEAT, zmq::DONTWAIT)?)
    }

    /// Receives the next message. Returns false if there is none.
    pub(crate) fn receive(&self, message: &mut Message) -> Outcome<bool> {
        match self.socket.recv(message, zmq::DONTWAIT) {
            Ok(()) if message.get_more() => {
                violation(format!("manager {} received several frames", self.name))
            }
            Ok(()) => Ok(true),
            Err(zmq::Error::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles a message. Tasks in it are checked and held.
    pub(crate) fn take(
        &mut self,
        message: &[u8],
        reader: &mut BatchReader,
        checker: &mut Checker,
        (slots, capacity): (usize, u64),
    ) -> Outcome<Received> {
        if message.is_empty() {
            let Some(probes) = self.probes.checked_sub(1) else {
                return violation(format!("manager {} received an empty message", self.name));
            };
            self.probes = probes;
            return Ok(match self.is_probing() {
                true => Received::Answered,
                // The answer to an earlier probe, which came late.
                false => Received::Echo,
            });
        }
        let name = &self.name;
        let tasks = match reader.read(message) {
            Ok(Read::Tasks(tasks)) => tasks,
            Ok(Read::Number(words::HEARTBEAT_CODE)) => return Ok(self.take_echo()),
            Ok(Read::Number(words::SHUTDOWN_CODE))
                if self.phase == Phase::Draining && self.held.is_empty() =>
            {
                self.phase = Phase::Drained;
                return Ok(Received::Drained);
            }
            // A heartbeat that crossed the word to exit is answered by the same word.
            Ok(Read::Number(words::SHUTDOWN_CODE)) if self.is_drained() => {
                return Ok(Received::Drained);
            }
            Ok(Read::Number(words::SHUTDOWN_CODE)) => {
                return violation(format!("manager {name} received an exit message"));
            }
            Ok(Read::Number(number)) => {
                return violation(format!("manager {name} received the number {number}"));
            }
            Err(why) => {
                return Err(Trouble::Violation(format!(
                    "message to manager {name}: {why}"
                )));
            }
        };
        if self.held.len() + tasks.len() > slots && !self.has_doubts {
            let count = self.held.len() + tasks.len();
            return violation(format!(
                "manager {name} has {slots} slots, but holds {count} tasks"
            ));
        }
        if tasks.is_empty() {
            return violation(format!("manager {name} received an empty batch"));
        }
        for task in tasks {
            checker.check(task, message, &mut self.last_rank, capacity)?;
            self.held.push(task.id);
        }
        Ok(Received::Tasks)
    }

    fn take_echo(&mut self) -> Received {
        if self.phase != Phase::Registering {
            return Received::Echo;
        }
        self.phase = Phase::Registered;
        Received::Registered
    }

    /// Answers all held tasks and returns their number.
    pub(crate) fn answer(&mut self, pattern: &Pattern, buffer: &mut Vec<u8>) -> Outcome<usize> {
        let count = self.held.len();
        for id in self.held.drain(..) {
            pattern.write_result(id, buffer);
            self.socket.send(message_of(buffer), zmq::DONTWAIT)?;
        }
        Ok(count)
    }
}
