//! The real broker in a simulated world. From a seed, managers, a network, a submit side and a
//! clock do what they may do. After every step, the broker is compared with a model of its
//! promises. After every turn, no batch could be dispatched, and no task waits while a manager has
//! room for it. In the end all faults are repaired, and every task must end.
//!
//! `HTEX_SIM_SEED=17 cargo test -p broker simulation -- --nocapture` plays one seed again and
//! prints each step; `HTEX_SIM_SEEDS=10000` plays that many seeds.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broker::{BlockIdSelector, Patience, RandomSelector, Selector, Settings, StopReason};
use protocol::{Command, ManagerId, Priority, SelectorAnswer, Task, TaskId};
use tracing::level_filters::LevelFilter;

use super::events::Events;
use super::host::Host;
use super::model::{Choice, Model, Verdict};
use super::plot::{Cast, HAPPENINGS, Happening, Saying, TICK};
use super::world::{self, Body, World, manager_id};

const SEEDS: u64 = 300;
const STEPS: usize = 150;
const THRESHOLD: Duration = Duration::from_secs(10);

#[test]
fn the_broker_keeps_its_promises() {
    if let Some(seed) = number_in_env("HTEX_SIM_SEED") {
        let told = play(seed, true);
        assert_eq!(told, Ok(()), "seed {seed}");
        return;
    }
    let first = number_in_env("HTEX_SIM_FIRST").unwrap_or(0);
    for seed in first..first + number_in_env("HTEX_SIM_SEEDS").unwrap_or(SEEDS) {
        if let Err(failure) = play(seed, false) {
            panic!(
                "{failure}\nplay it again: HTEX_SIM_SEED={seed} cargo test -p broker simulation \
                 -- --nocapture"
            );
        }
    }
}

fn number_in_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Plays one seed.
///
/// # Errors
/// The first broken promise, with its step.
fn play(seed: u64, tells: bool) -> Verdict {
    let mut simulation = Simulation::new(seed, tells);
    let played = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let step = simulation.host.step;
    // Dropping a broker with live tasks panics, which would hide the first failure.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let broker = &mut simulation.host.world.broker;
        broker.handle_stop(StopReason::SubmitSideGone);
    }));
    let verdict = match played {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => Err(format!("seed {seed}, step {step}: {failure}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("seed {seed}, step {step}: panic: {text:?}"))
        }
    };
    std::mem::forget(simulation);
    verdict
}

struct Simulation {
    cast: Cast,
    host: Host,
    menu: Vec<Happening>,
    /// How long a turn takes while there is something to read.
    turn_takes: Duration,
    next_task: i64,
    is_asked: bool,
}

impl Simulation {
    fn new(seed: u64, tells: bool) -> Self {
        let mut cast = Cast::new(seed, THRESHOLD / 4);
        // Some runs leave out whole kinds of events, so that they get further with the others.
        let mut menu = vec![Happening::Tasks, Happening::Join, Happening::Pass];
        for (happening, weight) in HAPPENINGS {
            if cast.chance(0.7) {
                menu.extend(std::iter::repeat_n(happening, weight));
            }
        }
        let choice = [Choice::Random, Choice::GreatestBlock, Choice::Asked][cast.below(3)];
        let selector: Box<dyn Selector> = match choice {
            Choice::Random => Box::new(RandomSelector::new(seed)),
            _ => Box::new(BlockIdSelector::default()),
        };
        let grace = [None, Some(2), Some(5)][cast.below(3)].map(Duration::from_secs);
        let patience = [None, Some(3), Some(15)][cast.below(3)].map(Duration::from_secs);
        let settings = Settings {
            heartbeat_threshold: THRESHOLD,
            disconnect_grace: grace,
            reconnect_patience: patience.map_or(Patience::Measured, Patience::Fixed),
            monitoring: cast.chance(0.5),
            ..world::settings()
        };
        let mut world = World::new(settings, selector);
        if choice == Choice::Asked {
            world.broker.ask_for_order(seed, world.now);
            world
                .broker
                .handle_answer(SelectorAnswer::Loaded, world.now);
        }
        let model = Model::new(THRESHOLD, grace, patience, choice);
        let events = Events::capture(LevelFilter::ERROR);
        Self {
            cast,
            host: Host::new(seed, world, model, events, tells),
            menu,
            turn_takes: TICK,
            next_task: 1,
            is_asked: choice == Choice::Asked,
        }
    }

