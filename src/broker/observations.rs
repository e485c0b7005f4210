//! The dialect without commands: the executor is sent each value that it would ask for when the
//! value changes.
//!
//! Values that grow with time must be sent again and again: scaling in looks for managers that have
//! been idle for long. The branch of Parsl that has this dialect leaves open how often. Its
//! executor reads the latest `tasks` and `idle_duration` once in Parsl's `strategy_period`, so they
//! are sent at that interval.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Broker;
use super::change::ManagerChange;
use super::looks::LookFor;
use super::now::Now;
use super::output::Output;
use protocol::{ManagerFact, ManagerId, ManagerStatus, Observation, OfManager};

/// Parsl's `strategy_period`, the interval at which task counts and idle times are sent.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Delay of the list of blocks, so that many registrations at once cause one list.
const TELL_BLOCKS_AFTER: Duration = Duration::from_millis(100);

/// What the executor has been sent.
#[derive(Debug, Default)]
pub(super) struct Observations {
    /// The number of tasks last reported for each manager.
    tasks: BTreeMap<ManagerId, usize>,
    blocks_at: Option<Duration>,
    activity_at: Duration,
}

impl<B> Broker<B> {
    /// Starts to send observations to the executor. The current state is sent at once.
    pub fn begin_observations(&mut self, now: Now) {
        if self.observations.is_some() {
            return;
        }
        self.observations = Some(Observations {
            blocks_at: Some(now.monotonic),
            activity_at: now.monotonic.saturating_add(TELL_EVERY),
            ..Observations::default()
        });
        let port = self.settings.worker_port;
        self.observe(Observation::WorkerPort(port));
        for status in self.statuses(now) {
            self.observe_registered(status);
        }
        self.look_for_observers();
    }

    /// Reports a change of a manager. Call it when the change is recorded: a manager that has left
    /// is no longer in the table.
    pub(super) fn observe_change(&mut self, id: &ManagerId, change: &ManagerChange, now: Now) {
        match change {
            ManagerChange::Registered { .. } => {
                let status = self.status_of(id, now);
                status
                    .into_iter()
                    .for_each(|it| self.observe_registered(it));
                if let Some(observations) = &mut self.observations {
                    let soon = now.monotonic.saturating_add(TELL_BLOCKS_AFTER);
                    observations.blocks_at.get_or_insert(soon);
                }
                self.look_for_observers();
            }
            ManagerChange::Held | ManagerChange::Draining => {
                let status = self.status_of(id, now);
                status.into_iter().for_each(|it| self.observe_status(it));
            }
            ManagerChange::Drained | ManagerChange::Lost { .. } => {
                self.observe_fact(id, ManagerFact::Active(false));
                self.observe_fact(id, ManagerFact::Tasks(0));
                if let Some(observations) = &mut self.observations {
                    observations.tasks.remove(id);
                }
            }
            ManagerChange::Replaced { .. }
            | ManagerChange::Failing { .. }
            | ManagerChange::Suspect { .. }
            | ManagerChange::Awaited
            | ManagerChange::Back { .. }
            | ManagerChange::GaveUp { .. } => {}
        }
    }

    pub(super) fn observe_when_due(&mut self, now: Now) {
        if !self.looks.is_due(LookFor::Observations, now.monotonic) {
            return;
        }
        let Some(observations) = &mut self.observations else {
            return;
        };
        if !self.dispatching {
            // The executor does not read. It gets the state of a later time, not that of each
            // interval in between.
            let later = now.monotonic.saturating_add(TELL_EVERY);
            observations.activity_at = observations.activity_at.max(later);
            observations.blocks_at = observations.blocks_at.map(|at| at.max(later));
            return self.look_for_observers();
        }
        let is_activity_due = observations.activity_at <= now.monotonic;
        if is_activity_due {
            observations.activity_at = now.monotonic.saturating_add(TELL_EVERY);
        }
        if observations.blocks_at.is_some_and(|at| at <= now.monotonic) {
            observations.blocks_at = None;
            let blocks = Rc::clone(&self.block_history);
            self.observe(Observation::ConnectedBlocks(blocks));
        }
        if is_activity_due {
            self.observe_activity(now);
        }
        self.look_for_observers();
    }

    fn observe_activity(&mut self, now: Now) {
        for status in self.statuses(now) {
            let (id, tasks) = (status.manager, status.tasks);
            let told = self.note_told(&id, tasks);
            if told != Some(tasks) {
                self.observe_fact(&id, ManagerFact::Tasks(tasks));
            }
            if told != Some(tasks) || tasks == 0 {
                self.observe_fact(&id, ManagerFact::IdleDurationS(status.idle_duration_s));
            }
        }
    }

    /// Records the number of tasks that is reported for the manager. Returns the number reported
    /// before.
    fn note_told(&mut self, id: &ManagerId, tasks: usize) -> Option<usize> {
        let observations = self.observations.as_mut()?;
        observations.tasks.insert(id.clone(), tasks)
    }

    /// Reports a registered manager: its packages first, as in the branch of Parsl.
    fn observe_registered(&mut self, status: ManagerStatus) {
        if let Some(slot) = self.managers.slot_of(&status.manager) {
            let registration = Rc::clone(&self.managers.get(slot).registration);
            self.observe(Observation::Manager {
                manager: status.manager.clone(),
                what: OfManager::Packages(registration),
            });
        }
        self.observe_status(status);
    }

    fn observe_status(&mut self, status: ManagerStatus) {
        let id = status.manager.clone();
        let _ = self.note_told(&id, status.tasks);
        for fact in status.into_facts() {
            self.observe_fact(&id, fact);
        }
    }

    fn observe_fact(&mut self, id: &ManagerId, fact: ManagerFact) {
        self.observe(Observation::Manager {
            manager: id.clone(),
            what: OfManager::Fact(fact),
        });
    }

    fn observe(&mut self, observation: Observation<B>) {
        self.outputs.push_back(Output::Observation(observation));
    }

    fn look_for_observers(&mut self) {
        let next = self.observations.as_ref().map(|observations| {
            let blocks_at = observations.blocks_at.unwrap_or(Duration::MAX);
            blocks_at.min(observations.activity_at)
        });
        self.looks.set(LookFor::Observations, next);
    }
}
