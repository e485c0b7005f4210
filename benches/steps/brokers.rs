//! Steps of a broker in the middle of its work.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::time::Duration;

use broker::{
    BatchRoom, Broker, ConnectionId, Now, Origin, Output, Patience, Placement, RandomSelector,
    Recipient, Settings, Shipment, StopReason,
};
use protocol::{
    Amount, BlockId, FromManager, ManagerId, Needs, Opaque, Priority, Registration, Task, TaskId,
    VersionCheck,
};

use super::messages::FIRST_TASK;
use super::{Step, Work};

const SEED: u64 = 20_260_731;
/// Capacity of a typical manager: a node's cores.
const SLOTS: usize = 16;

/// Number of tasks that one run queues and dispatches.
const QUEUED: usize = 1024;
/// Number of different priorities among these tasks.
const PRIORITIES: u64 = 1000;

/// Number of managers that send results in one turn. Each sends `RESULTS_EACH` results, and as many
/// new tasks arrive. The number is the same however many managers there are, so that differences
/// come only from silent managers.
const SPEAKERS: usize = 4;
const RESULTS_EACH: usize = 4;
const EXCHANGED: usize = SPEAKERS * RESULTS_EACH;
/// Number of tasks that are always queued.
const BACKLOG: usize = 256;
/// The same for a long queue with `KINDS` kinds of tasks.
const LONG_BACKLOG: usize = 16_384;
const KINDS: i64 = 1000;

const TURNS: u64 = 64;
const TURN: Duration = Duration::from_micros(100);
/// Room for a batch of any size.
const BATCH_ROOM: BatchRoom = BatchRoom {
    tasks: usize::MAX,
    weight: usize::MAX,
};
/// Longer than all turns of a benchmark together, so that no manager is ever overdue.
const THRESHOLD: Duration = Duration::from_secs(1_000_000);

/// HTEX sends tasks in this form if they have no priorities.
pub(super) const QUEUE_IN_ORDER: Step = Step {
    name: "queue_in_order",
    operations: QUEUED as u64,
    set_up: || Queue::set_up(|_| Priority::LOWEST),
};

pub(super) const QUEUE_RANDOM_PRIORITIES: Step = Step {
    name: "queue_random_priorities",
    operations: QUEUED as u64,
    set_up: || Queue::set_up(|id| Priority::from_i64((mix(id as u64) % PRIORITIES) as i64)),
};

pub(super) const DISPATCH_4_MANAGERS: Step = Step {
    name: "dispatch_4_managers",
    operations: EXCHANGED as u64,
    set_up: || Exchange::set_up(4, BACKLOG, |_| None),
};

pub(super) const DISPATCH_1000_MANAGERS: Step = Step {
    name: "dispatch_1000_managers",
    operations: EXCHANGED as u64,
    set_up: || Exchange::set_up(1000, BACKLOG, |_| None),
};

/// Each task requests a core.
pub(super) const DISPATCH_ASKING: Step = Step {
    name: "dispatch_asking",
    operations: EXCHANGED as u64,
    set_up: || Exchange::set_up(4, BACKLOG, |_| Some(cores(1.0))),
};

/// A long queue of tasks with many different requests for memory and many types.
pub(super) const DISPATCH_1000_KINDS: Step = Step {
    name: "dispatch_1000_kinds",
    operations: EXCHANGED as u64,
    set_up: || Exchange::set_up(4, LONG_BACKLOG, |id| Some(kind(id % KINDS))),
};

/// Measures the cost of turns in which nothing is due.
pub(super) const EXPIRE_NOTHING_8192: Step = Step {
    name: "expire_nothing_8192",
    operations: TURNS,
    set_up: || Box::new(Rest(World::new(8192, SLOTS))),
};

fn cores(number: f64) -> Box<Needs> {
    Box::new(Needs {
        cores: Amount::new(number),
        ..Needs::default()
    })
}

fn kind(number: i64) -> Box<Needs> {
    let mut needs = Needs::default();
    match number % 2 {
        0 => needs.memory_mb = Amount::new(1000.0 + number as f64),
        _ => needs.task_type = Some(format!("type-{number}").into()),
    }
    Box::new(needs)
}