    fn run(&mut self) -> Verdict {
        for step in 0..STEPS {
            self.host.step = step;
            let happening = self.menu[self.cast.below(self.menu.len())];
            self.host.tell(format_args!("{happening:?}"), &[]);
            self.happen(happening)?;
            if self.cast.chance(0.7) {
                self.pass(TICK)?;
            }
            self.host.model.check_books()?;
        }
        match self.cast.chance(0.1) {
            true => self.submit_side_goes(),
            false => self.heal(),
        }
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        let place = self.cast.below(self.cast.managers.len());
        let cast = &mut self.cast;
        match happening {
            Happening::Join => {
                let account = cast.account(1);
                cast.join(place, account);
            }
            Happening::RegisterAgain => {
                let account = cast.account(0);
                cast.say(place, Saying::Register(account));
            }
            Happening::Answer => cast.answer(place),
            Happening::AnswerTwice => cast.say_again(place),
            Happening::AnswerOdd => {
                let task = cast.below(self.next_task as usize + 1) as i64;
                cast.say(place, Saying::Result(task));
            }
            Happening::Record => cast.say(place, Saying::Record),
            Happening::Drain => cast.say(place, Saying::Drain),
            Happening::Probe => cast.say(place, Saying::Probe),
            Happening::Die => cast.die(place),
            Happening::DieUnnoticed => cast.die_unnoticed(place),
            Happening::Disconnect => cast.disconnect(place),
            Happening::Reconnect if cast.managers[place].is_running => cast.connect(place),
            Happening::Reconnect => {}
            Happening::Takeover => cast.take_over(place),
            Happening::Stall => cast.managers[place].is_stalled = true,
            Happening::Wake => {
                cast.managers[place].is_stalled = false;
                cast.set_reads(place, true);
            }
            Happening::StopBeats => cast.managers[place].beats = false,
            Happening::StopReading => cast.set_reads(place, false),
            Happening::LeaveUnread => return self.leave_unread(place),
            Happening::Flap => return self.flap(place),
            Happening::GrowOld => return self.grow_old(place),
            Happening::Flood => {
                for _ in 0..cast.below(200) {
                    cast.say(place, Saying::Record);
                }
                cast.say(place, Saying::Heartbeat);
                if cast.chance(0.3) {
                    // Slow turns make the backlog last.
                    self.turn_takes = TICK * 48;
                    let time = self.cast.time_below(THRESHOLD * 3);
                    return self.pass(time);
                }
            }
            _ => return self.happen_to_the_host(happening, place),
        }
        Ok(())
    }

    /// A manager that stops reading may be full of echoes when tasks arrive for it. Then it drains,
    /// and its connection closes before it takes the tasks.
    fn leave_unread(&mut self, place: usize) -> Verdict {
        self.cast.set_reads(place, false);
        for _ in 0..self.cast.below(4) {
            self.cast.say(place, Saying::Heartbeat);
        }
        self.pass(TICK * 2)?;
        self.submit(Happening::Tasks);
        self.pass(TICK * 2)?;
        if self.cast.chance(0.7) {
            self.cast.say(place, Saying::Drain);
        }
        self.pass(TICK * 2)?;
        self.cast.disconnect(place);
        Ok(())
    }

    /// A manager's connection breaks and is restored a few times while the manager works.
    fn flap(&mut self, place: usize) -> Verdict {
        for _ in 0..1 + self.cast.below(3) {
            self.submit(Happening::Tasks);
            let time = self.cast.time_below(Duration::from_secs(3));
            self.pass(time)?;
            self.cast.disconnect(place);
            let time = self.cast.time_below(Duration::from_secs(4));
            self.pass(time)?;
            if self.cast.managers[place].is_running {
                self.cast.connect(place);
                self.cast.say(place, Saying::Heartbeat);
            }
        }
        Ok(())
    }

    /// A manager works on some tasks for longer than any task took before, and on others for less,
    /// when its connection breaks.
    fn grow_old(&mut self, place: usize) -> Verdict {
        self.submit(Happening::Tasks);
        let time = self.cast.time_below(THRESHOLD * 5);
        self.pass(time)?;
        self.flap(place)
    }

