//! A simulated world around the turn, generated from a seed. It has an executor, managers that read
//! in bursts, slowly or not at all, and connections that fill, break and recover. Sometimes the
//! whole process is stopped. In some runs tasks have placement needs. Only the real wake-up sources
//! wake the loop, and its guarantees are checked whenever it waits. In the end everything recovers,
//! and every task must end.
//!
//! `HTEX_SIM_SEED=17 cargo test -p turn simulation -- --nocapture` replays one seed and prints each
//! step; `HTEX_SIM_SEEDS=10000` plays this many seeds.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::books::Verdict;
use super::host::{Beginning, Host};
use super::messages::{self, Saying};
use super::needs::{Needs, Site, Tasks};
use super::network::Sizes;
use super::peers::Reading;
use super::world::ms;
use broker::{Patience, Placement};
use protocol::Routing;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const SEEDS: u64 = 300;
const STEPS: usize = 80;
/// Maximum duration of a step, and the longer one for runs with slow tasks, where later tasks
/// overtake others for a while.
const STEP: Duration = ms(60);
const SLOW_STEP: Duration = ms(1_000);
const SLOW_TASK_TAKES: Duration = ms(4_000);
/// In one of this many runs tasks have placement needs.
const ASKING_PART: u64 = 3;
/// In one of this many runs a killed process is replaced by another one.
const SURVIVING_PART: u64 = 2;
/// Maximum number of calls of the transport after which a process is killed in the middle of a
/// turn.
const CALLS_MAX: usize = 60;
/// Maximum number of kinds of tasks with placement needs.
const KINDS_MAX: usize = 6;
/// With this bound, one manager may get more tasks than are dispatched in a turn.
const BOUND_BYTES_MAX: usize = 4_000_000;
const THRESHOLD: Duration = Duration::from_secs(4);
/// Minimum duration of a stop. A shorter one, before the transport's thread has run, looks like a
/// running process.
const STOP_MIN: Duration = ms(100);

#[test]
fn the_turn_keeps_its_guarantees() {
    if let Some(seed) = number_in_env("HTEX_SIM_SEED") {
        assert_eq!(play(seed, true), Ok(()), "seed {seed}");
        return;
    }
    let first = number_in_env("HTEX_SIM_FIRST").unwrap_or(0);
    for seed in first..first + number_in_env("HTEX_SIM_SEEDS").unwrap_or(SEEDS) {
        if let Err(failure) = play(seed, false) {
            panic!(
                "{failure}\nplay it again: HTEX_SIM_SEED={seed} cargo test -p turn simulation -- \
                 --nocapture"
            );
        }
    }
}

pub(crate) fn number_in_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Plays one seed.
///
/// # Errors
/// Which guarantee was broken, and when.
fn play(seed: u64, tells: bool) -> Verdict {
    let mut simulation = Simulation::new(seed, tells);
    let played = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let (step, now) = (simulation.step, simulation.host.world.now);
    let verdict = match played {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(format!("seed {seed}, step {step}: {failure} (at {now:?})")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("seed {seed}, step {step}: panic: {text:?}"))
        }
    };
    simulation.host.end();
    verdict
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Tasks,
    Join,
    Pass,
    PassLong,
    /// A connection breaks.
    Break,
    /// A connection breaks, and the transport does not notice.
    BreakUnnoticed,
    Reconnect,
    /// A connection breaks and recovers at once.
    Flap,
    /// A manager process is stopped, or (`Thaw`) continues.
    Freeze,
    Thaw,
    ReadOtherwise,
    StopBeats,
    StopAnswers,
    ExecutorReadsOtherwise,
    Hold,
    Drain,
    RegisterAgain,
    /// Another process takes over a manager's name.
    Replace,
    Die,
    /// The interchange's process is stopped.
    Stop,
    StopShortly,
    Ask,
    /// The interchange's process is killed, between two turns or in the middle of one.
    Kill,
}

/// The relative frequency of each event, among those that a run has.
const HAPPENINGS: [(Happening, usize); 20] = [
    (Happening::Tasks, 6),
    (Happening::PassLong, 1),
    (Happening::Break, 2),
    (Happening::BreakUnnoticed, 1),
    (Happening::Reconnect, 4),
    (Happening::Flap, 2),
    (Happening::Freeze, 2),
    (Happening::Thaw, 2),
    (Happening::ReadOtherwise, 4),
    (Happening::StopBeats, 1),
    (Happening::StopAnswers, 2),
    (Happening::ExecutorReadsOtherwise, 3),
    (Happening::Hold, 1),
    (Happening::Drain, 1),
    (Happening::RegisterAgain, 1),
    (Happening::Replace, 1),
    (Happening::Die, 1),
    (Happening::Stop, 1),
    (Happening::StopShortly, 2),
    (Happening::Ask, 1),
];

