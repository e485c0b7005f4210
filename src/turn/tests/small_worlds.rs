//! Two managers, three tasks, and all events that may happen to them, in every order up to a number
//! of steps. After each step the turn must become idle, and the simulation's checks must hold.
//! After the last step everything recovers, and every task ends once.
//!
//! `HTEX_SMALL_WORLD_STEPS=5 cargo test -p turn small_worlds` runs this many steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::books::Verdict;
use super::host::{Beginning, Host};
use super::messages::{self, Saying};
use super::needs::Site;
use super::network::Sizes;
use super::simulation::number_in_env;
use super::world::ms;
use broker::{Patience, Placement};

const STEPS: u64 = 3;
const TASKS: i64 = 3;
const THRESHOLD: Duration = ms(1_000);
/// The capacity of each manager.
const CAPACITIES: [usize; 2] = [2, 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Task,
    Result(usize),
    /// A connection closes.
    Close(usize),
    /// A connection closes, and this is reported only after the next step.
    CloseUntold(usize),
    /// A manager reconnects and sends a heartbeat, or another process registers with its name.
    Back(usize),
    /// A manager's deadline passes; the other one sends heartbeats.
    Silence(usize),
    Hold(usize),
    Drain(usize),
    /// A connection takes no more messages, or takes them again.
    Jam(usize),
}

/// The bound, the size of tasks and the grace period of a world.
#[derive(Debug, Clone, Copy)]
struct Kind {
    what: &'static str,
    bound_bytes: usize,
    task_bytes: usize,
    grace: Option<Duration>,
}

#[test]
fn every_order_of_few_events() {
    let steps = number_in_env("HTEX_SMALL_WORLD_STEPS").unwrap_or(STEPS) as usize;
    for kind in [
        Kind {
            what: "roomy",
            bound_bytes: 1_000_000,
            task_bytes: 10,
            grace: None,
        },
        Kind {
            what: "tight",
            bound_bytes: 600,
            task_bytes: 100,
            grace: Some(ms(300)),
        },
    ] {
        let mut choices = Choices::default();
        loop {
            let mut path = Path::new(kind);
            let walked = catch_unwind(AssertUnwindSafe(|| path.walk(&mut choices, steps)));
            let taken = std::mem::take(&mut path.taken);
            path.host.end();
            match walked {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => panic!("path {taken:?} in a {} world: {failure}", kind.what),
                Err(_) => panic!("path {taken:?} in a {} world: a panic", kind.what),
            }
            if !choices.advance() {
                break;
            }
        }
    }
}

/// The steps that a path takes; the next path is the next one in their order.
#[derive(Debug, Default)]
struct Choices {
    taken: Vec<(usize, usize)>,
    place: usize,
}

impl Choices {
    fn of(&mut self, among: usize) -> usize {
        if self.place == self.taken.len() {
            self.taken.push((0, among));
        }
        self.place += 1;
        self.taken[self.place - 1].0
    }

    fn advance(&mut self) -> bool {
        self.place = 0;
        while let Some((taken, among)) = self.taken.pop() {
            if taken + 1 < among {
                self.taken.push((taken + 1, among));
                return true;
            }
        }
        false
    }
}

struct Path {
    host: Host,
    kind: Kind,
    /// The current process of each manager.
    peers: [usize; 2],
    has_held: [bool; 2],
    has_drained: [bool; 2],
    taken: Vec<Step>,
}

impl Path {
    fn new(kind: Kind) -> Self {
        let mut host = Host::new(Beginning {
            seed: None,
            sizes: Sizes {
                high_water: 1000,
                kernel: 1 << 20,
            },
            bound_bytes: kind.bound_bytes,
            threshold: THRESHOLD,
            grace: kind.grace,
            patience: Patience::Fixed(ms(500)),
            told: Placement::default(),
            tells: false,
            survives: false,
        });
        let peers = [0, 1].map(|place| {
            let site = Site::of_capacity(CAPACITIES[place]);
            host.world.start(NAMES[place], site)
        });
        for peer in peers {
            host.world.peers[peer].answers = false;
        }
        Self {
            host,
            kind,
            peers,
            has_held: [false; 2],
            has_drained: [false; 2],
            taken: Vec::new(),
        }
    }

    fn walk(&mut self, choices: &mut Choices, steps: usize) -> Verdict {
        self.host.settle()?;
        for _ in 0..steps {
            let possible = self.possible();
            let step = possible[choices.of(possible.len())];
            self.taken.push(step);
            let is_withheld = self.host.world.network.withholds;
            self.take(step)?;
            self.host.settle()?;
            if is_withheld {
                self.host.world.network.withholds = false;
                self.host.world.tell_what_is_late();
                self.host.settle()?;
            }
        }
        self.heal()
    }

