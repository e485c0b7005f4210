//! Tasks in doubt: tasks that a broken and restored connection may have lost.
//!
//! If a connection breaks while a batch or a result is on its way, the message is lost, and neither
//! end is notified. The manager reconnects and works on, and the task stays assigned to the manager
//! for as long as that lives. Nothing on the wire distinguishes such a task from one that runs. So
//! each task is in doubt that was young when the manager was last heard on the old connection. If
//! its result has not arrived within a patience, the task is reported lost. An older task is
//! assumed to be running: it ran longer than any finished task of this run, and failing it wrongly
//! would cost most.
//!
//! The rules for other deadlines apply too: deadlines stand still while this process does not run,
//! and no task is given up while its result may be unread (see [`super::liveness`]).

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

/// How long a task may take, in multiples of the longest time from dispatch to result in this run.
const FLIGHTS: u32 = 3;
/// How long a task may take at least, for runs that have not shown yet how long their tasks take.
const FLIGHTS_MIN: Duration = Duration::from_secs(30);
/// The time within which a batch leaves for its manager, unless that is clogged.
const UNSENT: Duration = Duration::from_secs(1);
/// After a restart, tasks are in doubt if they are younger than this many times the time in which
/// managers were not heard.
const AGE_PER_UNHEARD: u32 = 100;
/// Time for a manager that has reconnected to send the results that it had queued.
const QUEUED_RESULTS_GET: Duration = Duration::from_secs(5);

impl<B> Manager<B> {
    /// Formats the doubts for a log line: `; in doubt: 2 [1-2], given up without a result in 30.0
    /// s`.
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
        format!("; possibly lost: {ids}, reported lost if no result comes within {span} s")
    }

    /// Returns when the first doubt ends. While the manager has no connection, no doubt ends.
    pub(super) fn first_doubt(&self) -> Option<Duration> {
        let first = self.doubts.values().min().copied();
        first.filter(|_| !self.is_suspect())
    }

    /// Returns how many of the manager's tasks are in doubt.
    pub(super) fn in_doubt(&self) -> usize {
        let is_in_doubt = |held: &&InFlight| self.doubts.contains_key(&held.link);
        self.in_flight.iter().filter(is_in_doubt).count()
    }
}

impl<B> Manager<B> {
    /// Returns when the tasks are given up that were in doubt at a restart. The patience counts
    /// from the time when a task was first in doubt, whatever has been restarted since. If the
    /// patience was measured, it is at least as long as the task had been in flight by then.
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
    /// Handles the return of a manager: after its connection was closed, or on another connection
    /// than before. `last_word`: when the manager was last heard on the connection before (awake
    /// clock); None if the connection is the same.
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
                false => "over another connection",
            };
            self.tell_of_return(slot, how, now);
        }
        self.watch_doubts(slot);
    }

    /// Logs that the manager speaks again, so that its connection no longer keeps it from getting
    /// tasks.
    pub(super) fn tell_of_return(&mut self, slot: Slot, how: &str, now: Now) {
        let awake = self.liveness.awake(now);
        let manager = self.managers.get(slot);
        codes::log!(
            MANAGER_BACK,
            "Manager {} sends {how}, with {} tasks in flight from before{}",
            manager.registration.place(&manager.id),
            manager.in_flight.len(),
            manager.doubts_in_words(awake)
        );
        let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
        self.note_manager(&id, ManagerChange::Back { in_flight }, now);
    }

    /// Puts the young tasks that were sent on the previous link in doubt. The older ones are
    /// assumed to be running, and are moved to the current link. Returns whether any task is in
    /// doubt.
    fn doubt_young_tasks(&mut self, slot: Slot, last_word: Duration, awake: Duration) -> bool {
        let (patience, young) = (self.patience(), self.flights());
        let is_measured = self.settings.reconnect_patience == Patience::Measured;
        let queued_results_get = QUEUED_RESULTS_GET.min(self.settings.heartbeat_threshold);
        let manager = self.managers.get_mut(slot);
        let broken = manager.link.number - 1;
        // The connection did not break: the interchange was killed and restarted.
        let is_anew = broken == 0 && manager.restored > 0;
        let mut until = patience.map(|patience| awake.saturating_add(patience));
        if is_anew {
            // Results that the manager queued during the restart may still arrive.
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

    /// Schedules the end of the manager's first doubt. While the manager has no connection, no
    /// result can arrive, and none is awaited.
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

    /// Gives up the tasks whose doubt ended by `until`. By then, everything that the manager may
    /// have sent before was read.
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
            "Reported tasks lost that manager {place} had when its connection broke: {}. The tasks \
             or their results may have been lost with the connection, and no result has come since \
             the manager reconnected (see --reconnect-patience)",
            ticket::ranges(tasks)
        );
        self.watch_doubts(slot);
        self.index(slot);
        self.after_result(slot, now);
    }

    /// Returns the patience for tasks in doubt. None: no limit.
    fn patience(&self) -> Option<Duration> {
        match self.settings.reconnect_patience {
            Patience::Measured => Some(self.flights().max(self.settings.heartbeat_threshold)),
            Patience::Fixed(patience) => Some(patience),
            Patience::Endless => None,
        }
    }

    /// Returns the age up to which a task may be lost when this process begins. All messages that
    /// had arrived unread were lost with the earlier process. The longer that time was, the older
    /// are the tasks that may be done. If no task has ended yet, only those sent in the last moment
    /// may be lost, and all others are assumed to run: failing them all for one lost result would
    /// cost most.
    pub(super) fn young(&self) -> Duration {
        let unheard = self.survival.unheard.saturating_mul(AGE_PER_UNHEARD);
        let longest = self.tally.in_flight_for.longest();
        unheard.max(longest.saturating_mul(FLIGHTS)).max(UNSENT)
    }

    /// Returns a time that no task of this run takes, as far as its finished tasks show.
    fn flights(&self) -> Duration {
        let longest = self.tally.in_flight_for.longest();
        longest.saturating_mul(FLIGHTS).max(FLIGHTS_MIN)
    }
}
