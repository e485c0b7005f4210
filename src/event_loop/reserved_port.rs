//! Keeps the worker port for this run from one broker to the next: managers know no other port.
//!
//! A socket is bound to the port before libzmq's socket, and never listens. Linux allows both to
//! bind as long as both have SO_REUSEADDR set and neither listens. Then the reserving socket clears
//! SO_REUSEADDR. No other process can bind the port as long as that socket exists, and the keeper
//! holds it. The next broker, or the process that sends the last messages, sets SO_REUSEADDR again
//! while it binds.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use zmq::Socket;

use super::sockets::{self, BindError};
use keeper::{Kept, Notes};
use submit_side::address::Address;
use submit_side::config::PortChoice;

/// How long to retry the binding: another process that took the port of an ended broker may soon
/// release it.
const BOUND_AGAIN_WITHIN: Duration = Duration::from_secs(5);
const TRIED_EVERY: Duration = Duration::from_millis(20);

/// A reserved port, which libzmq can bind while SO_REUSEADDR is set.
pub(super) struct ReservedPort {
    socket: OwnedFd,
}

impl ReservedPort {
    /// Reserves the port at one address, or at every address, with SO_REUSEADDR set. With port 0
    /// the system chooses the port.
    pub(super) fn open(address: Option<&Address>, port: u16) -> io::Result<Self> {
        match address {
            Some(address) => Self::at(address.at(port)?),
            // As in libzmq: IPv4 only, if the machine has no IPv6.
            None => Self::at((Ipv6Addr::UNSPECIFIED, port).into())
                .or_else(|_| Self::at((Ipv4Addr::UNSPECIFIED, port).into())),
        }
    }

    fn at(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        let reserved = Self { socket };
        reserved.share(true)?;
        bind(&reserved.socket, &address)?;
        Ok(reserved)
    }

    /// Returns the reservation that an earlier broker left with the keeper.
    pub(super) fn left(notes: &Notes) -> Option<Self> {
        let socket = notes.left_socket()?;
        Some(Self { socket })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(SocketAddr::try_from(getsockname(&self.socket)?)?.port())
    }

    /// Sets whether other sockets with SO_REUSEADDR can bind the port too.
    pub(super) fn share(&self, shares: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_reuseaddr(&self.socket, shares)?)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Binds the worker socket and returns the port. After a restart this is the previous port, else
/// the port that the configuration asks for. The port is reserved if another broker may continue
/// the run.
///
/// # Errors
/// The error names the port or the range, and what prevented the binding.
pub(super) fn bind_workers(
    workers: &mut Socket,
    (address, choice): (Option<&Address>, PortChoice),
    kept: Option<&Kept>,
    survives: bool,
) -> Result<u16, BindError> {
    let notes = kept.map(|kept| kept.notes());
    let before = kept
        .filter(|kept| kept.restart().is_some())
        .and_then(|kept| kept.notes().worker_port());
    if let Some(port) = before {
        return bind_again(workers, address, port, notes.map(|notes| &**notes));
    }
    let (port, reserved) = sockets::bind_workers(workers, address, choice, survives)?;
    if let (Some(reserved), Some(notes)) = (reserved, notes) {
        let left = reserved
            .share(false)
            .and_then(|()| notes.leave_socket(reserved.socket()));
        if let Err(error) = left {
            codes::log!(
                PORT_UNRESERVED,
                "Cannot reserve port {port} for a restart: {error}"
            );
        }
    }
    Ok(port)
}

/// Binds the worker socket at the port of the previous broker.
///
/// # Errors
/// As for [`bind_workers`].
pub(super) fn bind_again(
    workers: &mut Socket,
    address: Option<&Address>,
    port: u16,
    notes: Option<&Notes>,
) -> Result<u16, BindError> {
    let reserved = notes.and_then(ReservedPort::left);
    let share = |shares| reserved.as_ref().map(|reserved| reserved.share(shares));
    let give_up = Instant::now() + BOUND_AGAIN_WITHIN;
    share(true);
    let bound = loop {
        match sockets::bind_workers(workers, address, PortChoice::Fixed(port), false) {
            Err(BindError::Port { error, .. })
                if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up =>
            {
                std::thread::sleep(TRIED_EVERY);
            }
            bound => break bound,
        }
    };
    share(false);
    bound.map(|(port, _)| port)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Binds with SO_REUSEADDR, as libzmq does.
    fn listener(at: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(at)
    }

    fn is_in_use(bound: &io::Result<TcpListener>) -> bool {
        let error = bound.as_ref().err().map(io::Error::kind);
        error == Some(io::ErrorKind::AddrInUse)
    }

    fn tried_at(address: Option<&Address>, at: impl Fn(u16) -> SocketAddr) {
        let reserved = ReservedPort::open(address, 0).unwrap();
        let at = at(reserved.port().unwrap());
        for _ in 0..3 {
            let first = listener(at).unwrap();
            reserved.share(false).unwrap();
            assert!(is_in_use(&listener(at)), "one listens");
            drop(first);
            assert!(is_in_use(&listener(at)), "it is reserved");
            reserved.share(true).unwrap();
        }
        drop(reserved);
        listener(at).unwrap();
    }

    #[test]
    fn reserved_port_cannot_be_bound_by_others() {
        let ours: Address = "127.0.0.1".parse().unwrap();
        tried_at(Some(&ours), |port| ours.at(port).unwrap());
        let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        if has_ipv6 {
            let ours: Address = "::1".parse().unwrap();
            tried_at(Some(&ours), |port| ours.at(port).unwrap());
            tried_at(None, |port| (Ipv6Addr::UNSPECIFIED, port).into());
        }
    }

    #[test]
    fn port_with_a_listener_cannot_be_reserved() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let ours: Address = "127.0.0.1".parse().unwrap();
        assert!(ReservedPort::open(Some(&ours), port).is_err());
    }
}
