//! A manager's connection to this interchange as one state: how many connections it has had, and
//! whether the last one is open.

use std::net::IpAddr;
use std::time::Duration;

use super::origin::ConnectionId;

/// How a manager is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Counts the manager's connections: each change to another connection adds one.
    pub(super) number: u64,
    pub(super) state: LinkState,
    /// The address that the manager last spoke from. It is kept when the connection closes, to be
    /// compared with the next one.
    pub(super) address: Option<IpAddr>,
    /// The connection that the manager last spoke on, whether it is still open or not.
    pub(super) spoke_by: Option<ConnectionId>,
    /// The connection that the manager's registration arrived on.
    pub(super) registered_by: Option<ConnectionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// The connection was open, and the manager has not spoken since others of its block vanished.
    Awaited,
    /// Like `Awaited`, for a connection that was claimed.
    AwaitedAndClaimed,
    /// The manager spoke on its connection, which leads to no other manager.
    Open,
    /// Another manager has spoken on the connection since. A message that was read only after its
    /// own connection closed names the connection that reused its descriptor. So either manager may
    /// have no connection.
    Claimed,
    /// The connection has been closed since this time (awake clock).
    Closed(Duration),
}

impl Link {
    /// Returns the link of a process that registers: closed, until a message shows a connection.
    pub(super) fn new(registered_by: Option<ConnectionId>, now: Duration) -> Self {
        Self {
            number: 0,
            state: LinkState::Closed(now),
            address: None,
            spoke_by: None,
            registered_by,
        }
    }

    pub(super) fn is_open_by(&self, connection: Option<ConnectionId>) -> bool {
        self.state == LinkState::Open && self.spoke_by == connection
    }

    /// Returns the connection that leads to the manager.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        let is_its_own = matches!(self.state, LinkState::Open | LinkState::Awaited);
        self.spoke_by.filter(|_| is_its_own)
    }

    /// Whether the manager has spoken since there was last a reason to doubt that it is alive.
    #[inline]
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.state, LinkState::Open | LinkState::Claimed)
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(
            self.state,
            LinkState::Awaited | LinkState::AwaitedAndClaimed
        )
    }

    /// Notes that others of the manager's block have vanished.
    pub(super) fn await_word(&mut self) {
        self.state = match self.state {
            LinkState::Open => LinkState::Awaited,
            LinkState::Claimed => LinkState::AwaitedAndClaimed,
            other @ (LinkState::Awaited | LinkState::AwaitedAndClaimed | LinkState::Closed(_)) => {
                other
            }
        };
    }

    /// Notes that another manager has spoken on this manager's connection.
    pub(super) fn claim(&mut self) {
        self.state = match self.state {
            LinkState::Awaited | LinkState::AwaitedAndClaimed => LinkState::AwaitedAndClaimed,
            LinkState::Open | LinkState::Claimed | LinkState::Closed(_) => LinkState::Claimed,
        };
    }

    pub(super) fn closed_since(&self) -> Option<Duration> {
        match self.state {
            LinkState::Closed(since) => Some(since),
            LinkState::Open
            | LinkState::Claimed
            | LinkState::Awaited
            | LinkState::AwaitedAndClaimed => None,
        }
    }

    /// Notes that the manager speaks on this connection.
    pub(super) fn open(&mut self, connection: ConnectionId, address: Option<IpAddr>) {
        self.number += u64::from(self.spoke_by != Some(connection));
        self.spoke_by = Some(connection);
        self.address = address.or(self.address);
        self.state = LinkState::Open;
    }
}
