//! The worker port stays this run's from one broker to the next: managers know no other.
//!
//! A socket is bound to it before libzmq's, and never listens. Linux lets both have it while both
//! say SO_REUSEADDR and neither listens; then ours takes its word back, and nobody else gets the
//! port for as long as our socket is there: the keeper has it. The next broker, or who speaks the
//! last words, gives the word again for as long as it takes to bind.

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

/// Whoever has taken the port of an ended broker may be gone soon.
const BOUND_AGAIN_WITHIN: Duration = Duration::from_secs(5);
const TRIED_EVERY: Duration = Duration::from_millis(20);

/// A port that libzmq may bind as long as it is shared.
pub(super) struct ReservedPort {
    socket: OwnedFd,
}

impl ReservedPort {
    /// Of one address, or of every one; shared. Port 0: one of the system's choice.
    pub(super) fn open(address: Option<&Address>, port: u16) -> io::Result<Self> {
        match address {
            Some(address) => Self::at(address.at(port)?),
            // As libzmq does it: where there is no IPv6, without it.
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

    /// What an earlier broker has left with the keeper.
    pub(super) fn left(notes: &Notes) -> Option<Self> {
        let socket = notes.left_socket()?;
        Some(Self { socket })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(SocketAddr::try_from(getsockname(&self.socket)?)?.port())
    }

    /// Whether others may bind it, who share it as well.
    pub(super) fn share(&self, shares: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_reuseaddr(&self.socket, shares)?)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Binds the worker socket: where it was bound before if this broker follows another one, else
/// where it is asked to be. The port, which stays this run's if it may go on in another broker.
///
/// # Errors
/// It names the port or the range, and what was in the way.
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

/// At the port of the broker before.
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

    /// With SO_REUSEADDR, as libzmq does.
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
    fn nobody_else_has_the_port_while_nobody_listens() {
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
    fn a_port_where_somebody_listens_is_not_reserved() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let ours: Address = "127.0.0.1".parse().unwrap();
        assert!(ReservedPort::open(Some(&ours), port).is_err());
    }
}
