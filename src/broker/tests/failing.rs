//! Managers that fail every task, in random runs, compared with a model that keeps every result and
//! checks all of them each time.
//!
//! `HTEX_SIM_SEED=17 cargo test -p broker failing -- --nocapture` plays one seed again.

mod model;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broker::{
    Happening, ManagerChange, Output, Placement, RandomSelector, Settings, StopReason, What,
};
use protocol::{BlockId, Command, FromManager, ManagerId, Priority, Registration, Task, TaskId};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use self::model::{Kind, Model};
use super::world::{self, ANY_ROOM, Body, Departure, Way, World, manager_id};

const SEEDS: u64 = 200;
const STEPS: usize = 400;

#[test]
fn managers_that_fail_every_task_are_found() {
    let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
    let seeds = match number("HTEX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HTEX_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut failing, mut held) = (0, 0);
    for seed in seeds {
        let mut play = Play::new(seed);
        let played = catch_unwind(AssertUnwindSafe(|| play.run()));
        // Dropping a broker with live tasks panics, which would hide the first failure.
        play.world.broker.handle_stop(StopReason::SubmitSideGone);
        assert!(
            played.is_ok(),
            "play it again: HTEX_SIM_SEED={seed} cargo test -p broker failing"
        );
        failing += play.model.found;
        held += play.model.found_and_held;
    }
    assert!(failing > 0 || env::var("HTEX_SIM_SEED").is_ok(), "{held}");
}

/// A node, and what it does to tasks.
struct Node {
    /// How many of 100 tasks raise on this node.
    raises: u32,
    /// How long a task takes at most when it raises, and when it does not.
    flights: [Duration; 2],
    /// Tasks that the node holds, and when each is done.
    held: BTreeMap<i64, Duration>,
}

struct Play {
    random: SmallRng,
    world: World,
    model: Model,
    nodes: BTreeMap<String, Node>,
    /// How many of 100 tasks raise on any node.
    raises: u32,
    tasks: i64,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let hold = random.random_bool(0.5);
        let settings = Settings {
            heartbeat_threshold: Duration::from_secs(1_000_000),
            happenings: true,
            placement: Placement {
                hold_failing_managers: hold,
                exact_capacity: false,
                ..Placement::default()
            },
            ..world::settings()
        };
        Self {
            world: World::new(settings, Box::new(RandomSelector::new(seed))),
            model: Model::new(hold),
            nodes: BTreeMap::new(),
            raises: [0, 0, 5, 50, 90, 100][random.random_range(0..6)],
            random,
            tasks: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..1 + self.below(4) {
            self.join();
        }
        for _ in 0..STEPS {
            match self.below(40) {
                0 if self.nodes.len() < 6 => self.join(),
                1 if self.random.random_bool(0.1) => self.hold(),
                2 if self.random.random_bool(0.1) => self.drain(),
                3 if self.random.random_bool(0.2) => self.disconnect(),
                4 => self.heartbeat(),
                5..=10 => self.submit(),
                _ => self.pass(),
            }
            self.dispatch();
        }
    }

    fn join(&mut self) {
        let name = format!("m{}", self.nodes.len());
        if self.nodes.contains_key(&name) {
            return;
        }
        let workers = 1 + self.below(7);
        let registration = Registration {
            block: BlockId::Text(name.as_str().into()),
            max_capacity: workers + [0, 0, 3][self.below(3)],
            worker_count: workers as i64,
            ..world::registration(&name)
        };
        let millis = |random: &mut SmallRng| [2, 50, 50, 700, 3000][random.random_range(0..5)];
        let flights = [(); 2].map(|()| Duration::from_millis(millis(&mut self.random)));
        let node = Node {
            raises: [0, 0, 0, 30, 100, 100][self.below(6)],
            flights,
            held: BTreeMap::new(),
        };
        self.nodes.insert(name.clone(), node);
        self.model.join(&name, workers);
        self.say(&name, FromManager::Registration(Box::new(registration)));
    }

    fn submit(&mut self) {
        for _ in 0..1 + self.below(30) {
            self.tasks += 1;
            let task = Task {
                id: TaskId(self.tasks),
                priority: Priority::LOWEST,
                foreign_name: None,
                needs: None,
                body: Body::Task(self.tasks),
            };
            self.world.broker.handle_task(task, 1, self.world.now);
        }
        self.compare(Vec::new());
    }

    fn dispatch(&mut self) {
        let now = self.world.now.monotonic;
        for departure in self.world.dispatch(|_| Way::Open(ANY_ROOM)) {
            let Departure::Batch(to, shipment) = departure else {
                continue;
            };
            let to = to.to_text();
            for id in shipment.ids() {
                let longest = self.nodes[&to].flights.into_iter().max();
                let flight = longest.unwrap_or_default();
                let flight = flight.mul_f64(self.random.random_range(0.001..1.0));
                let node = self.nodes.get_mut(&to).expect("a node");
                node.held.insert(id, now + flight);
                self.model.dispatch(&to, id, now);
            }
        }
    }

    fn pass(&mut self) {
        let until = self.world.now.monotonic + Duration::from_millis(1 + self.below(300) as u64);
        while let Some((at, name, task)) = self.next_done(until) {
            let time = at.saturating_sub(self.world.now.monotonic);
            self.world.pass(time);
            self.answer(&name, task);
        }
        self.world.pass(until - self.world.now.monotonic);
        self.world.broker.handle_time(self.world.now);
        let expected = self.model.time(self.world.now.monotonic);
        self.compare(expected);
        let (broker, model) = (self.world.broker.next_deadline(), self.model.look_at);
        assert!(
            model.is_none_or(|at| broker.is_some_and(|broker| broker <= at)),
            "a look is due at {model:?}, the broker wakes at {broker:?}"
        );
    }

    /// Returns the first task that is done by then.
    fn next_done(&self, until: Duration) -> Option<(Duration, String, i64)> {
        let nodes = self
            .nodes
            .iter()
            .filter(|(name, _)| self.model.is_connected(name));
        let held = nodes.flat_map(|(name, node)| {
            let held = node.held.iter();
            held.map(move |(task, at)| (*at, name.clone(), *task))
        });
        held.filter(|(at, ..)| *at <= until).min()
    }

    fn answer(&mut self, name: &str, task: i64) {
        let raises_anywhere = self.random.random_ratio(self.raises, 100);
        let node = self.nodes.get_mut(name).expect("a node");
        node.held.remove(&task);
        let raises = raises_anywhere || self.random.random_ratio(node.raises, 100);
        let kind = match (self.random.random_ratio(1, 50), raises) {
            (true, _) => Kind::Spoilt,
            (false, true) => Kind::Raised,
            (false, false) => Kind::Done,
        };
        let frame = Body::Result {
            manager: name.to_owned(),
            task,
        };
        let id = TaskId(task);
        let message = match kind {
            Kind::Spoilt => FromManager::SpoiltResult {
                task: id,
                reason: "why".to_owned(),
            },
            Kind::Done | Kind::Raised => FromManager::Result {
                task: id,
                is_exception: kind == Kind::Raised,
                frame,
            },
        };
        let now = self.world.now.monotonic;
        let mut expected = self.model.result(name, task, kind, now);
        if self.random.random_ratio(1, 20) {
            // The manager does not hold the task of the second result.
            self.say_of(name, message, expected);
            expected = Vec::new();
            let frame = Body::Record(0);
            let message = FromManager::Result {
                task: id,
                is_exception: true,
                frame,
            };
            self.say_of(name, message, expected);
        } else {
            self.say_of(name, message, expected);
        }
    }

    fn hold(&mut self) {
        let name = self.some_name();
        self.model.hold(&name);
        let command = Command::Hold(ManagerId::new(name.as_bytes()));
        let _ = self.world.broker.handle_command(command, self.world.now);
        self.world.outputs();
    }

    fn drain(&mut self) {
        let name = self.some_name();
        if self.model.is_connected(&name) {
            self.model.drain(&name);
            self.say(&name, FromManager::Drain);
        }
    }

    fn disconnect(&mut self) {
        let name = self.some_name();
        let origin = self.world.origin(&name);
        if let Some(connection) = origin.connection {
            self.model.connect(&name, false);
            let now = self.world.now;
            self.world.broker.handle_disconnected(connection, now);
            self.compare(Vec::new());
        }
    }

    /// Reconnects a manager that had lost its connection.
    fn heartbeat(&mut self) {
        let name = self.some_name();
        if self.model.is_here(&name) && !self.model.is_connected(&name) {
            self.world.reconnect(&name);
            self.model.connect(&name, true);
            self.say(&name, FromManager::Heartbeat);
        }
    }

    fn some_name(&mut self) -> String {
        let count = self.nodes.len();
        format!("m{}", self.below(count))
    }

    fn say(&mut self, name: &str, message: FromManager<Body>) {
        self.say_of(name, message, Vec::new());
    }

    fn say_of(&mut self, name: &str, message: FromManager<Body>, expected: Vec<(String, u64)>) {
        let origin = self.world.origin(name);
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
        self.compare(expected);
    }

    /// Compares which managers are found to fail every task by now, and which are known to, with
    /// the model.
    fn compare(&mut self, expected: Vec<(String, u64)>) {
        let mut found = Vec::new();
        for output in self.world.outputs() {
            if let Output::Happening(Happening {
                what: What::Manager { manager, change },
                ..
            }) = output
                && let ManagerChange::Failing { tasks } = change
            {
                found.push((manager.to_text(), tasks));
            }
        }
        assert_eq!(found, expected, "found and expected");
        let snapshot = self.world.broker.snapshot(self.world.now);
        for view in snapshot.managers {
            let name = view.id.to_text();
            let known = (view.failing, view.held);
            assert_eq!(known, self.model.known(&name), "{name}: failing, held");
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }
}