/// A frame as large as libzmq's, so that moving a task costs as much as in the program.
#[derive(Debug)]
struct Frame {
    _as_libzmq: [u64; 8],
}

/// The bytes are never read here.
impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

type Body = Opaque<Frame>;

fn body() -> Body {
    Opaque::whole(Frame { _as_libzmq: [0; 8] })
}

/// A broker whose managers have numbers.
struct World {
    broker: Broker<Body>,
    now: Now,
    managers: Vec<Manager>,
    numbers: HashMap<ManagerId, usize>,
    outputs: Vec<Output<Body>>,
    batches: Vec<(Recipient, Shipment<Body>)>,
    next_task: i64,
}

struct Manager {
    id: ManagerId,
    origin: Origin,
    held: VecDeque<TaskId>,
}

impl World {
    fn new(managers: usize, capacity: usize) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_s: 1_790_000_000.0,
        };
        let settings = Settings {
            heartbeat_threshold: THRESHOLD,
            disconnect_grace: None,
            reconnect_patience: Patience::Measured,
            version_check: VersionCheck::PythonAndParsl,
            monitoring: false,
            happenings: false,
            worker_port: 54321,
            placement: Placement::default(),
        };
        let selector = Box::new(RandomSelector::new(SEED));
        let mut world = Self {
            broker: Broker::new(settings, selector, now),
            now,
            managers: Vec::new(),
            numbers: HashMap::new(),
            outputs: Vec::with_capacity(2 * QUEUED),
            batches: Vec::with_capacity(QUEUED),
            next_task: FIRST_TASK,
        };
        for number in 0..managers {
            world.register(number, capacity);
        }
        world
    }

    fn register(&mut self, number: usize, capacity: usize) {
        // Parsl's uid is the last twelve digits of a UUID.
        let uid = format!("{:012x}", mix(number as u64) >> 16);
        let id = ManagerId::new(uid.as_bytes());
        let origin = Origin {
            connection: Some(ConnectionId(number as u64)),
            address: None,
        };
        let registration = FromManager::Registration(Box::new(Registration {
            block: BlockId::Text("0".into()),
            max_capacity: capacity,
            worker_count: SLOTS as i64,
            hostname: format!("node{number}.example.org"),
            parsl_version: "2026.10.26".to_owned(),
            python_version: "3.11.7".to_owned(),
            drain_time_s: f64::INFINITY,
            start_time_s: self.now.wall_s,
            cpu_count: None,
            total_memory_mb: None,
            tells_capacity: true,
            has_packages: true,
            message: body(),
        }));
        self.broker
            .handle_manager(&id, registration, origin, self.now);
        self.numbers.insert(id.clone(), number);
        self.managers.push(Manager {
            id,
            origin,
            held: VecDeque::new(),
        });
    }

    fn next_task(&mut self, priority: Priority) -> Task<Body> {
        self.next_task += 1;
        Task {
            id: TaskId(self.next_task),
            priority,
            foreign_name: None,
            needs: None,
            body: body(),
        }
    }

    /// Makes the result of the task that this manager has had for longest.
    fn result_of(&mut self, number: usize) -> (usize, FromManager<Body>) {
        let task = self.managers[number].held.pop_front();
        let task = task.expect("it has been given tasks");
        let frame = body();
        (
            number,
            FromManager::Result {
                task,
                is_exception: false,
                frame,
            },
        )
    }

    /// Gives the broker a manager's message. Some callers are measured, some are not.
    fn hear(&mut self, (number, message): (usize, FromManager<Body>)) {
        let manager = &self.managers[number];
        self.broker
            .handle_manager(&manager.id, message, manager.origin, self.now);
    }

    /// Runs the rest of a turn; all of it is measured.
    fn end_turn(&mut self) {
        self.broker.handle_time(self.now);
        while let Some(to) = self.broker.next_recipient(self.now) {
            let shipment = self.broker.hand_out(&to, BATCH_ROOM, self.now);
            self.batches.push((to, shipment));
        }
        while let Some(output) = self.broker.poll_output() {
            self.outputs.push(output);
        }
        black_box(self.broker.next_deadline());
        self.now.monotonic += TURN;
        self.now.wall_s += TURN.as_secs_f64();
    }

    /// Delivers the sent batches to the managers.
    fn deliver(&mut self) {
        self.outputs.clear();
        for (to, shipment) in self.batches.drain(..) {
            let held = &mut self.managers[self.numbers[&to.id]].held;
            held.extend(shipment.ids().into_iter().map(TaskId));
        }
    }
}

