//! The table of the worker port's open connections: the manager and the address of each.

use std::net::IpAddr;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::SocketAddrAny;

use broker::{ConnectionId, Origin};
use protocol::ManagerId;

/// One open connection of the worker port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// The peer's address. None if the connection was closed before the address was read.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    /// The manager that last sent a message by this connection. It rarely changes, so its id is
    /// kept.
    manager: Option<ManagerId>,
}

impl Connection {
    /// Returns the id of the manager that uses this connection with this identity.
    pub(super) fn manager(&mut self, identity: &[u8]) -> ManagerId {
        self.known_manager(identity)
            .unwrap_or_else(|| self.manager.insert(ManagerId::new(identity)).clone())
    }

    /// As [`Self::manager`], but only if the manager has sent a message by this connection before.
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

/// The worker port's open connections by descriptor, which is how libzmq identifies them.
/// Descriptors are small numbers: the system always assigns the lowest free one.
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

/// Returns the peer's address and port. Dual-stack sockets report IPv4 peers as mapped IPv6
/// addresses; these are converted back to IPv4.
fn peer_of(descriptor: RawFd) -> Option<(IpAddr, u16)> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: libzmq reported this descriptor as its own. If it was closed since, the system
    // returns an error; if its number belongs to another file by now, this call only reads that
    // file's peer address.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let peer: SocketAddrAny = rustix::net::getpeername(borrowed).ok()??;
    let peer = std::net::SocketAddr::try_from(peer).ok()?;
    Some((peer.ip().to_canonical(), peer.port()))
}
