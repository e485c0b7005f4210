//! What must hold after every step. The check walks over the whole state: tests run it, the product
//! does not.

use std::collections::HashSet;

use super::Broker;
use super::deadlines::What;
use super::manager::Manager;
use super::slot::Slot;
use protocol::{ManagerId, TaskId};

/// A violated invariant.
#[derive(Debug, thiserror::Error)]
pub enum Disorder {
    /// One id is queued twice.
    #[error("task {0} is queued twice")]
    QueuedTwice(TaskId),
    /// The queue's weight is not the sum of its tasks' weights.
    #[error("the queue's recorded weight is {kept}, but its tasks weigh {tasks}")]
    Weight {
        /// The weight that the queue reports.
        kept: usize,
        /// The sum of the tasks' weights.
        tasks: usize,
    },
    /// A task is held by two managers, or by a manager and the queue.
    #[error("task {task} is recorded in two places, one of them manager {manager}")]
    InTwoPlaces {
        /// The task.
        task: TaskId,
        /// One of the managers that hold the task.
        manager: ManagerId,
    },
    /// The manager holds more tasks than its capacity.
    #[error("manager {0} holds more than its capacity")]
    OverCapacity(ManagerId),
    /// The index by identity has another registration for the manager, or none.
    #[error("manager {0} is not found by its id")]
    NotFoundById(ManagerId),
    /// The index by connection has another registration for the manager, or none.
    #[error("manager {0} is not found by its connection")]
    NotFoundByConnection(ManagerId),
    /// The manager has tasks and also a time since when it is idle, or it has neither.
    #[error("manager {0} is idle and busy at once")]
    IdleAndBusy(ManagerId),
    /// The manager's deadlines differ from those that its record requires.
    #[error("the deadlines of manager {0} do not match its record")]
    Unwatched(ManagerId),
    /// A deadline belongs to a registration that has ended.
    #[error("a deadline belongs to no registered manager")]
    NobodysDeadline,
    /// The manager is both in the table and among the departed managers.
    #[error("manager {0} is registered and departed at once")]
    RegisteredAndDeparted(ManagerId),
    /// The count of live tasks is wrong.
    #[error("{here} tasks are queued or in flight, but {live} are counted as live")]
    LiveTasks {
        /// Number of tasks queued and in flight.
        here: usize,
        /// The count of live tasks.
        live: usize,
    },
}

/// Checks the whole state of a broker.
///
/// # Errors
/// The first violated invariant. Each task is in exactly one place. No manager holds more tasks
/// than its capacity. The queue's weight and the count of live tasks are correct. The deadlines
/// match the managers' records. Ids name one manager each.
pub fn check<B>(broker: &Broker<B>) -> Result<(), Disorder> {
    let mut places = HashSet::new();
    for id in broker.queue.ids() {
        if !places.insert(id) {
            return Err(Disorder::QueuedTwice(id));
        }
    }
    let (kept, tasks) = (
        broker.queue.weight(),
        broker.queue.iter().map(|task| task.weight).sum(),
    );
    if kept != tasks {
        return Err(Disorder::Weight { kept, tasks });
    }
    for (slot, manager) in broker.managers.iter() {
        for task in manager.task_ids() {
            if !places.insert(task) {
                let manager = manager.id.clone();
                return Err(Disorder::InTwoPlaces { task, manager });
            }
        }
        check_manager(broker, slot, manager)?;
    }
    let mut watched = broker.liveness.deadlines().slots();
    if watched.any(|slot| broker.managers.find(slot).is_none()) {
        return Err(Disorder::NobodysDeadline);
    }
    let (here, live) = (places.len(), broker.live.len());
    match here == live {
        true => Ok(()),
        false => Err(Disorder::LiveTasks { here, live }),
    }
}

fn check_manager<B>(broker: &Broker<B>, slot: Slot, manager: &Manager<B>) -> Result<(), Disorder> {
    let id = || manager.id.clone();
    // Tasks from before a restart may be lost; as many tasks may be dispatched in their place.
    if manager.in_flight.len() > manager.registration.max_capacity + manager.restored {
        return Err(Disorder::OverCapacity(id()));
    }
    if broker.managers.slot_of(&manager.id) != Some(slot) {
        return Err(Disorder::NotFoundById(id()));
    }
    let leads_to = |connection| broker.managers.slot_by_connection(connection) == Some(slot);
    let is_open = manager.link.connection().is_some();
    if manager.link.spoke_by.is_some_and(leads_to) != is_open {
        return Err(Disorder::NotFoundByConnection(id()));
    }
    // A stopped broker has taken all tasks away and keeps no idle times.
    if !broker.stopping && manager.in_flight.is_empty() != manager.idle_since.is_some() {
        return Err(Disorder::IdleAndBusy(id()));
    }
    if !broker.stopping && !is_watched(broker, slot, manager) {
        return Err(Disorder::Unwatched(id()));
    }
    match broker.departed.contains(&manager.id) {
        true => Err(Disorder::RegisteredAndDeparted(id())),
        false => Ok(()),
    }
}

/// Whether the deadlines match the manager's record. The deadline for silence may be early: it is
/// deferred when it is checked.
fn is_watched<B>(broker: &Broker<B>, slot: Slot, manager: &Manager<B>) -> bool {
    let at = |what| broker.liveness.deadlines().at(slot, what);
    let silent_at = (manager.last_heard).saturating_add(broker.settings.heartbeat_threshold);
    let doubts = manager
        .in_flight
        .iter()
        .map(|held| manager.doubts.get(&held.link));
    let first_doubt = doubts.flatten().min().copied();
    let is_in_time = at(What::Silence).is_some_and(|at| at <= silent_at);
    let (ask, grace) = (at(What::Ask), at(What::Grace));
    is_in_time
        && match manager.link.closed_since() {
            // While a grace runs, the transport is asked for a connection.
            Some(_) => at(What::Doubt).is_none() && ask.is_some() == grace.is_some(),
            None => at(What::Doubt) == first_doubt && ask.or(grace).is_none(),
        }
}