    fn happen_to_the_host(&mut self, happening: Happening, place: usize) -> Verdict {
        match happening {
            Happening::Hold => {
                let name = self.cast.managers[place].name.clone();
                self.host
                    .commands
                    .push_back(Command::Hold(ManagerId::new(name.as_bytes())));
            }
            Happening::Ask => self.host.commands.extend([
                Command::Outstanding,
                Command::Managers,
                Command::ConnectedBlocks,
                Command::ManagersPackages,
                Command::Workers,
                Command::WorkerBinds,
                Command::Unknown("MANGERS_PACKAGES".to_owned()),
            ]),
            Happening::ResultsStuck => self.host.results_stuck = !self.host.results_stuck,
            Happening::WallJump => {
                let seconds = self.cast.below(100_000) as f64 - 50_000.0;
                self.host.world.now.wall_s += seconds;
            }
            Happening::Load => {
                self.turn_takes = match self.cast.chance(0.5) {
                    true => TICK,
                    // Below a second: a longer turn counts as a suspension of the process.
                    false => TICK * (1 + self.cast.below(59) as u32),
                };
            }
            Happening::Suspend => self.suspend()?,
            Happening::SuspendShortly => self.suspend_shortly()?,
            Happening::Pass | Happening::PassLong => {
                let longest = if happening == Happening::Pass { 2 } else { 20 };
                let time = self.cast.time_below(Duration::from_secs(longest));
                self.pass(time)?;
            }
            Happening::Helper => self.helper_says()?,
            _ => self.submit(happening),
        }
        Ok(())
    }

    fn submit(&mut self, happening: Happening) {
        let count = match happening {
            Happening::Tasks => 1 + self.cast.below(8),
            _ => 1,
        };
        for _ in 0..count {
            let id = match happening {
                Happening::TaskAgain => self.cast.below(self.next_task as usize + 2) as i64,
                _ => self.next_task,
            };
            self.next_task = self.next_task.max(id + 1);
            let priority = match self.cast.chance(0.7) {
                true => 5,
                false => self.cast.below(10) as i64,
            };
            let names_a_class = self.cast.chance(0.1);
            let task = Task {
                id: TaskId(id),
                priority: Priority::from_i64(priority),
                foreign_name: names_a_class.then(|| "users.Class".into()),
                needs: None,
                body: Body::Task(id),
            };
            let is_readable = happening != Happening::UnreadableTask;
            self.host.tasks.push_back((task, priority, is_readable));
        }
    }

    /// The user's own selector answers, correctly or not, late or never; or its process ends.
    fn helper_says(&mut self) -> Verdict {
        let now = self.host.world.now;
        let broker = &mut self.host.world.broker;
        let Some((number, mut managers)) = self.host.questions.pop_front() else {
            if self.is_asked && self.cast.chance(0.1) {
                self.host.model.forget_question();
                broker.handle_asked_again(now);
                broker.handle_answer(SelectorAnswer::Loaded, now);
            }
            return Ok(());
        };
        let answer = match self.cast.below(6) {
            0 => SelectorAnswer::Failed {
                number,
                traceback: "why".to_owned(),
            },
            1 => {
                managers.insert(0, manager_id("nobody"));
                managers.truncate(2);
                SelectorAnswer::Order { number, managers }
            }
            _ => SelectorAnswer::Order { number, managers },
        };
        let order = match &answer {
            SelectorAnswer::Order { managers, .. } => {
                Some(managers.iter().map(ManagerId::to_text).collect())
            }
            _ => None,
        };
        self.host.model.answer_question(number, order);
        broker.handle_answer(answer, now);
        self.host.expect("the selector's answer", Vec::new())
    }

    /// Lets time pass; the loop wakes for each message and each deadline.
    fn pass(&mut self, time: Duration) -> Verdict {
        let until = self.host.now() + time;
        for _ in 0..100_000 {
            let now = self.host.now();
            let mut next = until;
            if !self.cast.network.unread.is_empty() {
                next = now + self.turn_takes;
            } else if self.host.world.broker.is_listening() {
                next = now + TICK;
            }
            let alarms = [
                self.host.world.broker.next_deadline(),
                self.cast.next_beat(),
            ];
            let fetch = self.cast.network.next_fetch();
            for alarm in alarms.into_iter().chain([fetch]).flatten() {
                next = next.min(alarm.max(now + TICK));
            }
            self.go_to(next);
            self.cast.act();
            let is_quiet = self.cast.network.unread.is_empty() && self.cast.chance(0.5);
            self.host.turn(&mut self.cast.network, is_quiet)?;
            self.cast.act();
            if self.host.now() >= until {
                return Ok(());
            }
        }
        Err("the loop spins".to_owned())
    }

    /// Moves the clocks to the next whole tick after this time.
    fn go_to(&mut self, time: Duration) {
        let now = self.host.now();
        let ticks = (time - now).as_nanos().div_ceil(TICK.as_nanos());
        self.host.world.pass(TICK * ticks as u32);
        self.cast.pass_to(self.host.now());
    }