struct Simulation {
    random: SmallRng,
    host: Host,
    menu: Vec<Happening>,
    step: usize,
    /// The managers that run or ran, one in each place.
    places: Vec<usize>,
    started: usize,
    bound_bytes: usize,
    task_bytes: usize,
    patience: Patience,
    /// Number of kinds of tasks with placement needs.
    kinds: usize,
    step_max: Duration,
}

impl Simulation {
    fn new(seed: u64, tells: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x7475_726e);
        let mut menu = vec![Happening::Tasks, Happening::Join, Happening::Pass];
        // Some kinds of events are absent from some runs, so that the other kinds get more steps.
        for (happening, weight) in HAPPENINGS {
            if random.random_bool(0.6) {
                menu.extend(std::iter::repeat_n(happening, weight));
            }
        }
        let mut one_of = |among: &[usize]| among[random.random_range(0..among.len())];
        let bound_bytes = one_of(&[60_000, 250_000, 1_000_000, BOUND_BYTES_MAX]);
        let sizes = Sizes {
            high_water: one_of(&[1, 2, 3, 8, 1000]),
            kernel: one_of(&[100, 3_000, 50_000, 400_000]),
        };
        let grace = [None, Some(ms(700)), Some(ms(2_500))][one_of(&[0, 1, 2])];
        let survives = seed.is_multiple_of(SURVIVING_PART);
        if survives {
            menu.extend([Happening::Kill; 3]);
        }
        let patience = [Patience::Measured, Patience::Fixed(ms(2_000))][one_of(&[0, 1])];
        let task_bytes = one_of(&[60, 600, 3_000, bound_bytes / 40]);
        let asking = match seed.is_multiple_of(ASKING_PART) {
            true => Asking::draw(seed),
            false => Asking::default(),
        };
        let mut host = Host::new(Beginning {
            seed: Some(seed),
            sizes,
            bound_bytes,
            threshold: THRESHOLD,
            grace,
            patience,
            told: asking.told,
            tells,
            survives,
        });
        let world = &mut host.world;
        world.heartbeat_period = Some(THRESHOLD / 4);
        world.task_takes = ms([1, 20, 300][one_of(&[0, 1, 2])] as u64);
        world.thread_takes = Duration::from_micros(one_of(&[20, 500, 3_000]) as u64);
        world.turn_takes = Duration::from_micros(one_of(&[20, 200, 2_000]) as u64);
        world.executor.results_max = one_of(&[1, 4, 1000]);
        world.result_size = one_of(&[30, 300, 3_000]);
        world.result_weight = one_of(&[1, 1, 1, 10_000]);
        world.sneaks = [0.0, 0.1, 0.5][one_of(&[0, 1, 2])];
        if asking.is_slow {
            world.task_takes = SLOW_TASK_TAKES;
        }
        let kinds = asking.kinds.len();
        world.books.get_mut().tasks = Tasks::of_kinds(asking.kinds);
        Self {
            random,
            host,
            menu,
            step: 0,
            places: Vec::new(),
            started: 0,
            bound_bytes,
            task_bytes,
            patience,
            kinds,
            step_max: if asking.is_slow { SLOW_STEP } else { STEP },
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn time_below(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.random.random_range(0..end.as_micros() as u64))
    }

    fn run(&mut self) -> Verdict {
        if self.bound_bytes == BOUND_BYTES_MAX && self.chance(0.08) {
            self.crowd()?;
        }
        if self.bound_bytes <= 250_000 && self.chance(0.08) {
            self.deaf_crowd()?;
        }
        for _ in 0..2 {
            self.join();
        }
        for step in 0..STEPS {
            self.step = step;
            let happening = self.menu[self.random.random_range(0..self.menu.len())];
            let now = self.host.world.now;
            self.host
                .world
                .books
                .borrow()
                .tell(now, format_args!("=== {happening:?}"));
            self.happen(happening)?;
            let time = self.time_below(self.step_max);
            self.host.pass(time)?;
        }
        self.heal()
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        match happening {
            Happening::Tasks => self.submit(),
            Happening::Join => self.join(),
            Happening::Pass | Happening::PassLong => {
                let longest = match happening {
                    Happening::Pass => ms(500),
                    _ => THRESHOLD * 2,
                };
                let time = self.time_below(longest);
                return self.host.pass(time);
            }
            Happening::ExecutorReadsOtherwise => {
                self.host.world.executor.reads = self.reading();
                self.host.world.read_results_soon();
            }
            Happening::Stop => {
                let time = STOP_MIN + self.time_below(THRESHOLD * 3);
                self.host.world.stop(time);
            }
            Happening::StopShortly => {
                let time = STOP_MIN + self.time_below(ms(800));
                self.host.world.stop(time);
            }
            Happening::Kill => return self.kill(),
            Happening::Ask => self.host.world.command(messages::outstanding()),
            _ => {
                let place = self.below(self.places.len());
                self.happen_to(place, happening);
            }
        }
        Ok(())
    }

