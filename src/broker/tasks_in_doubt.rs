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

use tracing::{info, warn};

use super::Broker;
use super::change::ManagerChange;
use super::deadlines::What;
use super::manager::Manager;
use super::now::Now;
use super::settings::Patience;
use super::slot::Slot;
use super::ticket;
use protocol::TaskId;

/// How many times the longest flight of the run a task may take.
const FLIGHTS: u32 = 3;
/// Before a run has shown how long its tasks take.
const FLIGHTS_MIN: Duration = Duration::from_secs(30);
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
        info!(
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
        let manager = self.managers.get_mut(slot);
        let broken = manager.link.number - 1;
        for held in &mut manager.in_flight {
            let age = last_word.saturating_sub(held.dispatched);
            if held.link == broken {
                match patience {
                    Some(patience) if age <= young => {
                        let until = awake.saturating_add(patience);
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
        let first = manager.doubts.values().min().copied();
        let first = first.filter(|_| !manager.is_suspect());
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
        warn!(
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

    /// What no task of this run takes, as far as it has shown.
    fn flights(&self) -> Duration {
        let longest = self.tally.in_flight_for.longest();
        longest.saturating_mul(FLIGHTS).max(FLIGHTS_MIN)
    }
}
