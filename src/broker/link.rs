//! A manager's connection to us, as one fact: how many it has had, and whether the last is open.

use std::net::IpAddr;
use std::time::Duration;

use super::origin::ConnectionId;

/// How a manager is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Counts the connections that it has spoken by, each time that it is another one.
    pub(super) number: u64,
    pub(super) state: LinkState,
    /// Where it spoke from last; it stays when the connection closes, to compare with the next.
    pub(super) address: Option<IpAddr>,
    /// The connection by which it last spoke, whatever has become of that since.
    pub(super) spoke_by: Option<ConnectionId>,
    /// The connection that its registration came by.
    pub(super) registered_by: Option<ConnectionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// It was open, and has not spoken since others of its block vanished.
    Awaited,
    /// The same of one that was claimed.
    AwaitedAndClaimed,
    /// It spoke by its connection, which leads to it and to nobody else.
    Open,
    /// Another one has spoken by its connection since. A message that stood unread while its
    /// connection closed names whichever got the descriptor, so either of them may have none.
    Claimed,
    /// Since this time on the awake clock.
    Closed(Duration),
}

impl Link {
    /// Of a process that registers: closed, until a connection shows that it is there.
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

    /// The connection that leads to it.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        let is_its_own = matches!(self.state, LinkState::Open | LinkState::Awaited);
        self.spoke_by.filter(|_| is_its_own)
    }

    /// Whether it has spoken since it, or its block, gave a reason to doubt that it is there.
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

    /// Others of its block have vanished.
    pub(super) fn await_word(&mut self) {
        self.state = match self.state {
            LinkState::Open => LinkState::Awaited,
            LinkState::Claimed => LinkState::AwaitedAndClaimed,
            other @ (LinkState::Awaited | LinkState::AwaitedAndClaimed | LinkState::Closed(_)) => {
                other
            }
        };
    }

    /// Another one has spoken by its connection.
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

    /// It speaks by this connection.
    pub(super) fn open(&mut self, connection: ConnectionId, address: Option<IpAddr>) {
        self.number += u64::from(self.spoke_by != Some(connection));
        self.spoke_by = Some(connection);
        self.address = address.or(self.address);
        self.state = LinkState::Open;
    }
}
