//! The connection to the monitoring hub. A hub that is absent, slow or does not read never affects
//! tasks: unsent records are kept up to a bound, then the oldest are dropped and counted.

mod greeting;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use tracing::debug;
use turn::Outbox;
use zmq::{Context, Socket};

use super::socket_monitor::{SocketEvent, SocketMonitor};
use super::{sockets, zmq_calls};
use broker::Now;
use status::document::Hub;
use submit_side::config::HubAddress;
use submit_side::curve::Certificates;

use greeting::{Mechanism, MechanismQuery};

/// Maximum size of records kept for a hub that does not read.
const HELD_BYTES_MAX: usize = 64 << 20;
/// How long the hub may take to name its mechanism, and the pause before the next query.
const ASKED_FOR: Duration = Duration::from_secs(2);
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
const READ_EVENTS_EVERY: Duration = Duration::from_secs(1);

pub(super) struct HubSender {
    hub: HubAddress,
    state: State,
    held: Outbox<Vec<u8>>,
    dropped: u64,
}

enum State {
    /// The hub's mechanism is to be queried at this time.
    ToAsk(Duration),
    Asking {
        question: MechanismQuery,
        give_up_at: Duration,
    },
    Open(HubConnection),
    /// No socket could be opened; logged once.
    Closed,
}

/// A socket to the hub, and whether the hub is connected.
struct HubConnection {
    socket: Socket,
    monitor: SocketMonitor,
    is_connected: bool,
    /// When the monitor's events are read next. libzmq keeps them until then, several for each
    /// attempt at an address that accepts connections and closes them.
    read_events_at: Duration,
}

impl HubSender {
    pub(super) fn new(hub: HubAddress, now: Now) -> Self {
        Self {
            hub,
            state: State::ToAsk(now.monotonic),
            held: Outbox::default(),
            dropped: 0,
        }
    }

    /// Returns the hub's entry of the status document.
    pub(super) fn view(&mut self) -> Hub {
        Hub {
            address: self.hub.address.with_port(self.hub.port),
            answers: match &mut self.state {
                State::Open(connection) => {
                    connection.read_events();
                    connection.is_connected
                }
                State::ToAsk(_) | State::Asking { .. } | State::Closed => false,
            },
            held_bytes: self.held.bytes(),
            dropped: self.dropped,
        }
    }

    pub(super) fn send(&mut self, report: Vec<u8>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.held.push(report.len(), report);
        while self.held.bytes() > HELD_BYTES_MAX {
            if self.dropped == 0 {
                codes::log!(
                    MONITORING_DROPPED,
                    "The monitoring hub does not read its records; dropping the oldest unsent ones"
                );
            }
            self.dropped += 1;
            let _ = self.held.pop();
        }
    }

    /// Queries, connects and sends as far as possible without waiting.
    pub(super) fn advance(
        &mut self,
        context: &Context,
        certificates: Option<&Certificates>,
        now: Now,
    ) {
        match &mut self.state {
            State::ToAsk(at) if *at <= now.monotonic => self.ask(context, certificates, now),
            State::Asking {
                question,
                give_up_at,
            } => match question.advance() {
                Ok(Some(mechanism)) => self.open(context, certificates, mechanism),
                Ok(None) if *give_up_at > now.monotonic => {}
                Ok(None) => self.ask_again("it does not answer", now),
                Err(error) => self.ask_again(&error.to_string(), now),
            },
            State::ToAsk(_) | State::Open(_) | State::Closed => {}
        }
        if let State::Open(connection) = &mut self.state
            && connection.read_events_at <= now.monotonic
        {
            connection.read_events_at = now.monotonic + READ_EVENTS_EVERY;
            connection.read_events();
        }
        self.flush();
    }

    /// Sends as many records as the hub takes.
    pub(super) fn flush(&mut self) {
        let State::Open(HubConnection { socket, .. }) = &self.state else {
            return;
        };
        while !self.held.is_empty() && zmq_calls::is_writable(socket) {
            let Some(report) = self.held.pop() else {
                return;
            };
            if let Err(error) = socket.send(report, zmq::DONTWAIT) {
                codes::log!(
                    MONITORING_DROPPED,
                    "Could not send a monitoring record: {error}"
                );
                return;
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match &self.state {
            State::ToAsk(at) => Some(*at),
            State::Asking { give_up_at, .. } => Some(*give_up_at),
            State::Open(_) | State::Closed => None,
        }
    }

    /// Returns what to wait for: the hub's socket while records are unsent, or the hub's greeting.
    pub(super) fn waits_on(&self) -> Option<(RawFd, EventFlags)> {
        match &self.state {
            State::Open(connection) if !self.held.is_empty() => {
                Some((connection.socket.get_fd().ok()?, EventFlags::IN))
            }
            State::Asking { question, .. } => {
                let events = match question.waits_to_write() {
                    true => EventFlags::OUT,
                    false => EventFlags::IN,
                };
                Some((question.descriptor(), events))
            }
            State::ToAsk(_) | State::Open(_) | State::Closed => None,
        }
    }

    fn ask(&mut self, context: &Context, certificates: Option<&Certificates>, now: Now) {
        if certificates.is_none() {
            // Without certificates nothing is encrypted, in any release of Parsl.
            self.open(context, None, Mechanism::Plain);
            return;
        }
        let place = self.hub.address.at(self.hub.port);
        match place.and_then(MechanismQuery::ask) {
            Ok(question) => {
                let give_up_at = now.monotonic + ASKED_FOR;
                self.state = State::Asking {
                    question,
                    give_up_at,
                };
            }
            Err(error) => self.ask_again(&error.to_string(), now),
        }
    }

    fn ask_again(&mut self, why: &str, now: Now) {
        debug!("Could not query the protocol of the monitoring hub: {why}");
        self.state = State::ToAsk(now.monotonic + ASK_AGAIN_AFTER);
    }

    fn open(
        &mut self,
        context: &Context,
        certificates: Option<&Certificates>,
        mechanism: Mechanism,
    ) {
        let certificates = certificates.filter(|_| mechanism == Mechanism::Curve);
        match self.connect(context, certificates) {
            Ok(connection) => {
                codes::log!(
                    MONITORING_CONNECTED,
                    "Sending monitoring records to {}, {mechanism:?}",
                    self.hub.address.with_port(self.hub.port)
                );
                self.state = State::Open(connection);
            }
            Err(error) => {
                codes::log!(
                    MONITORING_UNREACHABLE,
                    "Cannot reach the monitoring hub: {error}"
                );
                self.state = State::Closed;
            }
        }
    }

    fn connect(
        &self,
        context: &Context,
        certificates: Option<&Certificates>,
    ) -> io::Result<HubConnection> {
        let mut socket = sockets::open_hub(context, certificates)?;
        let monitor = SocketMonitor::of_successes(&socket, context, "hub")?;
        let endpoint = sockets::endpoint(&self.hub.address.zmq_host()?, self.hub.port);
        zmq_calls::connect(&mut socket, &endpoint)?;
        Ok(HubConnection {
            socket,
            monitor,
            is_connected: false,
            read_events_at: Duration::ZERO,
        })
    }
}

impl HubConnection {
    fn read_events(&mut self) {
        while let Some(event) = self.monitor.next() {
            self.is_connected = matches!(event, SocketEvent::HandshakeSucceeded);
        }
    }
}
