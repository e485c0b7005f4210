//! What libzmq tells of a socket's connections, and the table of the worker port's.

use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::SocketAddrAny;
use zmq::{Context, Socket};

use broker::{ConnectionId, Origin};
use protocol::ManagerId;

/// The numbers of zmq.h. The `zmq` crate panics on one that it does not list, so it is not asked.
const CONNECTED: u16 = 0x0001;
const LISTENING: u16 = 0x0008;
const ACCEPTED: u16 = 0x0020;
const ACCEPT_FAILED: u16 = 0x0040;
const CLOSED: u16 = 0x0080;
const DISCONNECTED: u16 = 0x0200;
const HANDSHAKE_FAILED_NO_DETAIL: u16 = 0x0800;
const HANDSHAKE_SUCCEEDED: u16 = 0x1000;
const HANDSHAKE_FAILED_PROTOCOL: u16 = 0x2000;
const HANDSHAKE_FAILED_AUTH: u16 = 0x4000;

/// One thing that happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Connected,
    Listening(RawFd),
    Accepted(RawFd),
    AcceptFailed(i32),
    /// An attempt to connect was refused, or a listener was closed.
    Closed,
    Disconnected(RawFd),
    HandshakeSucceeded,
    HandshakeFailed(HandshakeFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFault {
    /// With the errno.
    Broken(i32),
    /// With libzmq's number of the rule that was broken.
    Protocol(u32),
    /// With ZAP's status.
    Refused(u32),
}

/// A socket's stream of events.
pub(super) struct Monitor {
    events: Socket,
}

impl Monitor {
    /// `name` must be the only one of its kind in the context.
    pub(super) fn of(socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        let mask = CONNECTED
            | LISTENING
            | ACCEPTED
            | ACCEPT_FAILED
            | CLOSED
            | DISCONNECTED
            | HANDSHAKE_FAILED_NO_DETAIL
            | HANDSHAKE_SUCCEEDED
            | HANDSHAKE_FAILED_PROTOCOL
            | HANDSHAKE_FAILED_AUTH;
        Self::of_these(mask, socket, context, name)
    }

    /// Only of connections that come to be and end. Attempts in vain are no events, so that nothing
    /// gathers where it is seldom read.
    pub(super) fn of_successes(socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        Self::of_these(HANDSHAKE_SUCCEEDED | DISCONNECTED, socket, context, name)
    }

    fn of_these(mask: u16, socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        let endpoint = format!("inproc://monitor.{name}");
        socket.monitor(&endpoint, i32::from(mask))?;
        let events = context.socket(zmq::PAIR)?;
        events.set_linger(0)?;
        // At the default of 1,000, unread events would block libzmq's I/O thread.
        events.set_rcvhwm(0)?;
        events.connect(&endpoint)?;
        Ok(Self { events })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.events
    }

    pub(super) fn next(&self) -> Option<Event> {
        loop {
            let head = self.events.recv_msg(zmq::DONTWAIT).ok()?;
            // The second frame is our own endpoint.
            while self.events.get_rcvmore().unwrap_or(false) {
                self.events.recv_msg(zmq::DONTWAIT).ok()?;
            }
            if let Some(event) = parse(&head) {
                return Some(event);
            }
        }
    }
}

/// Event format version 1: a number of 16 bits and a value of 32, both of this machine's order.
fn parse(head: &[u8]) -> Option<Event> {
    let (number, value) = head.split_first_chunk::<2>()?;
    let value = u32::from_ne_bytes(*value.first_chunk::<4>()?);
    Some(match u16::from_ne_bytes(*number) {
        CONNECTED => Event::Connected,
        LISTENING => Event::Listening(value as RawFd),
        ACCEPTED => Event::Accepted(value as RawFd),
        ACCEPT_FAILED => Event::AcceptFailed(value as i32),
        CLOSED => Event::Closed,
        DISCONNECTED => Event::Disconnected(value as RawFd),
        HANDSHAKE_SUCCEEDED => Event::HandshakeSucceeded,
        HANDSHAKE_FAILED_NO_DETAIL => Event::HandshakeFailed(HandshakeFault::Broken(value as i32)),
        HANDSHAKE_FAILED_PROTOCOL => Event::HandshakeFailed(HandshakeFault::Protocol(value)),
        HANDSHAKE_FAILED_AUTH => Event::HandshakeFailed(HandshakeFault::Refused(value)),
        _ => return None,
    })
}

/// One open connection of the worker port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// None if it was closed before it could be asked for.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// Who last spoke by it: the same one as a rule, whose id need not be made anew.
    manager: Option<ManagerId>,
}

impl Connection {
    /// The id of who speaks by this connection under an identity.
    pub(super) fn manager(&mut self, identity: &[u8]) -> ManagerId {
        self.known_manager(identity)
            .unwrap_or_else(|| self.manager.insert(ManagerId::new(identity)).clone())
    }

    /// The same, if it spoke before.
    pub(super) fn known_manager(&self, identity: &[u8]) -> Option<ManagerId> {
        let manager = self.manager.as_ref();
        manager
            .filter(|manager| manager.as_bytes() == identity)
            .cloned()
    }

    pub(super) fn origin(&self) -> Origin {
        Origin {
            connection: Some(self.id),
            address: self.address,
        }
    }
}

/// The worker port's open connections by descriptor, which is how libzmq names them. Descriptors
/// are small numbers: the system gives the lowest that is free.
#[derive(Default)]
pub(super) struct Connections {
    by_descriptor: Vec<Option<Connection>>,
    open: usize,
    opened: u64,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.open
    }

    pub(super) fn accept(&mut self, descriptor: RawFd) -> &Connection {
        self.opened += 1;
        let peer = peer_of(descriptor);
        let connection = Connection {
            id: ConnectionId(self.opened),
            address: peer.map(|(address, _)| address),
            port: peer.map_or(0, |(_, port)| port),
            manager: None,
        };
        let place = usize::try_from(descriptor).unwrap_or(0);
        if place >= self.by_descriptor.len() {
            self.by_descriptor.resize(place + 1, None);
        }
        let entry = &mut self.by_descriptor[place];
        self.open += usize::from(entry.is_none());
        entry.insert(connection)
    }

    pub(super) fn close(&mut self, descriptor: RawFd) -> Option<Connection> {
        let place = usize::try_from(descriptor).ok()?;
        let closed = self.by_descriptor.get_mut(place)?.take();
        self.open -= usize::from(closed.is_some());
        closed
    }

    pub(super) fn get(&self, descriptor: RawFd) -> Option<&Connection> {
        let place = usize::try_from(descriptor).ok()?;
        self.by_descriptor.get(place)?.as_ref()
    }

    pub(super) fn by_descriptor(&mut self, descriptor: RawFd) -> Option<&mut Connection> {
        let place = usize::try_from(descriptor).ok()?;
        self.by_descriptor.get_mut(place)?.as_mut()
    }
}

/// Dual-stack sockets see IPv4 peers as mapped addresses; they are shown as what they are.
fn peer_of(descriptor: RawFd) -> Option<(IpAddr, u16)> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: libzmq reported this descriptor as its own. If it was closed since, the system says
    // so; if its number stands for another file by now, that file is only asked for its peer.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let peer: SocketAddrAny = rustix::net::getpeername(borrowed).ok()??;
    let peer = std::net::SocketAddr::try_from(peer).ok()?;
    Some((peer.ip().to_canonical(), peer.port()))
}
