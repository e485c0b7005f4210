//! The loop around the turn, as in `event_loop`, and what must hold whenever it waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::books::{Books, Verdict, Word};
use super::events::Events;
use super::messages;
use super::network::Sizes;
use super::restart::{Life, Taken};
use super::world::{World, ms};
use broker::{Patience, Placement};
use turn::{Outlook, RETRY_EVERY, Rest, Transport as _, Turn};

/// Maximum number of consecutive turns that move nothing; a few are needed to clear readiness
/// flags.
const IDLE_TURNS_MAX: u32 = 8;
/// Above this size of results no task is dispatched, whatever the bound.
const RESULTS_HELD_BYTES_MAX: usize = 256 << 20;
/// Tolerance for queued tasks, each of which counts up to 300 bytes more than its frame; up to 256
/// tasks are taken in one turn.
const QUEUED_TASKS_WEIGH_MORE: usize = 256 * 300;

/// Fractions of limits: a quarter of the bound may be pending for all managers, and an eighth of
/// that for one.
const OWED_PART: usize = 4;
const OWED_TO_ONE_PART: usize = 8;
/// Maximum time between two tries of managers that may not read.
const TRY_TAKES_MAX: Duration = Duration::from_secs(10);
/// Below this fraction (3/8) of the bound tasks are taken, whatever may have been read ahead.
const SURELY_OPEN: (usize, usize) = (3, 8);
/// Number of tasks that the transport may read ahead.
pub(crate) const TASKS_READ_AHEAD: usize = 8;

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) seed: Option<u64>,
    pub(crate) sizes: Sizes,
    pub(crate) bound_bytes: usize,
    pub(crate) threshold: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) patience: Patience,
    /// What the broker knows about its managers' resources.
    pub(crate) told: Placement,
    pub(crate) tells: bool,
    /// Whether another process continues when one is killed.
    pub(crate) survives: bool,
}

pub(crate) struct Host {
    pub(crate) turn: Turn<Vec<u8>>,
    pub(crate) world: World,
    events: Events,
    bound_bytes: usize,
    largest_task_bytes: usize,
    idle_turns: u32,
    rests: u64,
    outlook: Outlook,
    /// Since when the intake is closed although there is room.
    shut_since: Option<Duration>,
    /// Since when results do not prevent dispatching, measured at the beginning of a check.
    may_dispatch_since: Option<Duration>,
    last_turn: Duration,
    /// When the process continued after its last stop.
    runs_since: Duration,
    last_batch: Duration,
    /// When the pending bytes of all managers last reached their limit.
    crowded_at: Duration,
    pub(crate) life: Life,
}

