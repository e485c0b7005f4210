//! What must hold after every step. A full walk over the books: tests run it, the product does not.

use std::collections::HashSet;

use super::Broker;

/// The first rule that does not hold, in words.
///
/// # Errors
/// Each task is in exactly one place, no manager holds more than its capacity, the count of live
/// tasks is theirs, doubts are watched, and ids name one manager each.
pub fn check<B>(broker: &Broker<B>) -> Result<(), String> {
    let mut places = HashSet::new();
    for id in broker.queue.ids() {
        if !places.insert(id) {
            return Err(format!("task {id} is queued twice"));
        }
    }
    let weight: usize = broker.queue.iter().map(|task| task.weight).sum();
    if weight != broker.queue.weight() {
        return Err(format!(
            "the queue weighs {}, its tasks {weight}",
            broker.queue.weight()
        ));
    }
    for (slot, manager) in broker.managers.iter() {
        for id in manager.task_ids() {
            if !places.insert(id) {
                return Err(format!(
                    "task {id} is in two places, one of them {}",
                    manager.id
                ));
            }
        }
        if manager.in_flight.len() > manager.registration.max_capacity {
            return Err(format!("{} holds more than its capacity", manager.id));
        }
        if broker.managers.slot_of(&manager.id) != Some(slot) {
            return Err(format!("{} is not found by its id", manager.id));
        }
        let by_connection = manager
            .origin
            .connection
            .map(|c| broker.managers.slot_by_connection(c));
        if by_connection.is_some_and(|found| found != Some(slot)) {
            return Err(format!("{} is not found by its connection", manager.id));
        }
        // A broker that has stopped has taken every task away, and keeps no record of idleness.
        if !broker.stopping && manager.in_flight.is_empty() != manager.idle_since.is_some() {
            return Err(format!("{} is idle and busy at once", manager.id));
        }
        if !broker.stopping && !manager.is_suspect() {
            let doubts = (manager.first_doubt(), manager.doubts_watched);
            if doubts.0 != doubts.1 {
                return Err(format!("{} has a doubt that nobody watches", manager.id));
            }
        }
        if broker.departed.contains(&manager.id) {
            return Err(format!("{} is registered and departed at once", manager.id));
        }
    }
    if places.len() != broker.live.len() {
        return Err(format!(
            "{} tasks are here, {} are live",
            places.len(),
            broker.live.len()
        ));
    }
    Ok(())
}
