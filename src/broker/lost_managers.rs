//! Managers that are given up: each of their tasks is answered with ManagerLost.

use std::collections::VecDeque;

use super::Broker;
use super::change::ManagerChange;
use super::manager::Manager;
use super::now::Now;
use super::outputs::Lost;
use super::slot::Slot;
use super::ticket::{self, InFlight};
use protocol::{ManagerId, TaskId};

impl<B> Broker<B> {
    pub(super) fn expire(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        let awake = self.liveness.awake(now);
        let silent = awake.saturating_sub(manager.last_heard);
        let place = manager.registration.place(&manager.id);
        let (host, held) = (&*manager.registration.hostname, manager.held);
        let tasks = manager.in_flight.len();
        match manager.link.closed_since() {
            Some(since) if silent < self.settings.heartbeat_threshold => codes::log!(
                MANAGER_LOST,
                host,
                held,
                tasks,
                "Manager {place} has not reconnected in the {:.1} s since its connection closed - \
                 removing manager",
                awake.saturating_sub(since).as_secs_f64()
            ),
            _ => codes::log!(
                MANAGER_LOST,
                host,
                held,
                tasks,
                "Too many heartbeats missed for manager {place} - removing manager: no message for \
                 {:.1} s",
                silent.as_secs_f64()
            ),
        }
        if !manager.is_suspect() {
            self.note_vanished(slot, now);
        }
        let mut manager = self.remove(slot, now);
        let was_held = std::mem::replace(&mut manager.held, true);
        if !was_held {
            self.report_of(&manager, now);
        }
        let change = ManagerChange::Lost {
            tasks: manager.in_flight.len(),
            silent,
            was_held,
        };
        self.note_manager(&manager.id, change, now);
        self.fail_tasks(&mut manager, now);
    }

    /// Answers each task of a lost manager with ManagerLost.
    pub(super) fn fail_tasks(&mut self, manager: &mut Manager<B>, now: Now) {
        let held = std::mem::take(&mut manager.in_flight);
        if held.is_empty() {
            return;
        }
        self.name_suspects(&held, manager);
        let tasks = self.report_lost(held, &manager.id, &manager.registration.hostname, now);
        let count = tasks.len();
        codes::log!(
            TASKS_LOST,
            tasks = count,
            "Reported tasks lost with manager {}: {}",
            manager.id,
            ticket::ranges(tasks)
        );
    }

    /// Logs which of the tasks may have ended the manager. A manager ends at a name that it cannot
    /// import, and its own log may be on a node that is gone.
    fn name_suspects(&self, held: &VecDeque<InFlight>, manager: &Manager<B>) {
        const NAMED_MAX: usize = 10;
        let names = held.iter().filter_map(|held| {
            let name = self.live.foreign_name(held.task())?;
            Some(format!("task {}, which refers to {name}", held.task()))
        });
        let named: Vec<String> = names.take(NAMED_MAX).collect();
        if !named.is_empty() {
            codes::log!(
                MANAGER_ENDED_BY_TASK,
                "Manager {} may have ended because of {}: a manager ends when a task's context has \
                 a name that it cannot import",
                manager.registration.place(&manager.id),
                named.join("; or because of ")
            );
        }
    }

    /// Answers each of these tasks with ManagerLost, and returns their ids.
    pub(super) fn report_lost(
        &mut self,
        held: VecDeque<InFlight>,
        manager: &ManagerId,
        hostname: &str,
        now: Now,
    ) -> Vec<TaskId> {
        let tasks: Vec<TaskId> = held.into_iter().map(|held| held.ticket.settle()).collect();
        for task in &tasks {
            self.live.remove(*task);
        }
        self.note_lost(Lost::new(&tasks, manager, hostname, now));
        tasks
    }
}
