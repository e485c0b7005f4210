//! Managers that come and go: they drain, reconnect, die with tasks, and others take their places.

use std::time::{Duration, Instant};

use super::crew::{Crew, name_of, source_of};
use super::order::Random;
use super::shared::Counts;
use super::trouble::Outcome;

const TICK: Duration = Duration::from_millis(10);
/// The mean time between two managers that go, for each manager: of 64, two go in three seconds.
const STAY_MS: u64 = 96_000;
/// The mean time between two pauses of a manager, and the longest pause.
const PAUSE_EVERY_MS: u64 = 20_000;
const PAUSE_MAX_MS: u64 = 50;
/// How long a manager waits at most for a task to die with.
const DEATH_WITHIN: Duration = Duration::from_secs(1);
/// How long a place is empty at most.
const EMPTY_MAX_MS: u64 = 2000;

/// The identity of the manager that comes next in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Other,
    Same,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It answers no more, and goes as soon as it holds a task.
    Dies {
        within: Instant,
        next: Next,
    },
    /// A manager with another identity comes after it: one with the same could be told to exit by
    /// the answer to a late heartbeat of its predecessor.
    Drains,
    /// It is not connected yet.
    Comes {
        at: Instant,
    },
}

pub(crate) struct Churn {
    random: Random,
    fates: Vec<Fate>,
    next_tick: Instant,
    /// The number of the next manager with an identity of its own.
    next_name: u64,
    /// Managers that the interchange holds, and that must be drained.
    retired: Vec<String>,
    is_calm: bool,
    counts: Counts,
}

impl Churn {
    pub(crate) fn new(seed: u64, managers: usize) -> Self {
        Self {
            random: Random::new(!seed),
            fates: vec![Fate::Stays; managers],
            next_tick: Instant::now(),
            next_name: managers as u64,
            retired: Vec::new(),
            is_calm: false,
            counts: Counts::default(),
        }
    }

    pub(crate) fn next_tick(&self) -> Instant {
        self.next_tick
    }

    pub(crate) fn calm(&mut self) {
        self.is_calm = true;
    }

    pub(crate) fn retire(&mut self, name: &str) {
        self.retired.push(name.to_owned());
    }

    /// Does what is due, if it is time for it.
    pub(crate) fn tick(&mut self, crew: &mut Crew) -> Outcome<()> {
        let now = Instant::now();
        if now < self.next_tick {
            return Ok(());
        }
        self.next_tick = now + TICK;
        for number in 0..self.fates.len() {
            self.step(number, crew, now)?;
        }
        self.retired
            .retain(|name| crew.managers.iter().any(|one| one.name == *name));
        let working = crew.managers.iter().filter(|one| one.is_working());
        let connected = crew.managers.iter().filter(|one| !one.is_unconnected());
        let mut told = crew.setup.shared.coming_and_going();
        told.working.clear();
        told.working.extend(working.map(|one| one.name.clone()));
        told.connected = connected.count();
        told.counts = self.counts;
        Ok(())
    }

    fn step(&mut self, number: usize, crew: &mut Crew, now: Instant) -> Outcome<()> {
        match self.fates[number] {
            Fate::Comes { at } if at <= now => {
                self.fates[number] = Fate::Stays;
                crew.connect(number)
            }
            Fate::Dies { within, next } => {
                if !crew.managers[number].held().is_empty() || within <= now {
                    self.die(number, next, crew, now)?;
                }
                Ok(())
            }
            Fate::Drains => {
                self.pause(number, crew, now)?;
                if crew.managers[number].is_drained() {
                    self.counts.drained += 1;
                    self.succeed(number, Next::Other, crew, now)?;
                }
                Ok(())
            }
            Fate::Stays if crew.managers[number].is_working() => {
                self.pause(number, crew, now)?;
                self.choose(number, crew, now)
            }
            Fate::Stays | Fate::Comes { .. } => Ok(()),
        }
    }

    /// Ends a pause that is over, and begins one now and then.
    fn pause(&mut self, number: usize, crew: &mut Crew, now: Instant) -> Outcome<()> {
        match crew.managers[number].silent_until {
            Some(until) if until <= now => {
                crew.managers[number].silent_until = None;
                crew.serve(number)
            }
            None if !self.is_calm && self.is_time(PAUSE_EVERY_MS) => {
                let pause = Duration::from_millis(self.random.below(PAUSE_MAX_MS));
                crew.managers[number].silent_until = Some(now + pause);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Chooses whether a working manager goes, and how.
    fn choose(&mut self, number: usize, crew: &mut Crew, now: Instant) -> Outcome<()> {
        if self.retired.contains(&crew.managers[number].name) {
            return self.drain(number, crew);
        }
        if self.is_calm || !self.is_time(STAY_MS) {
            return Ok(());
        }
        match self.random.below(10) {
            0..4 => self.drain(number, crew),
            4..6 => self.reconnect(number, crew),
            kind => {
                let next = if kind == 6 { Next::Same } else { Next::Other };
                let within = now + DEATH_WITHIN;
                self.fates[number] = Fate::Dies { within, next };
                crew.managers[number].silent_until = Some(within);
                Ok(())
            }
        }
    }

    fn drain(&mut self, number: usize, crew: &mut Crew) -> Outcome<()> {
        self.fates[number] = Fate::Drains;
        crew.managers[number].drain()?;
        // Sending may have consumed an event, which the descriptor then does not show.
        crew.serve(number)
    }

    /// Breaks a manager's connection, with all that is on its way, and makes another.
    fn reconnect(&mut self, number: usize, crew: &mut Crew) -> Outcome<()> {
        self.counts.reconnected += 1;
        let manager = &mut crew.managers[number];
        manager.has_doubts = true;
        let mut told = crew.setup.shared.coming_and_going();
        told.excused.insert(manager.name.clone());
        drop(told);
        let endpoint = source_of(&crew.endpoint, number);
        manager.socket().disconnect(&endpoint)?;
        manager.socket().connect(&endpoint)?;
        manager.beat()?;
        crew.serve(number)
    }

    fn die(&mut self, number: usize, next: Next, crew: &mut Crew, now: Instant) -> Outcome<()> {
        self.counts.died += 1;
        self.counts.usurped += u64::from(next == Next::Same);
        let manager = &crew.managers[number];
        let mut told = crew.setup.shared.coming_and_going();
        told.excused.insert(manager.name.clone());
        told.doomed.extend(manager.held());
        drop(told);
        self.succeed(number, next, crew, now)?;
        crew.managers[number].has_doubts = next == Next::Same;
        Ok(())
    }

    /// Puts the next manager in a place, which connects after a while.
    fn succeed(&mut self, number: usize, next: Next, crew: &mut Crew, now: Instant) -> Outcome<()> {
        let name = match next {
            Next::Same => crew.managers[number].name.clone(),
            Next::Other => {
                self.next_name += 1;
                name_of(self.next_name)
            }
        };
        crew.replace(number, name)?;
        let at = now + Duration::from_millis(self.random.below(EMPTY_MAX_MS));
        self.fates[number] = Fate::Comes { at };
        Ok(())
    }

    /// Whether something happens in this tick that happens once in `mean_ms`.
    fn is_time(&mut self, mean_ms: u64) -> bool {
        self.random.below(mean_ms / TICK.as_millis() as u64) == 0
    }
}
