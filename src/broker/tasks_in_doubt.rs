//! Tasks in doubt: what a connection that broke and healed may have taken with it.
//!
//! A batch or a result that is on its way when a connection breaks is lost, and neither end is
//! told: the manager comes back by a new connection and works on, and the task is in its hands for
//! as long as it lives. Nothing on the wire tells such a task from one that runs. So each task that
//! was young when the manager was last heard by the old connection is in doubt; if its result has
//! not come within a patience, it is reported lost. An older task is held to be running: nothing in
//! this run took that long, and to be wrong about it would cost most.
//!
//! What else holds of deadlines holds here: they stand still while this process does not run, and
//! nothing is given up for what may stand unread (see [`super::liveness`]).

use std::collections::VecDeque;
use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::deadlines::What;
use super::manager::Manager;
use super::now::Now;
use super::settings::Patience;
use super::slot::Slot;
use super::ticket::{self, InFlight};
use protocol::TaskId;

/// How many times the longest flight of the run a task may take.
const FLIGHTS: u32 = 3;
/// Before a run has shown how long its tasks take.
const FLIGHTS_MIN: Duration = Duration::from_secs(30);
/// A batch has left for its manager by then, unless that one is clogged.
const UNSENT: Duration = Duration::from_secs(1);
/// After a restart a task is in doubt that is younger than this many times what was not heard.
const AGE_PER_UNHEARD: u32 = 100;
/// A manager that is back has its results in a queue of its own; this is for them to arrive.
const QUEUED_RESULTS_GET: Duration = Duration::from_secs(5);

impl<B> Manager<B> {
    /// For a log line: `; in doubt: 2 [1-2], given up without a result in 30.0 s`.
    fn doubts_in_words(&self, awake: Duration) -> String {
        let held = self.in_flight.iter();
        let doubts = held.filter_map(|held| Some((held.task(), *self.doubts.get(&held.link)?)));
        let (ids, ends): (Vec<TaskId>, Vec<Duration>) = doubts.unzip();
        let (Some(first), Some(last)) = (ends.iter().min(), ends.iter().max()) else {
            return String::new();
        };
        let in_s = |end: &Duration| format!("{:.1}", end.saturating_sub(awake).as_secs_f64());
        let span = match first == last {
            true => in_s(first),
            false => format!("{} to {}", in_s(first), in_s(last)),
        };
        let ids = ticket::ranges(ids);
        format!("; in doubt: {ids}, given up without a result in {span} s")
    }

    /// When the first of its doubts ends: none does while it has no connection.
    pub(super) fn first_doubt(&self) -> Option<Duration> {
        let first = self.doubts.values().min().copied();
        first.filter(|_| !self.is_suspect())
    }

    /// How many of the tasks in its hands are.
    pub(super) fn in_doubt(&self) -> usize {
        let is_in_doubt = |held: &&InFlight| self.doubts.contains_key(&held.link);
        self.in_flight.iter().filter(is_in_doubt).count()
    }
}

impl<B> Manager<B> {
    /// When tasks are given up that were in doubt at a restart. Each is waited for from when it was
    /// first in doubt, whatever has been restarted since, and for as long as it had been in flight
    /// by then, if that is more than the patience that was measured.
    fn end_of_restored_doubts(
        &self,
        patience: Option<Duration>,
        is_measured: bool,
    ) -> Option<Duration> {
        let patience = patience?;
        let end_of = |held: &InFlight| {
            let since = held.doubted_since()?;
            let age = since.saturating_sub(held.dispatched);
            let patience = if is_measured {
                patience.max(age)
            } else {
                patience
            };
            Some(since.saturating_add(patience))
        };
        self.in_flight.iter().filter_map(end_of).max()
    }
}

impl<B> Broker<B> {
    /// The manager speaks again, after its connection was closed or by another one than before.
    /// `last_word`: when it was last heard by the connection before this one (awake clock); None if
    /// this is the same.
    pub(super) fn come_back(
        &mut self,
        slot: Slot,
        was_suspect: bool,
        last_word: Option<Duration>,
        now: Now,
    ) {
        let awake = self.liveness.awake(now);
        let more = QUEUED_RESULTS_GET.min(self.settings.heartbeat_threshold);
        for until in self.managers.get_mut(slot).doubts.values_mut() {
            if *until <= awake {
                *until = awake.saturating_add(more);
            }
        }
        let is_doubtful = last_word.is_some_and(|at| self.doubt_young_tasks(slot, at, awake));
        if was_suspect || is_doubtful {
            let how = match was_suspect {
                true => "again",
                false => "by another connection",
            };
            self.tell_of_return(slot, how, now);
        }
        self.watch_doubts(slot);
    }

    /// It gets tasks again, as far as its connection is concerned.
    pub(super) fn tell_of_return(&mut self, slot: Slot, how: &str, now: Now) {
        let awake = self.liveness.awake(now);
        let manager = self.managers.get(slot);
        codes::log!(
            MANAGER_BACK,
            "Manager {} speaks {how}, with {} tasks in flight from before{}",
            manager.registration.place(&manager.id),
            manager.in_flight.len(),
            manager.doubts_in_words(awake)
        );
        let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
        self.note_manager(&id, ManagerChange::Back { in_flight }, now);
    }