impl Host {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let mut books = Books::new(beginning.threshold, beginning.grace, beginning.told);
        books.tells = beginning.tells;
        let mut world = World::new(beginning.seed, beginning.sizes, books);
        let is_random = world.chance(0.5);
        let mut life = Life::new(beginning, is_random);
        let interchange = life.begin(world.time());
        Self {
            turn: beginning.turn(interchange),
            life,
            world,
            events: Events::capture(LevelFilter::ERROR),
            bound_bytes: beginning.bound_bytes,
            largest_task_bytes: 0,
            idle_turns: 0,
            rests: 0,
            outlook: Outlook {
                rest: Rest::No,
                awaits_tasks: true,
                awaits_results_socket: false,
            },
            shut_since: None,
            may_dispatch_since: Some(Duration::ZERO),
            last_turn: Duration::ZERO,
            runs_since: Duration::ZERO,
            last_batch: Duration::ZERO,
            crowded_at: Duration::ZERO,
        }
    }

    /// Returns the number of submitted tasks.
    pub(crate) fn submitted(&self) -> i64 {
        self.world.books.borrow().tasks.submitted()
    }

    /// Submits a task without placement needs.
    pub(crate) fn submit(&mut self, size: usize, priority: Option<i64>) {
        self.submit_of_kind(0, size, priority);
    }

    pub(crate) fn submit_of_kind(&mut self, kind: usize, size: usize, priority: Option<i64>) {
        let tasks = &mut self.world.books.get_mut().tasks;
        let task = tasks.submit(kind, priority);
        let bytes = messages::task(task, size, priority, tasks.needs_of_kind(kind));
        if self.life.survives() {
            self.world.executor.kept.insert(task, bytes.clone());
        }
        self.largest_task_bytes = self.largest_task_bytes.max(bytes.len());
        self.world.executor.tasks.push_back((task, bytes));
        self.world.fetch_tasks_soon();
    }

    /// Lets time pass; the loop runs a turn whenever something wakes it.
    pub(crate) fn pass(&mut self, time: Duration) -> Verdict {
        let until = self.world.now + time;
        while self.world.now < until {
            self.go_round(until)?;
        }
        Ok(())
    }

    /// Runs turns until nothing moves, without letting time pass.
    pub(crate) fn settle(&mut self) -> Verdict {
        loop {
            self.world.run_to(self.world.now);
            let rest = self.take_turn()?;
            self.world.run_to(self.world.now);
            let is_ready = self.is_ready();
            self.world.wake(self.outlook.awaits_tasks);
            if rest != Rest::No && !is_ready {
                self.check_rest()?;
                return self.check_books();
            }
        }
    }

    fn go_round(&mut self, until: Duration) -> Verdict {
        let rest = self.take_turn()?;
        if let Rest::Until(deadline) = rest {
            self.check_rest()?;
            let end = deadline.map_or(until, |deadline| deadline.min(until));
            self.world.run_to(self.world.now + self.world.turn_takes);
            while !self.is_ready() && self.world.now < end {
                let next = self.world.agenda.next_at();
                self.world.run_to(next.map_or(end, |next| next.min(end)));
                self.check_sleep()?;
            }
        } else {
            self.world.run_to(self.world.now + self.world.turn_takes);
        }
        self.world.wake(self.outlook.awaits_tasks);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let outlook = self.outlook;
        self.world
            .is_ready(outlook.awaits_tasks, outlook.awaits_results_socket)
    }

    fn take_turn(&mut self) -> Result<Rest, String> {
        self.note_crowd();
        let (turn, world) = (&mut self.turn, &mut self.world);
        let (now, moved) = (world.time(), world.moved);
        let (before, batches) = (turn.held_bytes(world), turn.batches());
        let was_open = turn.takes_tasks();
        let was_stopped = std::mem::take(&mut world.was_stopped);
        if was_stopped {
            // Managers are not held responsible for messages that the process did not read since
            // its last turn.
            world.books.get_mut().gaps += now.monotonic - self.last_turn;
            self.runs_since = now.monotonic;
        }
        self.last_turn = now.monotonic;
        world.task_bytes_read = 0;
        world.owed_max = 0;
        match self.life.take_turn(turn, world, now) {
            Taken::Wholly(None) => {}
            Taken::Wholly(Some(reason)) => {
                return Err(format!("the end, because of {reason:?}"));
            }
            Taken::Killed(down) => return self.restart(down).map(|()| Rest::No),
        }
        let read = world.task_bytes_read;
        let room = self.bound_bytes.saturating_sub(before.queued);
        if read > room + self.largest_task_bytes || !was_open && read > 0 {
            return Err(format!(
                "{read} bytes of tasks are taken in, and there is room for {room}"
            ));
        }
        let results = turn.held_bytes(world).unsent_results;
        let results_max = self.bound_bytes.min(RESULTS_HELD_BYTES_MAX);
        if turn.batches() > batches {
            self.last_batch = now.monotonic;
            if results >= results_max {
                return Err(format!("tasks leave beside {results} bytes of results"));
            }
        }
        self.outlook = turn.rest(world, now);
        let rest = self.outlook.rest;
        if !self.turn.interchange().broker().is_dispatching() {
            self.may_dispatch_since = None;
        }
        if self.turn.takes_tasks() {
            self.shut_since = None;
        }
        if let Some(failure) = world.failure.take() {
            return Err(failure);
        }
        self.note_crowd();
        if let Some(line) = self.events.take().first() {
            return Err(format!("an error in the log: {}", line.text));
        }
        let rests = match rest {
            Rest::No => false,
            Rest::Until(deadline) => deadline.is_none_or(|at| at > now.monotonic),
        };
        self.idle_turns = match rests || self.world.moved > moved {
            true => 0,
            false => self.idle_turns + 1,
        };
        if self.idle_turns > IDLE_TURNS_MAX {
            return Err(format!("the loop spins: {rest:?}"));
        }
        Ok(rest)
    }

    /// Checks what must hold when the loop waits, unless something wakes it at once.
    fn check_rest(&mut self) -> Verdict {
        self.rests += 1;
        if self.turn.interchange().has_effects() {
            return Err("the loop rests, and something is to be sent".to_owned());
        }
        if self.turn.interchange().broker().can_dispatch() {
            return Err("the loop rests, and a batch could be handed out".to_owned());
        }
        if self.rests.is_multiple_of(4) {
            self.check_books()?;
        }
        self.check_bounds()?;
        self.check_channels()?;
        self.check_release()?;
        self.check_sleep()
    }

    /// Checks what must hold at any time while the loop waits and nothing wakes it.
    fn check_sleep(&mut self) -> Verdict {
        let may_dispatch = self.turn.may_dispatch(&self.world);
        let before = self.may_dispatch_since.take();
        self.may_dispatch_since = may_dispatch.then(|| before.unwrap_or(self.world.now));
        self.note_crowd();
        if self.is_ready() {
            return Ok(());
        }
        self.check_tasks()?;
        self.check_words()?;
        self.check_silence()?;
        self.check_intake()
    }

    /// Resets the state, since a new process begins.
    pub(crate) fn begin_anew(&mut self) {
        let now = self.world.now;
        self.idle_turns = 0;
        self.outlook = Outlook {
            rest: Rest::No,
            awaits_tasks: true,
            awaits_results_socket: false,
        };
        self.shut_since = None;
        self.may_dispatch_since = Some(now);
        (self.last_turn, self.runs_since) = (now, now);
        self.crowded_at = now;
    }

    pub(crate) fn check_books(&self) -> Verdict {
        let broker = self.turn.interchange().broker();
        let (queued, waiting) = (broker.queued(), self.world.books.borrow().tasks.waiting());
        if queued != waiting {
            return Err(format!("{queued} tasks are queued, and {waiting} wait"));
        }
        broker::check_invariants(broker).map_err(|disorder| disorder.to_string())
    }

    /// Checks the limits of pending bytes: a fraction of the bound for all managers, a fraction of
    /// that for each, and one task more for each.
    fn check_bounds(&self) -> Verdict {
        let held = self.turn.held_bytes(&self.world);
        let managers = self.world.books.borrow().managers.len();
        let task = self.largest_task_bytes + 300;
        let owed_max = self.bound_bytes / OWED_PART + managers * task;
        for name in self.world.books.borrow().managers.keys() {
            let owed = self.world.owed_to(name);
            let owed_max = self.bound_bytes / OWED_PART / OWED_TO_ONE_PART;
            if owed > owed_max + task {
                return Err(format!("{name} alone is owed {owed} bytes"));
            }
        }
        if held.unsent_batches > owed_max {
            return Err(format!(
                "{} bytes are owed, and {owed_max} may be",
                held.unsent_batches
            ));
        }
        let tasks = held.queued + held.unsent_batches.min(self.bound_bytes / OWED_PART);
        if tasks > self.bound_bytes + task + QUEUED_TASKS_WEIGH_MORE {
            return Err(format!("{tasks} bytes of tasks are held: {held:?}"));
        }
        Ok(())
    }

    /// Checks that no unread message is left: a socket reports a message only once.
    fn check_channels(&self) -> Verdict {
        let world = &self.world;
        let is_read = self.outlook.awaits_tasks;
        for (what, count, door) in [
            ("managers", world.network.inbox.len(), &world.workers),
            ("commands", world.executor.commands.len(), &world.commands),
            ("connections", world.network.told.len(), &world.monitor),
            ("tasks", world.tasks_here.len(), &world.tasks),
        ] {
            if count > 0 && !door.is_readable() && (what != "tasks" || is_read) {
                return Err(format!("the loop rests, {count} of {what} can be read"));
            }
        }
        match world.are_results_stuck && !self.outlook.awaits_results_socket {
            true => Err("results do not fit, and nobody waits for room".to_owned()),
            false => Ok(()),
        }
    }

    /// Checks that what waits for a release continues as soon as the release happens.
    fn check_release(&self) -> Verdict {
        let (world, books) = (&self.world, self.world.books.borrow());
        let owes = |name: &&String| world.owed_to(name) > 0;
        let lacks = |name: &String| {
            let first = books.first_for(name, world.now);
            first.is_some_and(|first| !books.may_be_reserved(name, first, world.now))
        };
        let is_clogged = || books.managers.keys().filter(owes).any(lacks);
        let may_dispatch = self.turn.may_dispatch(world);
        let waits = may_dispatch && is_clogged()
            || !may_dispatch && world.results_in_transit() > 0
            || !self.turn.takes_tasks() && self.owed() > 0;
        match waits && !world.is_release_awaited() && !self.is_ready() {
            true => Err("something waits for a release that wakes nobody".to_owned()),
            false => Ok(()),
        }
    }

    /// Whether enough time has passed for the turn's periodic check. It detects that a connection
    /// takes messages again, and that a manager has taken its pending bytes.
    fn has_been_looked_at(&self, since: Duration) -> bool {
        let step = self.world.turn_takes * 2 + ms(1);
        self.world.now > since + RETRY_EVERY + step
    }

    /// Whether all pending bytes are at their limit. Then only managers that are known to read get
    /// more, and others are tried one by one.
    fn is_crowded(&self) -> bool {
        self.owed() >= self.bound_bytes / OWED_PART
    }

    fn note_crowd(&mut self) {
        let owed_max = std::mem::take(&mut self.world.owed_max);
        if self.owed().max(owed_max) >= self.bound_bytes / OWED_PART {
            self.crowded_at = self.world.now;
        }
    }

    fn owed(&self) -> usize {
        self.turn.held_bytes(&self.world).unsent_batches
    }

    /// Checks that no task waits while an eligible manager has room for it. One manager is exempt,
    /// since it may be kept free for another task.
    fn check_tasks(&self) -> Verdict {
        let (world, books) = (&self.world, self.world.books.borrow());
        let waiting = books.tasks.waiting();
        let Some(dispatch_since) = self.may_dispatch_since.filter(|_| waiting > 0) else {
            return Ok(());
        };
        let mut reserved = None;
        for (name, book) in &books.managers {
            let owed = world.owed_to(name);
            let Some(since) = world.decided_since(name) else {
                continue;
            };
            let taken = world.owes_nothing_since.get(name).copied();
            let since = since.max(taken.unwrap_or_default()).max(dispatch_since);
            let since = match self.is_crowded() {
                true => since.max(self.last_batch) + TRY_TAKES_MAX,
                false => since.max(self.crowded_at),
            };
            if owed > 0 || !self.has_been_looked_at(since) {
                continue;
            }
            let Some(first) = books.first_for(name, world.now) else {
                continue;
            };
            let may_be_reserved = books.may_be_reserved(name, first, world.now);
            if !may_be_reserved || reserved.replace(name).is_some() {
                return Err(format!(
                    "the loop rests, {waiting} tasks wait, task {} has fitted {name} since \
                     {since:?}: {book:?}",
                    first.1
                ));
            }
        }
        Ok(())
    }

    /// Checks that a manager that reads again gets its pending control messages.
    fn check_words(&self) -> Verdict {
        let books = self.world.books.borrow();
        for ((name, word), owed_since) in &books.words_owed {
            let Some(since) = self.world.decided_since(name) else {
                continue;
            };
            let since = since.max(*owed_since);
            if self.has_been_looked_at(since) {
                return Err(format!(
                    "the loop rests, {name} is owed {word:?} and has had room since {since:?}"
                ));
            }
        }
        Ok(())
    }

    /// Checks that a silent manager, or one that stays without connection, is declared lost, and
    /// not much later than due.
    fn check_silence(&self) -> Verdict {
        const LATE_MAX: Duration = ms(1_000);
        let books = self.world.books.borrow();
        for (name, book) in &books.managers {
            let silence = book.last_read + books.threshold + (books.gaps - book.gaps_before);
            // The grace period starts at the attempt to send that finds no connection. Attempts are
            // a quarter of the grace period apart.
            let question = books.grace.unwrap_or_default() / 4;
            let end_of_grace = books.end_of_grace(book).map(|end| end + question);
            let due = silence.min(end_of_grace.unwrap_or(silence));
            let is_unread = self.world.oldest_word_of(name).is_some();
            // After a stop the silence is measured again.
            if self.world.now > due.max(self.runs_since) + LATE_MAX && !is_unread {
                return Err(format!(
                    "{name} said nothing, and was to be lost at {due:?}"
                ));
            }
        }
        Ok(())
    }

    /// Checks that the intake is open when there is room, whatever is read ahead.
    fn check_intake(&mut self) -> Verdict {
        let held = self.turn.held_bytes(&self.world);
        let counted = held.queued + held.unsent_results;
        let counted = counted + held.unsent_batches.min(self.bound_bytes / OWED_PART);
        let is_room = counted < self.bound_bytes * SURELY_OPEN.0 / SURELY_OPEN.1;
        if self.turn.takes_tasks() || !is_room {
            self.shut_since = None;
            return Ok(());
        }
        let since = *self.shut_since.get_or_insert(self.world.now);
        match self.has_been_looked_at(since) {
            true => Err(format!("no tasks are taken since {since:?}: {held:?}")),
            false => Ok(()),
        }
    }

    /// Checks that every task was answered and nothing is left.
    pub(crate) fn check_end(&self) -> Verdict {
        let world = &self.world;
        for task in 1..=self.submitted() {
            if !world.is_answered(task) {
                return Err(format!(
                    "task {task} is not answered: {}",
                    self.unfinished()
                ));
            }
        }
        let held = self.turn.held_bytes(world);
        if held.all() > 0 || !self.turn.takes_tasks() {
            return Err(format!("in the end there is left: {held:?}"));
        }
        if self.turn.interchange().has_effects() {
            return Err("in the end there is something to send".to_owned());
        }
        match world.books.borrow().words_owed.first_key_value() {
            Some(((name, Word::Echo), _)) => Err(format!("{name} never got its echo")),
            _ => Ok(()),
        }
    }

    pub(crate) fn unfinished(&self) -> String {
        self.turn.interchange().broker().unfinished()
    }

    /// Ends the run. Dropping a broker with live tasks panics, which would reveal nothing new here.
    pub(crate) fn end(mut self) {
        let mut now = self.world.time();
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let interchange = self.turn.interchange_mut();
            interchange.handle_submit_side_gone("it is over", now);
            now.monotonic += Duration::from_secs(1);
            interchange.handle_time(now);
            while interchange.poll_transmit().is_some() {}
        }));
    }
}
