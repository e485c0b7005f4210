//! A broker with a clock that tests set, and managers with short names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use broker::{
    BatchRoom, Broker, ConnectionId, Now, Origin, Output, Patience, Placement, Selector, Settings,
    Shipment, check_invariants,
};
use protocol::{BlockId, ManagerId, Registration, VersionCheck};

/// A body that passes through the broker, which cannot read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Task(i64),
    Result { manager: String, task: i64 },
    Record(i64),
    Registration(String),
}

/// The wall-clock time when the monotonic clock is at 0.
pub(crate) const WALL_AT_START_S: f64 = 1_790_000_000.0;

/// Room for as much as a manager can take.
pub(crate) const ANY_ROOM: BatchRoom = BatchRoom {
    tasks: usize::MAX,
    weight: usize::MAX,
};

/// The transport's answer whether a batch can be sent to a manager.
pub(crate) enum Way {
    Open(BatchRoom),
    /// There is no connection by that name.
    None,
    /// The connection accepts nothing for now.
    Full,
}

/// A result of a dispatch, in the order of sending.
pub(crate) enum Departure {
    Output(Output<Body>),
    Batch(ManagerId, Shipment<Body>),
}

pub(crate) struct World {
    pub broker: Broker<Body>,
    pub now: Now,
    origins: BTreeMap<String, Origin>,
    connections: u64,
}

impl World {
    pub(crate) fn new(settings: Settings, selector: Box<dyn Selector>) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_s: WALL_AT_START_S,
        };
        Self {
            broker: Broker::new(settings, selector, now),
            now,
            origins: BTreeMap::new(),
            connections: 0,
        }
    }

    /// Returns where messages of this manager come from, unless a test sets it: each manager has
    /// its own connection and address.
    pub(crate) fn origin(&mut self, manager: &str) -> Origin {
        if let Some(origin) = self.origins.get(manager) {
            return *origin;
        }
        self.reconnect(manager)
    }

    /// Gives the manager another connection for its later messages.
    pub(crate) fn reconnect(&mut self, manager: &str) -> Origin {
        self.connections += 1;
        let known = self.origins.get(manager).and_then(|known| known.address);
        let fresh = || IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.connections as u8));
        let origin = Origin {
            connection: Some(ConnectionId(self.connections)),
            address: Some(known.unwrap_or_else(fresh)),
        };
        self.set_origin(manager, origin);
        origin
    }

    /// Returns the managers whose last message came on this connection.
    pub(crate) fn speakers_by(&self, connection: ConnectionId) -> Vec<String> {
        let is_it = |origin: &Origin| origin.connection == Some(connection);
        let found = self.origins.iter().filter(|(_, origin)| is_it(origin));
        found.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn set_origin(&mut self, manager: &str, origin: Origin) {
        self.origins.insert(manager.to_owned(), origin);
    }

    /// Cuts all connections; each manager reconnects on another one.
    pub(crate) fn cut_all(&mut self) -> Vec<String> {
        let names: Vec<String> = self.origins.keys().cloned().collect();
        for name in &names {
            self.reconnect(name);
        }
        names
    }

    /// Advances both clocks. The broker is not notified.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_s += time.as_secs_f64();
    }

    /// Dispatches all that can be dispatched, batch by batch, as far as the transport has a way.
    /// Nothing may be left then that could be dispatched.
    pub(crate) fn dispatch(&mut self, way: impl Fn(&ManagerId) -> Way) -> Vec<Departure> {
        let now = self.now;
        let mut departures = Vec::new();
        while let Some(recipient) = self.broker.next_recipient(now) {
            let to = recipient.id.clone();
            let shipment = match way(&to) {
                Way::Open(room) => Some(self.broker.hand_out(&recipient, room, now)),
                Way::None => {
                    self.broker.handle_unreachable(&to, now);
                    None
                }
                Way::Full => {
                    self.broker.handle_clogged(&to, true, now);
                    None
                }
            };
            // Reports about a batch leave before the batch.
            departures.extend(self.outputs().into_iter().map(Departure::Output));
            departures.extend(shipment.map(|shipment| Departure::Batch(to, shipment)));
        }
        departures.extend(self.outputs().into_iter().map(Departure::Output));
        assert!(!self.broker.can_dispatch(), "something is left to hand out");
        departures
    }

    /// Returns the effects that the broker has requested. Its invariants must hold at such a
    /// moment.
    pub(crate) fn outputs(&mut self) -> Vec<Output<Body>> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.broker.poll_output()).collect();
        if let Err(broken) = check_invariants(&self.broker) {
            panic!("the broker's books are out of order: {broken}");
        }
        outputs
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        heartbeat_threshold: Duration::from_secs(10),
        disconnect_grace: None,
        reconnect_patience: Patience::Measured,
        version_check: VersionCheck::Off,
        monitoring: false,
        happenings: false,
        worker_port: 54321,
        placement: Placement::default(),
    }
}

pub(crate) fn manager_id(name: &str) -> ManagerId {
    ManagerId::new(name.as_bytes())
}

/// Returns the registration of a manager with this name, with default values.
pub(crate) fn registration(name: &str) -> Registration<Body> {
    Registration {
        block: BlockId::Text("0".into()),
        max_capacity: 1,
        worker_count: 1,
        hostname: format!("host-{name}"),
        parsl_version: "2026.10.26".to_owned(),
        python_version: "3.11.7".to_owned(),
        drain_time_s: f64::INFINITY,
        start_time_s: WALL_AT_START_S,
        cpu_count: None,
        total_memory_mb: None,
        tells_capacity: true,
        has_packages: true,
        message: Body::Registration(name.to_owned()),
    }
}
