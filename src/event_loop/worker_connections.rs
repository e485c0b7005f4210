//! The worker port's connections: which manager is connected from which address, and their log
//! lines.

mod descriptor_guard;
mod listener_wait;
mod table;

use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::time::Duration;

use tracing::info;

use super::memory::ScarceMemory;
use super::socket_monitor::{HandshakeFault, SocketEvent, SocketMonitor};
use super::zmq_calls;
use broker::{ConnectionId, Now, Origin};
use interchange::{Complaint, Complaints};
use protocol::ManagerId;

use descriptor_guard::DescriptorGuard;
use table::{Connection, Connections};

pub(super) struct WorkerConnections {
    monitor: SocketMonitor,
    open: Connections,
    descriptor_guard: DescriptorGuard,
    /// The last failed handshake. libzmq reports no descriptor with it, but closes its connection
    /// right afterwards.
    fault: Option<HandshakeFault>,
}

/// How many connections and descriptors are open, and how many may be.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) open: usize,
    pub(super) lets_in: bool,
    /// Descriptors in use in the whole process.
    pub(super) descriptors: usize,
    pub(super) descriptor_limit: usize,
}

impl WorkerConnections {
    /// Creates the table. Call this when all other descriptors are open.
    pub(super) fn new(monitor: SocketMonitor) -> Self {
        Self {
            monitor,
            open: Connections::default(),
            descriptor_guard: DescriptorGuard::new(),
            fault: None,
        }
    }

    /// Returns the counts for the status document.
    pub(super) fn count(&self) -> Count {
        let open = self.open.len();
        Count {
            open,
            lets_in: !self.descriptor_guard.is_shut(),
            descriptors: self.descriptor_guard.used(open),
            descriptor_limit: self.descriptor_guard.limit(),
        }
    }

    pub(super) fn socket(&self) -> &zmq::Socket {
        self.monitor.socket()
    }

    /// Reads the events of connections, does what is due, and returns the connections that were
    /// closed.
    pub(super) fn read_events(&mut self, complaints: &Complaints, now: Now) -> Vec<ConnectionId> {
        let mut closed = Vec::new();
        while let Some(event) = self.monitor.next() {
            match event {
                SocketEvent::Accepted(descriptor) => {
                    let connection = self.open.accept(descriptor);
                    if complaints.may_say(Complaint::ConnectionOpened, &[], now) {
                        info!("Accepted a connection from {}", place(connection));
                    }
                }
                SocketEvent::Disconnected(descriptor) => {
                    if let Some(connection) = self.open.close(descriptor) {
                        self.log_closed(&connection, complaints, now);
                        closed.push(connection.id);
                    }
                }
                SocketEvent::HandshakeFailed(fault) => self.fault = Some(fault),
                SocketEvent::AcceptFailed(errno) => {
                    self.note_accept_failed(errno, complaints, now);
                    continue;
                }
                SocketEvent::Listening(descriptor) => {
                    self.descriptor_guard.handle_listening(descriptor)
                }
                SocketEvent::Connected | SocketEvent::Closed | SocketEvent::HandshakeSucceeded => {
                    continue;
                }
            }
            self.attend_to_descriptors(now);
        }
        self.attend_to_descriptors(now);
        closed
    }

    /// When [`Self::read_events`] is due even if nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.descriptor_guard.next_deadline(self.open.len())
    }

    fn attend_to_descriptors(&mut self, now: Now) {
        let open = self.open.len();
        self.descriptor_guard
            .handle_connections(open, now.monotonic);
    }

    fn note_accept_failed(&mut self, errno: i32, complaints: &Complaints, now: Now) {
        let guard = &mut self.descriptor_guard;
        if guard.handle_accept_failed(errno, now.monotonic) {
            return;
        }
        let error = zmq_calls::error_of(errno);
        // The peer that was waiting may have left, or the guard has closed its connection.
        if error.kind() != ErrorKind::WouldBlock
            && complaints.may_say(Complaint::ConnectionNotAccepted, &[], now)
        {
            codes::log!(
                ACCEPT_FAILED,
                "Could not accept a connection of a worker: {error}"
            );
        }
    }

    /// As [`Self::sender`], but only if the manager has sent a message by the same connection
    /// before.
    pub(super) fn known(
        &self,
        descriptor: Option<RawFd>,
        identity: &[u8],
    ) -> Option<(ManagerId, Origin)> {
        let connection = self.open.get(descriptor?)?;
        let manager = connection.known_manager(identity)?;
        Some((manager, connection.origin()))
    }

    /// Returns which manager sent a message and from where, by the descriptor that the message
    /// arrived on.
    pub(super) fn sender(
        &mut self,
        descriptor: Option<RawFd>,
        identity: &[u8],
    ) -> (ManagerId, Origin) {
        let connection = descriptor.and_then(|descriptor| self.open.by_descriptor(descriptor));
        let Some(connection) = connection else {
            return (ManagerId::new(identity), Origin::default());
        };
        (connection.manager(identity), connection.origin())
    }

    fn log_closed(&mut self, connection: &Connection, complaints: &Complaints, now: Now) {
        let fault = self.fault.take();
        let complaint = match fault {
            None => Complaint::ConnectionClosed,
            Some(_) => Complaint::HandshakeFailed,
        };
        let address = connection.address.map(|address| address.to_string());
        if !complaints.may_say(complaint, address.unwrap_or_default().as_bytes(), now) {
            return;
        }
        let place = place(connection);
        match fault {
            None => match ScarceMemory::found() {
                None => info!("Disconnected: {place}"),
                Some(scarce) => info!(
                    "Disconnected: {place}; the peer ended, or a message was too large: {scarce}"
                ),
            },
            Some(HandshakeFault::Broken(errno)) => {
                let error = zmq_calls::error_of(errno);
                codes::log!(HANDSHAKE_FAILED, "Handshake failed with {place}: {error}");
            }
            Some(HandshakeFault::Protocol(number)) => codes::log!(
                HANDSHAKE_FAILED,
                "Handshake failed with {place}: only one side encrypts, or the peer uses another \
                 server's key; libzmq's error number is {number:#x}"
            ),
            Some(HandshakeFault::Refused(status)) => {
                codes::log!(
                    KEY_REFUSED,
                    "Handshake refused to {place}: its key is not in the certificate directory \
                     (status {status})"
                );
            }
        }
    }
}

fn place(connection: &Connection) -> String {
    match connection.address {
        Some(address) => format!("{address} port {}", connection.port),
        None => "an address that could not be read before the connection closed".to_owned(),
    }
}
