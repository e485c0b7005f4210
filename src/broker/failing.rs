//! Managers that fail everything: a node with a broken mount or a dead GPU takes tasks, fails them
//! at once, and so eats the queue. That is told, and held if the settings say so.
//!
//! A manager fails everything if all of these hold, looked at whenever a task of its raises, and
//! every second after that until others have had as many results as they had tasks in flight then:
//! it may have eaten the queue before the first of them was done.
//!
//! - Its last results were all exceptions: at least [`IN_A_ROW_MIN`], and twice its workers. One
//!   task that does not raise begins its row anew. (A result that could not be passed on is none.)
//! - Of the results of other managers that came since the first of these, some were no exceptions.
//!   And at the rate at which the others' raised in that time, such a row would come by chance less
//!   than once in [`ROWS_BY_CHANCE`]: where most tasks raise anywhere, rows must be long. Managers
//!   that are known to fail everything are no others.
//! - More than half of its row took less time, from dispatch to result, than the median of the
//!   others' that did not raise in that time, and that by a class of [`Histogram`]: about half the
//!   time. A manager that fails slowly takes no more than its share.
//! - It gets tasks, and so does another manager: the last one is never touched.
//!
//! A result that is no exception costs nothing here: that there was one shows by the count of all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::histogram::{Counts, Histogram};
use super::looks::LookFor;
use super::manager::Manager;
use super::now::Now;
use super::slot::Slot;
use super::tally::Tally;
use protocol::TaskId;

const IN_A_ROW_MIN: u64 = 10;
const ROWS_BY_CHANCE: f64 = 1e6;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Exceptions of all managers since the start.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    all: u64,
    /// Of managers that were known to fail everything then.
    of_failing: u64,
    flights: Histogram,
    /// Managers whose row is long enough, and that may yet turn out to fail everything.
    undecided: BTreeSet<Slot>,
}

/// Exceptions of one manager, without anything else in between.
#[derive(Debug)]
pub(super) struct Row {
    count: u64,
    /// What the manager had done right after the last of them.
    tasks_done: u64,
    is_failing: bool,
    flights: Histogram,
    /// When the first came.
    before: Totals,
    /// How many tasks will be done, of all managers, when those are that are in flight elsewhere
    /// after the last of them.
    others_done_at: u64,
}

/// Results of all managers by some time.
#[derive(Debug, Clone, Copy)]
struct Totals {
    done: u64,
    raised: u64,
    /// Of managers that fail everything.
    of_failing: u64,
    /// Flights of those that did not raise.
    flights: Counts,
}

/// What others did in the time of a row.
#[derive(Debug, Clone, Copy)]
struct Others {
    done: u64,
    raised: u64,
}

impl Row {
    fn begin(before: Totals) -> Self {
        Self {
            count: 0,
            tasks_done: 0,
            is_failing: false,
            flights: Histogram::default(),
            before,
            others_done_at: 0,
        }
    }
}

impl Totals {
    fn now(tally: &Tally, exceptions: &Exceptions) -> Self {
        let raised = exceptions.flights.counts();
        let mut flights = tally.in_flight_for.counts();
        for (all, raised) in flights.iter_mut().zip(raised) {
            *all = all.saturating_sub(raised);
        }
        Self {
            done: tally.tasks_done,
            raised: exceptions.all,
            of_failing: exceptions.of_failing,
            flights,
        }
    }
}

impl Others {
    /// The others are all but the manager of this row and those that fail everything.
    fn since(before: &Totals, now: &Totals, row: &Row) -> Self {
        let not_theirs = row.count + (now.of_failing - before.of_failing);
        Self {
            done: (now.done - before.done).saturating_sub(not_theirs),
            raised: (now.raised - before.raised).saturating_sub(not_theirs),
        }
    }

    fn succeeded(&self) -> u64 {
        self.done.saturating_sub(self.raised)
    }

    /// Whether so many tasks in a row would raise by chance, if each did so as often as theirs.
    fn explain(&self, in_a_row: u64) -> bool {
        // By the rule of succession: of few results little is known.
        let rate = (self.raised as f64 + 1.0) / (self.done as f64 + 2.0);
        rate.ln() * in_a_row as f64 > -ROWS_BY_CHANCE.ln()
    }
}

impl<B> Manager<B> {
    /// How many tasks raised in a row, if it fails everything.
    pub(super) fn failing(&self) -> Option<u64> {
        let row = self.row.as_deref()?;
        (row.is_failing && row.tasks_done == self.tasks_done).then_some(row.count)
    }

    /// Whether enough tasks have raised in a row, and nothing is said of that yet.
    fn has_a_long_row(&self) -> bool {
        let needed = IN_A_ROW_MIN.max(2 * self.site.slots as u64);
        self.row.as_deref().is_some_and(|row| {
            !row.is_failing && row.tasks_done == self.tasks_done && row.count >= needed
        })
    }
}

