//! The worker port's connections: who is connected from where, and lines about it in the log.

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
    /// libzmq names no descriptor with a failed handshake, but closes its connection right after.
    fault: Option<HandshakeFault>,
}

/// How many there are, and how many there may be.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) open: usize,
    pub(super) lets_in: bool,
    /// Of the whole process.
    pub(super) descriptors: usize,
    pub(super) descriptor_limit: usize,
}

impl WorkerConnections {
    /// Call it when everything else is open.
    pub(super) fn new(monitor: SocketMonitor) -> Self {
        Self {
            monitor,
            open: Connections::default(),
            descriptor_guard: DescriptorGuard::new(),
            fault: None,
        }
    }

    /// For the status document.
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

    /// Reads what has happened or is due, and returns the connections that were closed.
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

    /// When it is to be read though nothing has happened.
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
        // Whoever was waiting may have gone, or was turned away by the guard.
        if error.kind() != ErrorKind::WouldBlock
            && complaints.may_say(Complaint::ConnectionNotAccepted, &[], now)
        {
            codes::log!(
                ACCEPT_FAILED,
                "Could not accept a connection of a worker: {error}"
            );
        }
    }

    /// As [`Self::sender`], if it spoke by the same connection before.
    pub(super) fn known(
        &self,
        descriptor: Option<RawFd>,
        identity: &[u8],
    ) -> Option<(ManagerId, Origin)> {
        let connection = self.open.get(descriptor?)?;
        let manager = connection.known_manager(identity)?;
        Some((manager, connection.origin()))
    }

    /// Who sent a message, and where it came from, by the descriptor that it names.
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
                    "Disconnected: {place}, by its end or by a message that is too large: {scarce}"
                ),
            },
            Some(HandshakeFault::Broken(errno)) => {
                let error = zmq_calls::error_of(errno);
                codes::log!(HANDSHAKE_FAILED, "Handshake failed with {place}: {error}");
            }
            Some(HandshakeFault::Protocol(number)) => codes::log!(
                HANDSHAKE_FAILED,
                "Handshake failed with {place}: it does not speak as this port does (encrypted or \
                 not), or with another server's key; libzmq's number {number:#x}"
            ),
            Some(HandshakeFault::Refused(status)) => {
                codes::log!(
                    KEY_REFUSED,
                    "Handshake refused to {place}: its key is not in the certificate directory, \
                     status {status}"
                );
            }
        }
    }
}

fn place(connection: &Connection) -> String {
    match connection.address {
        Some(address) => format!("{address} port {}", connection.port),
        None => "an address that was gone before it could be read".to_owned(),
    }
}
