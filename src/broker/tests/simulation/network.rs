//! The network of the simulation: connections, unread messages in the worker socket, and libzmq's
//! events about connections, which may be late.
//!
//! It follows libzmq. An identity leads to the connection that took it last (ROUTER_HANDOVER), and
//! the earlier connection is closed. A message names the descriptor that it arrived on, and
//! descriptors are reused. The event of an accepted connection arrives before its first message is
//! read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use broker::{ConnectionId, Origin, Shipment};
use protocol::ToManager;

use super::plot::Saying;
use super::world::Body;

/// Something sent to a manager. It waits while the manager's connection accepts nothing.
#[derive(Debug)]
pub(crate) enum Parcel {
    Word(ToManager),
    Batch(Shipment<Body>),
}

/// The ROUTER's answer about a manager.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reach {
    Open,
    /// The manager's connection accepts nothing for now.
    Full,
    /// There is no connection by that name.
    None,
}

/// A message in the worker socket.
#[derive(Debug)]
pub(crate) struct Unread {
    pub from: String,
    pub saying: Saying,
    connection: u64,
    descriptor: u64,
    pub since: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Accepted { descriptor: u64, connection: u64 },
    Closed { descriptor: u64 },
}

struct Connection {
    descriptor: u64,
    /// Parcels that the other end has not read.
    parcels: VecDeque<Parcel>,
    reads: bool,
    /// Whether the other end is dead without libzmq knowing: parcels are lost.
    is_dead: bool,
}

/// How many parcels a connection accepts while its peer does not read.
const PARCELS_MAX: usize = 2;

#[derive(Default)]
pub(crate) struct Network {
    now: Duration,
    opened: u64,
    connections: BTreeMap<u64, Connection>,
    /// Identity to connection, as in the ROUTER.
    routes: BTreeMap<String, u64>,
    descriptors: BTreeSet<u64>,
    pub unread: VecDeque<Unread>,
    /// Arrived messages that are not in the worker socket yet, because libzmq's own thread does not
    /// run before `fetches_at`.
    in_kernel: VecDeque<Unread>,
    /// When libzmq's own thread runs again.
    fetches_at: Duration,
    /// Tasks whose batch was accepted by a connection but never read, or whose result was lost with
    /// one.
    pub vanished: BTreeSet<i64>,
    /// Events, each with the time from which it can be read.
    events: VecDeque<(Duration, Event)>,
    /// Descriptor to connection, as in the broker's loop.
    table: BTreeMap<u64, u64>,
}

