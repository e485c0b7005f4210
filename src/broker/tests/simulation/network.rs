//! The network of the simulation: connections, what stands unread in the worker socket, and what
//! libzmq tells of connections, which may come late.
//!
//! As libzmq does it: an identity leads to the connection that took it last (ROUTER_HANDOVER), and
//! the one before is closed; a message names the descriptor that it came by, and descriptors are
//! used again; the event of an accepted connection is there before its first message is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use broker::{ConnectionId, Origin, Shipment};
use protocol::ToManager;

use super::plot::Saying;
use super::world::Body;

/// What a manager is sent, and what waits while its connection takes nothing.
#[derive(Debug)]
pub(crate) enum Parcel {
    Word(ToManager),
    Batch(Shipment<Body>),
}

/// What the ROUTER says of a manager.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reach {
    Open,
    /// Its connection takes nothing for now.
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
    /// The other end is dead and libzmq does not know: parcels go nowhere.
    is_dead: bool,
}

/// How many parcels go into a connection that nobody reads.
const PARCELS_MAX: usize = 2;

#[derive(Default)]
pub(crate) struct Network {
    now: Duration,
    opened: u64,
    connections: BTreeMap<u64, Connection>,
    /// Identity to connection, as the ROUTER has it.
    routes: BTreeMap<String, u64>,
    descriptors: BTreeSet<u64>,
    pub unread: VecDeque<Unread>,
    /// What has come and is not in the worker socket: libzmq's own thread does not run...
    in_kernel: VecDeque<Unread>,
    /// ... before this time.
    fetches_at: Duration,
    /// Tasks whose batch a connection took and nobody ever read, or whose result it lost.
    pub vanished: BTreeSet<i64>,
    /// With when each can be read.
    events: VecDeque<(Duration, Event)>,
    /// Descriptor to connection, as the broker's loop has it.
    table: BTreeMap<u64, u64>,
}

impl Network {
    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
        if self.fetches_at <= now {
            self.unread.append(&mut self.in_kernel);
        }
    }

    /// The process is stopped, until it is said when its threads have run again.
    pub(crate) fn stop(&mut self) {
        self.fetches_at = Duration::MAX;
    }

    pub(crate) fn go_on(&mut self, fetches_at: Duration) {
        self.fetches_at = fetches_at;
        self.set_now(self.now);
    }

    /// With nothing unread: by when everything had come that was read.
    pub(crate) fn heard_until(&self) -> Duration {
        let in_kernel = self.in_kernel.front();
        in_kernel.map_or(self.now, |oldest| {
            oldest.since.saturating_sub(Duration::from_nanos(1))
        })
    }

    /// When something comes into the worker socket by itself.
    pub(crate) fn next_fetch(&self) -> Option<Duration> {
        (!self.in_kernel.is_empty()).then_some(self.fetches_at)
    }

    /// A new connection under an identity. The one before it is closed, which is told `late`.
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
        // Events come in their order: what stands before this one can be read by then.
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
        // Whose identity it takes is known once it is accepted.
        if let Some(earlier) = self.route(identity) {
            self.close(earlier, late);
        }
        self.routes.insert(identity.to_owned(), connection);
        connection
    }

    /// By which an identity is reached.
    pub(crate) fn route(&self, identity: &str) -> Option<u64> {
        self.routes.get(identity).copied()
    }

    pub(crate) fn is_open(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// The connection ends; what was sent by it stays in the worker socket.
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

    /// What has been said by a connection and is not read: so much may be lost with it, without a
    /// registration. (Who registers has an identity of its own, in reality.)
    pub(crate) fn losable(&self, connection: u64) -> usize {
        let latest_first = self.unread.iter().rev();
        latest_first
            .filter(|unread| unread.connection == connection)
            .take_while(|unread| !matches!(unread.saying, Saying::Register(_)))
            .count()
    }

    /// The last words by a connection never arrive.
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

    /// The dead connections, which a healed network closes.
    pub(crate) fn dead(&self) -> Vec<u64> {
        let dead = self.connections.iter().filter(|(_, c)| c.is_dead);
        dead.map(|(number, _)| *number).collect()
    }

    /// A manager says something.
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

    /// What has come for a manager.
    pub(crate) fn receive(&mut self, connection: u64) -> Option<Parcel> {
        let connection = self.connections.get_mut(&connection)?;
        connection.parcels.pop_front().filter(|_| connection.reads)
    }

    /// The broker's side: whether something could be sent to an identity.
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

    /// Sends to an identity that is in reach.
    pub(crate) fn send(&mut self, to: &str, parcel: Parcel) {
        assert_eq!(self.reach(to), Reach::Open, "{to}");
        let route = self.routes[to];
        match self.connections.get_mut(&route) {
            Some(connection) if !connection.is_dead => connection.parcels.push_back(parcel),
            _ => self.vanish(parcel),
        }
    }

    /// What a manager's connection holds for it.
    pub(crate) fn untaken(&self, name: &str) -> impl Iterator<Item = &Parcel> {
        let connection = self.route(name).and_then(|r| self.connections.get(&r));
        connection.into_iter().flat_map(|c| &c.parcels)
    }

    /// The broker's side: which connections have closed, as far as can be read now.
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

    /// The broker's side: where a message came from, as far as can be told.
    pub(crate) fn origin(&self, unread: &Unread) -> Origin {
        let connection = self.table.get(&unread.descriptor).copied();
        Origin {
            connection: connection.map(ConnectionId),
            address: None,
        }
    }

    /// The oldest message of this manager that stands unread.
    pub(crate) fn oldest_of(&self, manager: &str) -> Option<Duration> {
        let unread = self.unread.iter().chain(&self.in_kernel);
        let mut of_it = unread.filter(|unread| unread.from == manager);
        of_it.next().map(|unread| unread.since)
    }
}