    /// Suspends the process. The managers go on, and their messages stay unread.
    fn suspend(&mut self) -> Verdict {
        self.pass(TICK)?;
        let time = self.cast.time_below(THRESHOLD * 3);
        self.stop_for(time);
        Ok(())
    }

    /// Suspends the process briefly, at a time when some deadline may pass.
    fn suspend_shortly(&mut self) -> Verdict {
        self.pass(TICK)?;
        let before = self.cast.time_below(Duration::from_secs(1));
        let due = self.host.due().unwrap_or_default();
        let time = due.saturating_sub(self.host.now() + before);
        self.pass(time.min(THRESHOLD))?;
        let time = self.cast.time_below(Duration::from_secs(2));
        self.stop_for(time);
        Ok(())
    }

    /// Suspends the process for this time. Until libzmq's own thread runs again, arrived messages
    /// are still in the kernel.
    fn stop_for(&mut self, time: Duration) {
        let until = self.host.now() + time;
        self.cast.network.stop();
        while let Some(beat) = self.cast.next_beat().filter(|beat| *beat < until) {
            self.go_to(beat.max(self.host.now()));
            self.cast.act();
        }
        self.go_to(until);
        self.cast.act();
        let ticks = self.cast.below(13);
        self.cast.network.go_on(until + TICK * ticks as u32);
    }

    fn submit_side_goes(&mut self) -> Verdict {
        let expected = self.host.model.stop();
        let broker = &mut self.host.world.broker;
        broker.handle_stop(StopReason::SubmitSideGone);
        self.host.expect("the submit side is gone", expected)?;
        let broker = &mut self.host.world.broker;
        broker.handle_stop(StopReason::SubmitSideGone);
        let next = broker.next_recipient(self.host.world.now);
        assert!(next.is_none() && !broker.can_dispatch(), "{next:?}");
        self.host.expect("nothing more", Vec::new())?;
        self.host.check_nothing_is_left()
    }

    /// Repairs all faults. In the end, each accepted task must have been answered.
    fn heal(&mut self) -> Verdict {
        self.host.tell("everything heals", &[]);
        self.turn_takes = TICK;
        self.host.results_stuck = false;
        self.cast.heal();
        let account = |block: &str| super::model::Account {
            block: block.to_owned(),
            capacity: 7,
            workers: 1,
            started_s: 1.0,
            drain_in: None,
        };
        // Messages of earlier processes are handled by then, so no reply to them reaches later
        // processes of the same name.
        self.pass(TICK * 64)?;
        for (place, block) in [(0, "0"), (1, "9")] {
            self.cast.join(place, account(block));
        }
        self.work_for(THRESHOLD * 4)?;
        // Wait until all tasks in doubt are decided.
        while let Some(at) = self.host.model.last_doubt() {
            let time = at.saturating_sub(self.host.now());
            self.work_for(time.max(TICK * 64))?;
        }
        // Tasks lost with a broken connection end with their manager at the latest, if they were
        // older then than any finished task.
        let vanished = &self.cast.network.vanished;
        let held = self.host.model.managers.values().flat_map(|m| &m.tasks);
        let left = held.filter(|(id, held)| !(held.is_old && vanished.contains(id)));
        let left: Vec<i64> = left.map(|(id, _)| *id).collect();
        if !left.is_empty() || !self.host.model.waiting.is_empty() {
            let waiting = &self.host.model.waiting;
            return Err(format!(
                "all is well, and {left:?} never end, {waiting:?} wait"
            ));
        }
        for place in 0..self.cast.managers.len() {
            self.cast.die(place);
        }
        self.work_for(THRESHOLD * 3)?;
        if !self.host.model.managers.is_empty() {
            return Err("silent managers are there after three thresholds".to_owned());
        }
        self.host.model.check_books()?;
        self.host.check_nothing_is_left()
    }

    fn work_for(&mut self, time: Duration) -> Verdict {
        let until = self.host.now() + time;
        while self.host.now() < until {
            for place in 0..self.cast.managers.len() {
                self.cast.answer(place);
                self.cast.answer(place);
            }
            while !self.host.questions.is_empty() {
                self.helper_says()?;
            }
            // Answers are prompt while there is something to do.
            let ticks = if self.host.model.live() > 0 { 8 } else { 64 };
            self.pass(TICK * ticks)?;
        }
        Ok(())
    }
}