    /// Of what left by the link before this one, the young are in doubt from now on; the others are
    /// held to be running, as if they had left by this one. Whether there are any in doubt.
    fn doubt_young_tasks(&mut self, slot: Slot, last_word: Duration, awake: Duration) -> bool {
        let (patience, young) = (self.patience(), self.flights());
        let is_measured = self.settings.reconnect_patience == Patience::Measured;
        let queued_results_get = QUEUED_RESULTS_GET.min(self.settings.heartbeat_threshold);
        let manager = self.managers.get_mut(slot);
        let broken = manager.link.number - 1;
        // Not the connection broke but its end here was killed.
        let is_anew = broken == 0 && manager.restored > 0;
        let mut until = patience.map(|patience| awake.saturating_add(patience));
        if is_anew {
            // What the manager has kept for us meanwhile is still to come.
            let soon = awake.saturating_add(queued_results_get);
            let end = manager.end_of_restored_doubts(patience, is_measured);
            until = end.map(|end| end.max(soon));
        }
        for held in &mut manager.in_flight {
            let age = last_word.saturating_sub(held.dispatched);
            if held.link == broken {
                let is_doubtful = match is_anew {
                    true => held.doubted_since().is_some(),
                    false => age <= young,
                };
                match until {
                    Some(until) if is_doubtful => {
                        held.note_doubt(awake);
                        manager.doubts.insert(broken, until);
                    }
                    _ => held.link = manager.link.number,
                }
            }
        }
        manager.doubts.contains_key(&broken)
    }

    /// Sees that the first of the manager's doubts is looked at in time. Without a connection no
    /// result can come, and none is waited for.
    pub(super) fn watch_doubts(&mut self, slot: Slot) {
        let manager = self.managers.get_mut(slot);
        let in_flight = &manager.in_flight;
        let is_held = |link: &u64| in_flight.iter().any(|held| held.link == *link);
        manager.doubts.retain(|link, _| is_held(link));
        let is_untraced = manager.restored > 0
            && manager.doubts.contains_key(&0)
            && !self.settings.placement.exact_capacity;
        let in_flight = manager.in_flight.iter().filter(|held| held.link == 0);
        manager.untraced = if is_untraced { in_flight.count() } else { 0 };
        let first = manager.first_doubt();
        self.liveness.watch(slot, What::Doubt, first);
    }

    /// Doubts that ended by `until` are certain enough: everything that the manager may have said
    /// before was read.
    pub(super) fn give_up_doubts(&mut self, slot: Slot, until: Duration, now: Now) {
        let manager = self.managers.get_mut(slot);
        let is_over = |at: &Duration| *at <= until;
        let doubts = &manager.doubts;
        let held = std::mem::take(&mut manager.in_flight).into_iter();
        let (given_up, kept): (VecDeque<_>, _) =
            held.partition(|held| doubts.get(&held.link).is_some_and(is_over));
        manager.in_flight = kept;
        if manager.in_flight.is_empty() {
            manager.idle_since = Some(now);
        }
        let place = manager.registration.place(&manager.id);
        let (id, registration) = (manager.id.clone(), manager.registration.clone());
        let tasks = self.report_lost(given_up, &id, &registration.hostname, now);
        self.managers.get_mut(slot).given_up.remember(&tasks);
        for task in &tasks {
            self.note_taken_back(slot, *task, now);
        }
        let change = ManagerChange::GaveUp { tasks: tasks.len() };
        self.note_manager(&id, change, now);
        codes::log!(
            DOUBTFUL_TASKS_LOST,
            "Reported tasks lost that were in doubt since manager {place} came back: {}. Their \
             batch or their results may have been lost with its connection, and no result has come \
             since (see --reconnect-patience)",
            ticket::ranges(tasks)
        );
        self.watch_doubts(slot);
        self.index(slot);
        self.after_result(slot, now);
    }

    /// None: for ever.
    fn patience(&self) -> Option<Duration> {
        match self.settings.reconnect_patience {
            Patience::Measured => Some(self.flights().max(self.settings.heartbeat_threshold)),
            Patience::Fixed(patience) => Some(patience),
            Patience::Endless => None,
        }
    }

    /// A task that is not older when this process begins may be gone. All that had come and had not
    /// been read was lost with the one before: the longer that was, the older are those that may be
    /// done. Where no task has ended yet, those that left in the last moment may be gone, and all
    /// others run: to fail the hours of all of them for the one result that may have been lost
    /// would cost most.
    pub(super) fn young(&self) -> Duration {
        let unheard = self.survival.unheard.saturating_mul(AGE_PER_UNHEARD);
        let longest = self.tally.in_flight_for.longest();
        unheard.max(longest.saturating_mul(FLIGHTS)).max(UNSENT)
    }

    /// What no task of this run takes, as far as it has shown.
    fn flights(&self) -> Duration {
        let longest = self.tally.in_flight_for.longest();
        longest.saturating_mul(FLIGHTS).max(FLIGHTS_MIN)
    }
}
