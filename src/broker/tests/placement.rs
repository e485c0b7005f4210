//! Tasks with requirements, in random mixtures, compared with a plain model that tries everything.
//!
//! The model is a list of managers and a list of tasks. It has no kinds, classes or reservations.
//! It checks these promises after every step:
//!
//! - No task is dispatched where it does not fit.
//! - Slots that a queued task could use are idle on at most one manager.
//! - The first queued task that some manager could hold is dispatched within a bound.
//! - A manager's tasks are dispatched in order.
//!
//! `HTEX_SIM_SEED=17 cargo test -p broker placement -- --nocapture` plays one seed again.

mod plain_model;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broker::{
    BlockIdSelector, PackSelector, Placement, RandomSelector, Selector, Settings, SpreadSelector,
    StopReason,
};
use protocol::{
    Affinity, Amount, BlockId, Command, FromManager, ManagerId, Needs, NodeNeeds, Priority,
    Registration, Routing, Task, TaskId,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use self::plain_model::{Model, Site};
use super::world::{self, ANY_ROOM, Body, Departure, WALL_AT_START_S, Way, World, manager_id};

const SEEDS: u64 = 60;
/// Seeds beyond these in which an affinity's tasks change their manager again and again while one
/// waits.
const HOMES_CHANGE: [u64; 4] = [106, 231, 250, 353];
const STEPS: usize = 200;
/// The longest time that a task runs.
const FLIGHT_MAX: Duration = Duration::from_secs(4);

#[test]
fn tasks_go_where_they_fit() {
    let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
    if let Some(seed) = number("HTEX_SIM_SEED") {
        let mut play = Play::new(seed, true);
        play.run();
        play.world.broker.handle_stop(StopReason::SubmitSideGone);
        return;
    }
    let first = number("HTEX_SIM_FIRST").unwrap_or(0);
    let seeds = first..first + number("HTEX_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in seeds.chain(HOMES_CHANGE) {
        let mut play = Play::new(seed, false);
        let played = catch_unwind(AssertUnwindSafe(|| play.run()));
        // Dropping a broker with live tasks panics, which would hide the first failure.
        play.world.broker.handle_stop(StopReason::SubmitSideGone);
        assert!(
            played.is_ok(),
            "play it again: HTEX_SIM_SEED={seed} cargo test -p broker placement -- --nocapture"
        );
    }
}

struct Play {
    random: SmallRng,
    world: World,
    model: Model,
    tells: bool,
    /// The kinds of requirements that tasks of this seed use.
    words: [bool; 6],
    tasks: i64,
    managers: usize,
}

impl Play {
    fn new(seed: u64, tells: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let selector: Box<dyn Selector> = match random.random_range(0..4) {
            0 => Box::new(BlockIdSelector::default()),
            1 => Box::new(SpreadSelector::default()),
            2 => Box::new(PackSelector::default()),
            _ => Box::new(RandomSelector::new(seed)),
        };
        let placement = Placement {
            cores_per_worker: [None, Some(1.0), Some(0.5)][random.random_range(0..3)],
            memory_per_worker_mb: [None, Some(1000.0)][random.random_range(0..2)],
            walltime: [None, Some(Duration::from_secs(60))][random.random_range(0..2)],
            routing: [Routing::Soft, Routing::Hard][random.random_range(0..2)],
            hold_failing_managers: false,
            exact_capacity: false,
        };
        let settings = Settings {
            heartbeat_threshold: Duration::from_secs(1_000_000),
            placement,
            ..world::settings()
        };
        Self {
            world: World::new(settings, selector),
            model: Model::new(placement),
            words: std::array::from_fn(|_| random.random_bool(0.5)),
            random,
            tells,
            tasks: 0,
            managers: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..1 + self.below(4) {
            self.join();
        }
        for _ in 0..STEPS {
            match self.below(20) {
                0 if self.managers < 6 => self.join(),
                1 if self.random.random_bool(0.2) => self.hold(),
                2 if self.random.random_bool(0.2) => self.drain(),
                3 if self.random.random_bool(0.3) => self.lose(),
                4..=11 => self.submit(),
                12..=16 => self.answer_one(),
                _ => self.pass(),
            }
            self.settle();
        }
        // At the end no new task arrives, and every task that some manager can hold must end.
        for _ in 0..10_000 {
            if self.model.nothing_can_go_on() {
                break;
            }
            self.pass();
            self.settle();
        }
        assert!(self.model.nothing_can_go_on(), "it does not come to an end");
    }

    /// Dispatches what can be dispatched, and compares.
    fn settle(&mut self) {
        let departures = self.world.dispatch(|_| Way::Open(ANY_ROOM));
        let now = self.world.now.monotonic;
        for departure in departures {
            let Departure::Batch(to, shipment) = departure else {
                continue;
            };
            for id in shipment.ids() {
                self.tell(&format!("{now:?} {id} to {to}"));
                let flight = FLIGHT_MAX.mul_f64(self.random.random_range(0.01..1.0));
                let to = String::from_utf8_lossy(to.as_bytes());
                self.model.dispatch(id, &to, now, now + flight);
            }
        }
        self.model.check(now);
    }

    fn join(&mut self) {
        self.managers += 1;
        let name = format!("m{}", self.managers);
        let workers = 1 + self.below(6);
        let prefetch = [0, 0, 2][self.below(3)];
        let drains = [None, None, Some(Duration::from_secs(30))][self.below(3)];
        let told = self.random.random_bool(0.7);
        let registration = Registration {
            block: BlockId::Text((self.below(3)).to_string().into()),
            max_capacity: workers + prefetch,
            worker_count: workers as i64,
            cpu_count: told.then_some((2 * workers) as f64),
            total_memory_mb: told.then_some(4000.0),
            start_time_s: self.world.now.wall_s,
            drain_time_s: drains.map_or(f64::INFINITY, |drains: Duration| {
                self.world.now.wall_s + drains.as_secs_f64()
            }),
            ..world::registration(&name)
        };
        self.tell(&format!(
            "{name}: {workers} workers, prefetch {prefetch}, drains {drains:?}"
        ));
        self.model
            .join(&name, Site::of(&registration), self.world.now.monotonic);
        self.say(&name, FromManager::Registration(Box::new(registration)));
    }

    fn submit(&mut self) {
        for _ in 0..1 + self.below(6) {
            self.tasks += 1;
            let priority = match self.below(4) {
                0 => Priority::from_i64(self.below(3) as i64),
                _ => Priority::LOWEST,
            };
            let needs = self.needs();
            self.tell(&format!("task {} {priority:?} {needs:?}", self.tasks));
            let id = TaskId(self.tasks);
            self.model
                .submit(id.0, priority, needs.clone(), self.world.now.monotonic);
            let task = Task {
                id,
                priority,
                foreign_name: None,
                needs: Some(needs)
                    .filter(|it| *it != Needs::default())
                    .map(Box::new),
                body: Body::Task(id.0),
            };
            self.world.broker.handle_task(task, 1, self.world.now);
        }
    }

    fn needs(&mut self) -> Needs {
        let mut needs = Needs::default();
        let [cores, memory, time, affinity, task_type, node] =
            self.words.map(|used| used && self.random.random_bool(0.3));
        let some = |number: f64| Amount::new(number);
        if cores {
            needs.cores = some(self.random.random_range(0.1..6.0));
        }
        if memory {
            needs.memory_mb = some((100 + 500 * self.below(8)) as f64);
        }
        if time {
            needs.running_time_s = some([1.0, 10.0, 29.5, 50.0][self.below(4)]);
        }
        if affinity {
            needs.affinity = Some(Affinity::new(&[self.below(4) as u8]));
        }
        if task_type {
            needs.task_type = Some(["a", "b", "c"][self.below(3)].into());
            needs.routing = [None, None, Some(Routing::Hard)][self.below(3)];
        }
        if node {
            let mut asked = NodeNeeds::default();
            match self.below(3) {
                0 => asked.hostname = vec![format!("host-m[{}-9]", self.below(4)).into()],
                1 => asked.block_id = vec![self.below(3).to_string().into(), "9".into()],
                _ => asked.cpu_count = some(4.0),
            }
            needs.node = Some(Box::new(asked));
        }
        needs
    }

    fn answer_one(&mut self) {
        if let Some((manager, task)) = self.model.some_in_flight(self.random.random_range(0..64)) {
            self.answer(&manager, task);
        }
    }

    fn answer(&mut self, manager: &str, task: i64) {
        let frame = Body::Result {
            manager: manager.to_owned(),
            task,
        };
        self.model.done(manager, task, self.world.now.monotonic);
        let is_exception = self.random.random_bool(0.1);
        let task = TaskId(task);
        let message = FromManager::Result {
            task,
            is_exception,
            frame,
        };
        self.say(manager, message);
    }

    fn pass(&mut self) {
        let time = Duration::from_millis(10 + 20 * self.below(40) as u64);
        self.world.pass(time);
        let now = self.world.now;
        for (manager, task) in self.model.due(now.monotonic) {
            self.answer(&manager, task);
        }
        self.world.broker.handle_time(now);
        self.world.outputs();
        self.model.time(now.monotonic);
    }

    fn hold(&mut self) {
        if let Some(name) = self.model.some_manager(self.random.random_range(0..64)) {
            self.model.hold(&name);
            let command = Command::Hold(ManagerId::new(name.as_bytes()));
            let _ = self.world.broker.handle_command(command, self.world.now);
            self.world.outputs();
        }
    }

    fn drain(&mut self) {
        if let Some(name) = self.model.some_manager(self.random.random_range(0..64)) {
            self.model.drain(&name);
            self.say(&name, FromManager::Drain);
        }
    }

    /// The manager's process ends, and another one registers under its name on another connection:
    /// the earlier one is lost at once.
    fn lose(&mut self) {
        if let Some(name) = self.model.some_manager(self.random.random_range(0..64)) {
            self.model.leave(&name);
            self.world.reconnect(&name);
            let registration = Registration {
                max_capacity: 2,
                worker_count: 2,
                start_time_s: WALL_AT_START_S + 1.0,
                ..world::registration(&name)
            };
            self.model
                .join(&name, Site::of(&registration), self.world.now.monotonic);
            self.say(&name, FromManager::Registration(Box::new(registration)));
        }
    }

    fn say(&mut self, name: &str, message: FromManager<Body>) {
        let origin = self.world.origin(name);
        let (id, now) = (manager_id(name), self.world.now);
        self.world.broker.handle_manager(&id, message, origin, now);
        self.world.outputs();
    }

    #[expect(clippy::print_stdout, reason = "one seed is played to be read")]
    fn tell(&self, what: &str) {
        if self.tells {
            println!("{what}");
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }
}
