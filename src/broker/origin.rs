//! Where a message came from.

use std::net::IpAddr;

/// Identifies one connection of the worker socket for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Where a manager's message came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// The connection; None if it has closed since.
    pub connection: Option<ConnectionId>,
    /// The peer's address; None if the connection closed before the address could be read.
    pub address: Option<IpAddr>,
}
