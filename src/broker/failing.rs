//! Managers that fail every task: a node with a broken mount or a dead GPU takes tasks, fails them
//! at once, and so empties the queue. Such a manager is logged, and held if the settings say so.
//!
//! A manager counts as failing if all of the following hold. This is checked whenever one of its
//! tasks raises, and every second after that until the others have finished as many tasks as they
//! had in flight then: the failing manager may have emptied the queue before their first task was
//! done.
//!
//! - Its last results were all exceptions: at least [`IN_A_ROW_MIN`], and at least twice its
//!   workers. One task that does not raise restarts the row. (A result that could not be forwarded
//!   does not count.)
//! - Since the first of these, other managers have returned some results that are not exceptions.
//!   And at the rate at which their tasks raised in that time, such a row would occur by chance
//!   less than once in [`ROWS_BY_CHANCE`] times: where most tasks raise anywhere, rows must be
//!   long. Managers already known to be failing do not count as others.
//! - More than half of the row's tasks were faster, from dispatch to result, than the median of the
//!   others' tasks that did not raise in that time, by at least one class of [`Histogram`]: about
//!   half the time. A manager that fails slowly takes no more than its share.
//! - The manager may get tasks, and so may another manager: the last one is never held.
//!
//! A result that is not an exception costs nothing here: the manager's count of results reveals it.

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

/// The exceptions of all managers since the start.
#[derive(Debug, Default)]
pub(super) struct Exceptions {
    all: u64,
    /// Exceptions of managers that were already known to be failing.
    of_failing: u64,
    flights: Histogram,
    /// Managers whose row is long enough, but for which the other conditions do not hold yet.
    undecided: BTreeSet<Slot>,
}

/// Consecutive exceptions of one manager.
#[derive(Debug)]
pub(super) struct Row {
    count: u64,
    /// How many tasks the manager had finished right after the last exception of the row.
    tasks_done: u64,
    is_failing: bool,
    flights: Histogram,
    /// The totals when the first exception of the row arrived.
    before: Totals,
    /// The value of the count of finished tasks of all managers by which the others will have
    /// finished what they had in flight at the row's last exception.
    others_done_at: u64,
}

/// The results of all managers up to some time.
#[derive(Debug, Clone, Copy)]
struct Totals {
    done: u64,
    raised: u64,
    /// Exceptions of managers that were known to be failing.
    of_failing: u64,
    /// Times from dispatch to result of the tasks that did not raise.
    flights: Counts,
}

/// What the other managers did during a row.
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
    /// Counts the results of all managers except the row's manager and those known to be failing.
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

    /// Whether so many tasks in a row could raise by chance at the others' rate of exceptions.
    fn explain(&self, in_a_row: u64) -> bool {
        // The rule of succession: a few results say little about the rate.
        let rate = (self.raised as f64 + 1.0) / (self.done as f64 + 2.0);
        rate.ln() * in_a_row as f64 > -ROWS_BY_CHANCE.ln()
    }
}

impl<B> Manager<B> {
    /// Returns how many tasks raised in a row, if the manager is known to be failing.
    pub(super) fn failing(&self) -> Option<u64> {
        let row = self.row.as_deref()?;
        (row.is_failing && row.tasks_done == self.tasks_done).then_some(row.count)
    }

    /// Whether enough tasks have raised in a row and the manager is not yet reported as failing.
    fn has_a_long_row(&self) -> bool {
        let needed = IN_A_ROW_MIN.max(2 * self.site.slots as u64);
        self.row.as_deref().is_some_and(|row| {
            !row.is_failing && row.tasks_done == self.tasks_done && row.count >= needed
        })
    }
}

impl<B> Broker<B> {
    /// Handles a result that is an exception: like any result, and also counted in the manager's
    /// row.
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

    /// Checks again the managers with long rows, while the others were still busy with their tasks.
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

    /// Counts an exception; call it before the task leaves the manager. Returns false if the
    /// manager does not hold the task.
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
            "Manager {} fails every task: its last {in_a_row} tasks all raised exceptions, faster \
             than other managers complete tasks. In that time {} of {} tasks of other managers did \
             not raise. The manager's node may be broken (a mount, a GPU, the environment). {}",
            manager.registration.place(&manager.id),
            others.succeeded(),
            others.done,
            match is_held {
                true => "The manager is held: it gets no more tasks",
                false => "The manager still gets tasks (see --hold-failing-managers)",
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

    /// Checks all conditions except that another manager may get tasks. Returns the length of the
    /// row and what the others did.
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

/// Whether most of the row's tasks were faster, by a class, than the median of the others' tasks
/// that did not raise.
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
