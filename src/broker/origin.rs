//! Where a message came from.

use std::net::IpAddr;

/// Names one connection of the worker socket for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Where a manager's message came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// None if the connection is closed by now.
    pub connection: Option<ConnectionId>,
    /// None if it was gone before it could be read.
    pub address: Option<IpAddr>,
}