    fn possible(&self) -> Vec<Step> {
        let mut possible = Vec::new();
        if self.host.submitted() < TASKS {
            possible.push(Step::Task);
        }
        let world = &self.host.world;
        for (place, peer) in self.peers.into_iter().enumerate() {
            let process = &world.peers[peer];
            let is_connected = process.connection.is_some();
            let is_registered = world.books.borrow().managers.contains_key(&process.name);
            let steps = [
                (
                    is_connected && !process.in_hand.is_empty(),
                    Step::Result(place),
                ),
                (is_connected, Step::Close(place)),
                (
                    is_connected && !world.network.withholds,
                    Step::CloseUntold(place),
                ),
                (!is_connected, Step::Back(place)),
                (is_registered, Step::Silence(place)),
                (!self.has_held[place], Step::Hold(place)),
                (is_connected && !self.has_drained[place], Step::Drain(place)),
                (true, Step::Jam(place)),
            ];
            let steps = steps.into_iter().filter(|(is_possible, _)| *is_possible);
            possible.extend(steps.map(|(_, step)| step));
        }
        possible
    }

    fn take(&mut self, step: Step) -> Verdict {
        let world = &mut self.host.world;
        match step {
            Step::Task => self.host.submit(self.kind.task_bytes, None),
            Step::Result(place) => world.answer_one(self.peers[place]),
            Step::Close(place) => world.break_connection(self.peers[place], true, false),
            Step::CloseUntold(place) => {
                world.network.withholds = true;
                world.break_connection(self.peers[place], true, false);
            }
            Step::Back(place) => self.come_back(place),
            Step::Silence(place) => return self.stay_silent(place),
            Step::Hold(place) => {
                self.has_held[place] = true;
                world.command(messages::hold(NAMES[place]));
            }
            Step::Drain(place) => {
                self.has_drained[place] = true;
                world.say(self.peers[place], Saying::Drain);
            }
            Step::Jam(place) => self.jam(place),
        }
        Ok(())
    }

    fn come_back(&mut self, place: usize) {
        let world = &mut self.host.world;
        let peer = self.peers[place];
        if world.peers[peer].is_running {
            world.connect_peer(peer);
            world.say(peer, Saying::Heartbeat);
            return;
        }
        let peer = world.start(NAMES[place], Site::of_capacity(CAPACITIES[place]));
        world.peers[peer].answers = false;
        self.peers[place] = peer;
        self.has_held[place] = false;
        self.has_drained[place] = false;
    }

    fn stay_silent(&mut self, place: usize) -> Verdict {
        for _ in 0..3 {
            let other = self.peers[1 - place];
            if self.host.world.peers[other].connection.is_some() {
                self.host.world.say(other, Saying::Heartbeat);
            }
            self.host.pass(THRESHOLD / 2)?;
        }
        Ok(())
    }

    fn jam(&mut self, place: usize) {
        let world = &mut self.host.world;
        let name = NAMES[place];
        let jammed = &mut world.network.jammed;
        match jammed.iter().position(|jammed| jammed == name) {
            Some(at) => {
                jammed.remove(at);
                if let Some(connection) = world.network.routes.get(name) {
                    world.network.connections[*connection].has_room_since = world.now;
                }
            }
            None => jammed.push(name.to_owned()),
        }
    }

    /// Brings all peers back to work, then ends those that have no tasks any more.
    fn heal(&mut self) -> Verdict {
        let world = &mut self.host.world;
        world.network.withholds = false;
        world.tell_what_is_late();
        for (place, name) in NAMES.into_iter().enumerate() {
            let jammed = &self.host.world.network.jammed;
            if jammed.iter().any(|jammed| jammed == name) {
                self.jam(place);
            }
            let peer = self.peers[place];
            if self.host.world.peers[peer].connection.is_none() {
                self.come_back(place);
            }
            let peer = self.peers[place];
            self.host.world.peers[peer].answers = true;
            self.host.world.go_on(peer);
        }
        self.host.pass(ms(100))?;
        let last = Site::of_capacity(TASKS as usize);
        self.host.world.start("last", last);
        self.host.pass(ms(100))?;
        for peer in self.peers {
            self.host.world.exit(peer);
        }
        self.host.pass(THRESHOLD * 2)?;
        self.host.check_end()
    }
}

const NAMES: [&str; 2] = ["a", "b"];
