//! What must hold after every step. A full walk over the books: tests run it, the product does not.

use std::collections::HashSet;

use super::Broker;
use super::deadlines::What;
use super::manager::Manager;
use super::slot::Slot;
use protocol::{ManagerId, TaskId};

/// A rule that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Disorder {
    /// One id waits in two places of the queue.
    #[error("task {0} is queued twice")]
    QueuedTwice(TaskId),
    /// The sum that is kept is not the sum.
    #[error("the queue weighs {kept}, its tasks {tasks}")]
    Weight {
        /// What the queue says.
        kept: usize,
        /// What its tasks weigh together.
        tasks: usize,
    },
    /// A task is held by a manager, and by another one or by the queue.
    #[error("task {task} is in two places, one of them {manager}")]
    InTwoPlaces {
        /// Which task.
        task: TaskId,
        /// Who holds it.
        manager: ManagerId,
    },
    /// More tasks than the manager registered for.
    #[error("{0} holds more than its capacity")]
    OverCapacity(ManagerId),
    /// The index by identity names another registration, or none.
    #[error("{0} is not found by its id")]
    NotFoundById(ManagerId),
    /// The index by connection names another registration, or none.
    #[error("{0} is not found by its connection")]
    NotFoundByConnection(ManagerId),
    /// It has tasks and a time since when it has none, or neither.
    #[error("{0} is idle and busy at once")]
    IdleAndBusy(ManagerId),
    /// It has a deadline that is none of its record's, or its record has one more.
    #[error("{0} is not watched as it should be")]
    Unwatched(ManagerId),
    /// There is a deadline of a registration that has ended.
    #[error("a deadline is nobody's")]
    NobodysDeadline,
    /// It is in the table, and among those who left it.
    #[error("{0} is registered and departed at once")]
    RegisteredAndDeparted(ManagerId),
    /// The count of live tasks is not theirs.
    #[error("{here} tasks are here, {live} are live")]
    LiveTasks {
        /// Queued and in flight.
        here: usize,
        /// As counted.
        live: usize,
    },
}

/// Walks over the books.
///
/// # Errors
/// The first rule that does not hold: each task is in exactly one place, no manager holds more than
/// its capacity, the queue's weight and the count of live tasks are theirs, deadlines are those of
/// the managers' records, and ids name one manager each.
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
    // What was here before a restart may be gone, and others are let in for it.
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
    // A broker that has stopped has taken every task away, and keeps no record of idleness.
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

/// Whether its deadlines are those of its record. Silence is looked at in time, and put off then.
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
            // As long as a grace is not over it is asked for.
            Some(_) => at(What::Doubt).is_none() && ask.is_some() == grace.is_some(),
            None => at(What::Doubt) == first_doubt && ask.or(grace).is_none(),
        }
}
