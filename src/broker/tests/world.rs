//! A broker with a clock that tests set, and managers that go by short names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use broker::{
    BatchRoom, Broker, ConnectionId, Now, Origin, Output, Patience, Placement, Selector, Settings,
    Shipment, check_invariants,
};
use protocol::{BlockId, ManagerId, Registration, VersionCheck};

/// What passes through the broker, which cannot look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Task(i64),
    Result { manager: String, task: i64 },
    Record(i64),
    Registration(String),
}

/// The wall clock when the monotonic one stands at 0.
pub(crate) const WALL_AT_START_S: f64 = 1_790_000_000.0;

/// As much as a manager has room for.
pub(crate) const ANY_ROOM: BatchRoom = BatchRoom {
    tasks: usize::MAX,
    weight: usize::MAX,
};

/// What the transport says when it is asked whether a batch can go to somebody.
pub(crate) enum Way {
    Open(BatchRoom),
    /// It has no connection by that name.
    None,
    /// The connection takes nothing for now.
    Full,
}

/// What comes of a dispatch, in the order in which it leaves.
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

    /// Where messages of this manager come from, unless it is said otherwise: a connection of its
    /// own, and an address of its own.
    pub(crate) fn origin(&mut self, manager: &str) -> Origin {
        if let Some(origin) = self.origins.get(manager) {
            return *origin;
        }
        self.reconnect(manager)
    }

    /// From now on its messages come by another connection.
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

    /// Whose last message came by this connection.
    pub(crate) fn speakers_by(&self, connection: ConnectionId) -> Vec<String> {
        let is_it = |origin: &Origin| origin.connection == Some(connection);
        let found = self.origins.iter().filter(|(_, origin)| is_it(origin));
        found.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn set_origin(&mut self, manager: &str, origin: Origin) {
        self.origins.insert(manager.to_owned(), origin);
    }

    /// Nobody has a connection here any more; each comes back by another one.
    pub(crate) fn cut_all(&mut self) -> Vec<String> {
        let names: Vec<String> = self.origins.keys().cloned().collect();
        for name in &names {
            self.reconnect(name);
        }
        names
    }

    /// Lets both clocks go on. Nobody is told.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall_s += time.as_secs_f64();
    }

    /// Hands out what can be, batch by batch, as far as the transport has a way. Then nothing is
    /// left that could be handed out.
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
            // What is told of a batch leaves before it.
            departures.extend(self.outputs().into_iter().map(Departure::Output));
            departures.extend(shipment.map(|shipment| Departure::Batch(to, shipment)));
        }
        departures.extend(self.outputs().into_iter().map(Departure::Output));
        assert!(!self.broker.can_dispatch(), "something is left to hand out");
        departures
    }

    /// What the broker wants done by now. Its books must be in order at such a moment.
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

/// What a manager of this name tells of itself, unless it is said otherwise.
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