    /// Kills the process: usually for a moment, sometimes for longer than any peer waits.
    fn kill(&mut self) -> Verdict {
        let longest = match self.chance(0.8) {
            true => ms(100),
            false => THRESHOLD * 2,
        };
        let down = self.time_below(longest);
        match self.chance(0.7) {
            true => self.host.life.kill = Some((self.below(CALLS_MAX), down)),
            false => return self.host.restart(down),
        }
        Ok(())
    }

    fn submit(&mut self) {
        let count = 1 + self.below(12);
        for _ in 0..count {
            let size = match self.chance(0.03) {
                true => self.below(self.bound_bytes.min(400_000)),
                false => self.below(self.task_bytes),
            };
            let priority = self.chance(0.3).then(|| self.below(10) as i64);
            let kind = self.kind();
            self.host.submit_of_kind(kind, size, priority);
        }
    }

    /// Half of the tasks have placement needs, in runs that have such tasks.
    fn kind(&mut self) -> usize {
        match self.kinds > 0 && self.chance(0.5) {
            true => 1 + self.below(self.kinds),
            false => 0,
        }
    }

    /// Queues more tasks than are dispatched in one turn.
    fn crowd(&mut self) -> Verdict {
        const TASKS: usize = 1_300;
        for _ in 0..TASKS {
            self.host.submit(10, None);
        }
        self.host.world.tasks_read_ahead = TASKS;
        self.host.pass(ms(200))?;
        let site = Site::of_capacity(2 * TASKS);
        let peer = self.host.world.start("large", site);
        self.places.push(peer);
        Ok(())
    }

    /// Starts so many managers that do not read that the limit of all pending bytes is reached.
    fn deaf_crowd(&mut self) -> Verdict {
        const MANAGERS: usize = 20;
        const TASKS: usize = 200;
        let kernel = std::mem::replace(&mut self.host.world.network.sizes.kernel, 100);
        for number in 0..MANAGERS {
            let name = format!("deaf{number}");
            let peer = self.host.world.start(&name, Site::of_capacity(TASKS));
            self.host.world.peers[peer].reads = Reading::Not;
        }
        for _ in 0..TASKS {
            self.host.submit(self.bound_bytes / TASKS, None);
        }
        self.host.pass(ms(500))?;
        self.host.world.network.sizes.kernel = kernel;
        // The limit of all managers, the task that exceeds it, and two tries.
        let owed = self.host.turn.held_bytes(&self.host.world).unsent_batches;
        let (all, task) = (self.bound_bytes / 4, self.bound_bytes / TASKS);
        match owed >= all + 2 * task && owed <= all + 3 * (task + 100) {
            true => Ok(()),
            false => Err(format!("a crowd that does not read is owed {owed} bytes")),
        }
    }

    fn join(&mut self) {
        const PLACES: usize = 6;
        self.started += 1;
        let name = format!("m{}", self.started);
        let site = match self.kinds {
            0 => Site::of_capacity([1, 2, 5, 40][self.below(4)]),
            _ => Site::draw(&mut self.random),
        };
        let drain_in_s = self.chance(0.05).then(|| self.below(8) as f64);
        let peer = self.host.world.start(&name, Site { drain_in_s, ..site });
        match self.places.len() < PLACES {
            true => self.places.push(peer),
            false => {
                let place = self.below(PLACES);
                let before = std::mem::replace(&mut self.places[place], peer);
                self.host.world.exit(before);
            }
        }
    }

    fn reading(&mut self) -> Reading {
        [Reading::Fast, Reading::Slowly, Reading::Not][self.below(3)]
    }