/// The broker must report its remaining tasks before it is dropped.
impl Drop for World {
    fn drop(&mut self) {
        self.broker.handle_stop(StopReason::SubmitSideGone);
    }
}

/// Many tasks arrive in one turn and leave in one batch.
struct Queue {
    world: World,
    priority: fn(i64) -> Priority,
    coming: Vec<Task<Body>>,
}

impl Queue {
    fn set_up(priority: fn(i64) -> Priority) -> Box<dyn Work> {
        let mut queue = Self {
            world: World::new(1, QUEUED),
            priority,
            coming: Vec::with_capacity(QUEUED),
        };
        // Runs once, so that memory is allocated before the measurement.
        queue.prepare();
        queue.run();
        Box::new(queue)
    }
}

impl Work for Queue {
    fn prepare(&mut self) {
        self.world.deliver();
        while !self.world.managers[0].held.is_empty() {
            let result = self.world.result_of(0);
            self.world.hear(result);
        }
        self.world.end_turn();
        self.world.outputs.clear();
        for _ in 0..QUEUED {
            let priority = (self.priority)(self.world.next_task);
            self.coming.push(self.world.next_task(priority));
        }
    }

    fn run(&mut self) {
        for task in self.coming.drain(..) {
            self.world.broker.handle_task(task, 1, self.world.now);
        }
        self.world.end_turn();
    }
}

/// All managers are busy. A few of them send results, and receive new tasks for these.
struct Exchange {
    world: World,
    needs: fn(i64) -> Option<Box<Needs>>,
    next_speaker: usize,
    tasks: Vec<Task<Body>>,
    results: Vec<(usize, FromManager<Body>)>,
}

impl Exchange {
    fn set_up(
        managers: usize,
        backlog: usize,
        needs: fn(i64) -> Option<Box<Needs>>,
    ) -> Box<dyn Work> {
        let mut world = World::new(managers, SLOTS);
        for _ in 0..managers * SLOTS + backlog {
            let mut task = world.next_task(Priority::LOWEST);
            task.needs = needs(task.id.0);
            world.broker.handle_task(task, 1, world.now);
        }
        world.end_turn();
        let mut exchange = Self {
            world,
            needs,
            next_speaker: 0,
            tasks: Vec::with_capacity(EXCHANGED),
            results: Vec::with_capacity(EXCHANGED),
        };
        // Runs until the queue's ring buffer has wrapped around once.
        for _ in 0..BACKLOG {
            exchange.prepare();
            exchange.run();
        }
        Box::new(exchange)
    }
}

impl Work for Exchange {
    fn prepare(&mut self) {
        self.world.deliver();
        for _ in 0..EXCHANGED {
            let mut task = self.world.next_task(Priority::LOWEST);
            task.needs = (self.needs)(task.id.0);
            self.tasks.push(task);
        }
        for _ in 0..SPEAKERS {
            for _ in 0..RESULTS_EACH {
                let result = self.world.result_of(self.next_speaker);
                self.results.push(result);
            }
            self.next_speaker = (self.next_speaker + 1) % self.world.managers.len();
        }
    }

    fn run(&mut self) {
        for task in self.tasks.drain(..) {
            self.world.broker.handle_task(task, 1, self.world.now);
        }
        for result in self.results.drain(..) {
            self.world.hear(result);
        }
        self.world.end_turn();
    }
}

/// No manager sends anything, and none is overdue.
struct Rest(World);

impl Work for Rest {
    fn run(&mut self) {
        for _ in 0..TURNS {
            self.0.end_turn();
        }
    }
}

/// The finishing step of splitmix64: reproducible random numbers.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