impl<B> Broker<B> {
    /// As any result, and remembered.
    #[cold]
    #[inline(never)]
    pub(super) fn take_exception(&mut self, slot: Slot, task: TaskId, frame: B, now: Now) {
        let is_held = self.note_exception(slot, task, now);
        self.take_result(slot, task, frame, now);
        let manager = self.managers.find(slot);
        if is_held && manager.is_some_and(Manager::has_a_long_row) {
            let elsewhere = self.in_flight_elsewhere(slot);
            let others_done_at = self.tally.tasks_done + elsewhere as u64;
            if let Some(row) = &mut self.managers.get_mut(slot).row {
                row.others_done_at = others_done_at;
            }
            self.exceptions.undecided.insert(slot);
            let soon = now.monotonic.saturating_add(LOOK_EVERY);
            self.looks.advance(LookFor::Failing, soon);
            self.tell_if_failing(slot, now);
        }
    }

    /// Those that raised, while others were not done with what they had.
    pub(super) fn look_for_failing_when_due(&mut self, now: Now) {
        if !self.looks.is_due(LookFor::Failing, now.monotonic) {
            return;
        }
        for slot in std::mem::take(&mut self.exceptions.undecided) {
            self.tell_if_failing(slot, now);
            let done = self.tally.tasks_done;
            let is_open = |it: &Manager<B>| {
                let row = it.row.as_deref();
                it.has_a_long_row() && row.is_some_and(|row| done < row.others_done_at)
            };
            if self.managers.find(slot).is_some_and(is_open) {
                self.exceptions.undecided.insert(slot);
            }
        }
        let next = now.monotonic.saturating_add(LOOK_EVERY);
        let is_any = !self.exceptions.undecided.is_empty();
        self.looks.set(LookFor::Failing, is_any.then_some(next));
    }

    fn in_flight_elsewhere(&self, slot: Slot) -> usize {
        let in_flight = self.live.len() - self.queue.len();
        in_flight.saturating_sub(self.managers.get(slot).in_flight.len())
    }

    /// Before its task is taken out of the manager's hands. False if it is not in them.
    fn note_exception(&mut self, slot: Slot, task: TaskId, now: Now) -> bool {
        let awake = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let Some(held) = manager.find(task) else {
            return false;
        };
        let flight = awake.saturating_sub(held.dispatched);
        let done = manager.tasks_done;
        let begin = || Row::begin(Totals::now(&self.tally, &self.exceptions));
        let row = manager.row.get_or_insert_with(|| Box::new(begin()));
        if row.count > 0 && row.tasks_done != done {
            **row = begin();
        }
        row.count += 1;
        row.tasks_done = done + 1;
        row.flights.add(flight);
        self.exceptions.all += 1;
        self.exceptions.of_failing += u64::from(row.is_failing);
        self.exceptions.flights.add(flight);
        true
    }

    fn tell_if_failing(&mut self, slot: Slot, now: Now) {
        let Some(manager) = self.managers.find(slot) else {
            return;
        };
        let Some((in_a_row, others)) = self.fails_everything(manager) else {
            return;
        };
        let gets_tasks = |(other, it): (Slot, &Manager<B>)| other != slot && it.may_get_tasks();
        if !self.managers.iter().any(gets_tasks) {
            return;
        }
        let is_held = self.settings.placement.hold_failing_managers;
        codes::log!(
            MANAGER_FAILING,
            "Manager {} fails everything: its last {in_a_row} tasks have all raised, faster than \
             tasks of other managers are done, {} of {} of which did not raise in that time. Its \
             node may be broken (a mount, a GPU, the environment). {}",
            manager.registration.place(&manager.id),
            others.succeeded(),
            others.done,
            match is_held {
                true => "It is held: it gets no more tasks",
                false => "It gets tasks still (see --hold-failing-managers)",
            }
        );
        let id = manager.id.clone();
        if let Some(row) = &mut self.managers.get_mut(slot).row {
            row.is_failing = true;
        }
        self.note_manager(&id, ManagerChange::Failing { tasks: in_a_row }, now);
        if is_held {
            self.hold_slot(slot, now);
        }
    }

    /// Everything but that another manager gets tasks: how many in a row, and what others did.
    fn fails_everything(&self, manager: &Manager<B>) -> Option<(u64, Others)> {
        let row = manager.row.as_deref()?;
        if !manager.has_a_long_row() || !manager.may_get_tasks() {
            return None;
        }
        let now = Totals::now(&self.tally, &self.exceptions);
        let others = Others::since(&row.before, &now, row);
        let is_odd = others.succeeded() > 0 && !others.explain(row.count);
        (is_odd && is_faster(row, &now)).then_some((row.count, others))
    }
}

/// Whether most of the row took less than the others' median that did not raise, by a class.
fn is_faster(row: &Row, now: &Totals) -> bool {
    let flights = now.flights.iter().zip(row.before.flights);
    let theirs: Vec<u64> = flights.map(|(now, before)| now - before).collect();
    let half = theirs.iter().sum::<u64>().div_ceil(2);
    let mut below = 0;
    let median = theirs.iter().position(|count| {
        below += count;
        below >= half
    });
    let faster = row.flights.counts().into_iter().take(median.unwrap_or(0));
    2 * faster.sum::<u64>() > row.count
}