    fn happen_to(&mut self, place: usize, happening: Happening) {
        let peer = self.places[place];
        let is_reset = self.chance(0.4);
        let reading = self.reading();
        let world = &mut self.host.world;
        let process = &mut world.peers[peer];
        match happening {
            Happening::Freeze => process.is_frozen = true,
            Happening::Thaw => process.is_frozen = false,
            Happening::ReadOtherwise => process.reads = reading,
            Happening::StopBeats => process.beats = !process.beats,
            Happening::StopAnswers => process.answers = !process.answers,
            Happening::Hold => {
                let hold = messages::hold(&process.name);
                world.command(hold);
            }
            _ if !process.is_running => {}
            Happening::Break => world.break_connection(peer, true, is_reset),
            Happening::BreakUnnoticed => world.break_connection(peer, false, false),
            Happening::Reconnect if process.connection.is_none() => world.connect_peer(peer),
            Happening::Flap => {
                world.break_connection(peer, !is_reset, false);
                world.connect_peer(peer);
            }
            Happening::Drain => world.say(peer, Saying::Drain),
            Happening::RegisterAgain => {
                let site = process.site.without_end();
                world.say(peer, Saying::Register(site));
            }
            Happening::Replace => {
                let (name, site) = (process.name.clone(), process.site.without_end());
                world.exit(peer);
                self.places[place] = world.start(&name, site);
                return;
            }
            Happening::Die => world.exit(peer),
            _ => {}
        }
        world.go_on(peer);
    }

    /// Makes all peers behave correctly, and starts one manager that always did.
    fn heal(&mut self) -> Verdict {
        self.step = STEPS;
        self.host.life.kill = None;
        let world = &mut self.host.world;
        world.network.sizes.kernel = 1 << 20;
        world.task_takes = ms(1);
        world.executor.reads = Reading::Fast;
        world.read_results_soon();
        for peer in 0..world.peers.len() {
            let process = &mut world.peers[peer];
            process.is_frozen = false;
            process.reads = Reading::Fast;
            process.beats = true;
            process.answers = true;
            if process.is_running && process.connection.is_none() {
                world.connect_peer(peer);
            }
            world.go_on(peer);
        }
        let last = world.start("last", Site::of_everything());
        let healed = self.host.world.now;
        self.pass_until_answered(Duration::from_secs(45))?;
        self.check_doubts(healed)?;
        // Tasks that were lost with a connection may be held by no manager, while their manager
        // lives on.
        for peer in 0..last {
            self.host.world.exit(peer);
        }
        self.pass_until_answered(THRESHOLD * 4)?;
        self.host.pass(ms(1_000))?;
        self.host.check_end()
    }

    /// Checks that tasks lost with a connection are given up, unless they may be running: no task
    /// of a run takes that long.
    fn check_doubts(&self, healed: Duration) -> Verdict {
        const OLD: Duration = Duration::from_secs(29);
        if self.patience == Patience::Measured {
            return Ok(());
        }
        let books = self.host.world.books.borrow();
        // Tasks that were held when the process was killed are waited for as long as they had been
        // held.
        let restored = |task| {
            let mut held = books.managers.values();
            held.any(|book| book.hands.restored.contains(task))
        };
        let young = books.sent.iter().filter(|(_, sent)| **sent + OLD > healed);
        let young = young.filter(|(task, _)| !restored(task));
        let world = &self.host.world;
        for (task, sent) in young {
            let mut at_work = world.peers.iter().filter(|peer| peer.is_running);
            let is_at_work = at_work.any(|peer| peer.in_hand.contains(task));
            if !world.is_answered(*task) && !is_at_work {
                return Err(format!(
                    "task {task}, sent at {sent:?}, is in nobody's hands"
                ));
            }
        }
        Ok(())
    }

    fn pass_until_answered(&mut self, longest: Duration) -> Verdict {
        let until = self.host.world.now + longest;
        let count = self.host.submitted() as usize;
        while self.host.world.executor.answers.len() < count && self.host.world.now < until {
            self.host.pass(ms(500))?;
        }
        Ok(())
    }
}

/// The placement needs of some tasks of a run, and what the broker knows about its managers.
#[derive(Default)]
struct Asking {
    kinds: Vec<Needs>,
    told: Placement,
    is_slow: bool,
}

impl Asking {
    fn draw(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x6e65_6564);
        let words = std::array::from_fn(|_| random.random_bool(0.6));
        let kinds = random.random_range(1..=KINDS_MAX);
        Self {
            kinds: (0..kinds)
                .map(|_| Needs::draw(words, &mut random))
                .collect(),
            told: Placement {
                cores_per_worker: [None, Some(1.0)][random.random_range(0..2)],
                memory_per_worker_mb: [None, Some(1_000.0)][random.random_range(0..2)],
                routing: [Routing::Soft, Routing::Hard][random.random_range(0..2)],
                ..Placement::default()
            },
            is_slow: random.random_bool(0.5),
        }
    }
}