impl Network {
    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
        if self.fetches_at <= now {
            self.unread.append(&mut self.in_kernel);
        }
    }

    /// Suspends the process until [`Self::go_on`] says when its threads run again.
    pub(crate) fn stop(&mut self) {
        self.fetches_at = Duration::MAX;
    }

    pub(crate) fn go_on(&mut self, fetches_at: Duration) {
        self.fetches_at = fetches_at;
        self.set_now(self.now);
    }

    /// Returns by when all messages had arrived that were read. Nothing may be unread.
    pub(crate) fn heard_until(&self) -> Duration {
        let in_kernel = self.in_kernel.front();
        in_kernel.map_or(self.now, |oldest| {
            oldest.since.saturating_sub(Duration::from_nanos(1))
        })
    }

    /// Returns when messages move from the kernel to the worker socket.
    pub(crate) fn next_fetch(&self) -> Option<Duration> {
        (!self.in_kernel.is_empty()).then_some(self.fetches_at)
    }

    /// Opens a connection under an identity. The earlier one is closed, which is reported `late`.
    pub(crate) fn connect(&mut self, identity: &str, late: Duration) -> u64 {
        self.opened += 1;
        let descriptor = (10..).find(|number| !self.descriptors.contains(number));
        let descriptor = descriptor.expect("numbers do not end");
        self.descriptors.insert(descriptor);
        let connection = Connection {
            descriptor,
            parcels: VecDeque::new(),
            reads: true,
            is_dead: false,
        };
        self.connections.insert(self.opened, connection);
        // Events arrive in order: the earlier ones can be read by then.
        for (at, _) in &mut self.events {
            *at = self.now;
        }
        let connection = self.opened;
        self.events.push_back((
            self.now,
            Event::Accepted {
                descriptor,
                connection,
            },
        ));
        // The identity is known only after the connection is accepted.
        if let Some(earlier) = self.route(identity) {
            self.close(earlier, late);
        }
        self.routes.insert(identity.to_owned(), connection);
        connection
    }

    /// Returns the connection that leads to an identity.
    pub(crate) fn route(&self, identity: &str) -> Option<u64> {
        self.routes.get(identity).copied()
    }

    pub(crate) fn is_open(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Closes the connection; what was sent on it stays in the worker socket.
    pub(crate) fn close(&mut self, connection: u64, late: Duration) {
        if let Some(Connection {
            descriptor,
            parcels,
            ..
        }) = self.connections.remove(&connection)
        {
            parcels.into_iter().for_each(|parcel| self.vanish(parcel));
            self.descriptors.remove(&descriptor);
            self.routes.retain(|_, route| *route != connection);
            let at = self.now + late;
            self.events.push_back((at, Event::Closed { descriptor }));
        }
    }

    /// Returns how many unread messages of a connection may be lost with it: those after its last
    /// registration. (In reality, each process that registers has its own identity.)
    pub(crate) fn losable(&self, connection: u64) -> usize {
        let latest_first = self.unread.iter().rev();
        latest_first
            .filter(|unread| unread.connection == connection)
            .take_while(|unread| !matches!(unread.saying, Saying::Register(_)))
            .count()
    }

    /// Loses the last messages of a connection.
    pub(crate) fn lose(&mut self, connection: u64, count: usize) {
        for _ in 0..count {
            let is_by_it = |unread: &Unread| unread.connection == connection;
            let place = self.unread.iter().rposition(is_by_it);
            let lost = place.and_then(|place| self.unread.remove(place));
            if let Some(Saying::Result(task) | Saying::Spoilt(task)) = lost.map(|u| u.saying) {
                self.vanished.insert(task);
            }
        }
    }

    fn vanish(&mut self, parcel: Parcel) {
        if let Parcel::Batch(shipment) = parcel {
            self.vanished.extend(shipment.ids());
        }
    }

    pub(crate) fn set_reads(&mut self, connection: u64, reads: bool) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.reads = reads;
        }
    }

    pub(crate) fn set_dead(&mut self, connection: u64) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.is_dead = true;
            let parcels = std::mem::take(&mut connection.parcels);
            parcels.into_iter().for_each(|parcel| self.vanish(parcel));
        }
    }

    /// Returns the dead connections, which are closed when the network is repaired.
    pub(crate) fn dead(&self) -> Vec<u64> {
        let dead = self.connections.iter().filter(|(_, c)| c.is_dead);
        dead.map(|(number, _)| *number).collect()
    }

    /// Sends a message of a manager.
    pub(crate) fn say(&mut self, connection: u64, from: &str, saying: Saying) {
        if let Some(Connection { descriptor, .. }) = self.connections.get(&connection) {
            let unread = Unread {
                from: from.to_owned(),
                saying,
                connection,
                descriptor: *descriptor,
                since: self.now,
            };
            match self.fetches_at <= self.now {
                true => self.unread.push_back(unread),
                false => self.in_kernel.push_back(unread),
            }
        }
    }

    /// Receives what has arrived for a manager.
    pub(crate) fn receive(&mut self, connection: u64) -> Option<Parcel> {
        let connection = self.connections.get_mut(&connection)?;
        connection.parcels.pop_front().filter(|_| connection.reads)
    }

    /// For the broker: whether something can be sent to an identity.
    pub(crate) fn reach(&self, to: &str) -> Reach {
        let connection = self
            .route(to)
            .and_then(|route| self.connections.get(&route));
        match connection {
            None => Reach::None,
            Some(c) if !c.is_dead && !c.reads && c.parcels.len() >= PARCELS_MAX => Reach::Full,
            Some(_) => Reach::Open,
        }
    }

    /// Sends to an identity that is reachable.
    pub(crate) fn send(&mut self, to: &str, parcel: Parcel) {
        assert_eq!(self.reach(to), Reach::Open, "{to}");
        let route = self.routes[to];
        match self.connections.get_mut(&route) {
            Some(connection) if !connection.is_dead => connection.parcels.push_back(parcel),
            _ => self.vanish(parcel),
        }
    }

    /// Returns what waits in a manager's connection.
    pub(crate) fn untaken(&self, name: &str) -> impl Iterator<Item = &Parcel> {
        let connection = self.route(name).and_then(|r| self.connections.get(&r));
        connection.into_iter().flat_map(|c| &c.parcels)
    }

    /// For the broker: returns which connections have closed, from the events that can be read now.
    pub(crate) fn read_events(&mut self) -> Vec<u64> {
        let mut closed = Vec::new();
        while let Some((at, event)) = self.events.front().copied() {
            if at > self.now {
                break;
            }
            self.events.pop_front();
            match event {
                Event::Accepted {
                    descriptor,
                    connection,
                } => drop(self.table.insert(descriptor, connection)),
                Event::Closed { descriptor } => closed.extend(self.table.remove(&descriptor)),
            }
        }
        closed
    }

    /// For the broker: returns where a message came from, as far as known.
    pub(crate) fn origin(&self, unread: &Unread) -> Origin {
        let connection = self.table.get(&unread.descriptor).copied();
        Origin {
            connection: connection.map(ConnectionId),
            address: None,
        }
    }

    /// Returns when the oldest unread message of this manager was sent.
    pub(crate) fn oldest_of(&self, manager: &str) -> Option<Duration> {
        let unread = self.unread.iter().chain(&self.in_kernel);
        let mut of_it = unread.filter(|unread| unread.from == manager);
        of_it.next().map(|unread| unread.since)
    }
}
