//! Batches that come back, and managers that do not take what is theirs.

use tracing::info;

use super::Broker;
use super::now::Now;
use super::output::{Shipment, Shipped};
use super::queue::QueuedTask;
use super::slot::Slot;
use protocol::{ManagerId, Task};

impl<B> Broker<B> {
    /// A batch that the transport refused: nobody has seen it, so its tasks go back to the front
    /// of the queue. The manager gets nothing more until it speaks again.
    pub fn handle_refused(&mut self, manager: &ManagerId, shipment: Shipment<B>, now: Now) {
        self.begin_turn(now);
        let Some(slot) = self.managers.slot_of(manager) else {
            // Its loss was declared meanwhile, and with it the loss of these tasks.
            return;
        };
        info!(
            "{} tasks were refused on the way to {manager} and wait again",
            shipment.len()
        );
        self.take_back(slot, shipment, now);
        self.suspect(slot, now);
        self.finish_draining(slot, now);
    }

    /// A batch that was not handed to the transport, which holds too much for this manager as it
    /// is: its tasks wait again, and others may have them.
    pub fn handle_returned(&mut self, manager: &ManagerId, shipment: Shipment<B>, now: Now) {
        self.begin_turn(now);
        let Some(slot) = self.managers.slot_of(manager) else {
            return;
        };
        self.take_back(slot, shipment, now);
        self.managers.get_mut(slot).clogged = true;
        self.index(slot);
        self.finish_draining(slot, now);
    }

    /// The manager takes what is sent to it more slowly than it is sent, or does so no longer.
    /// While that lasts it gets nothing new.
    pub fn handle_clogged(&mut self, manager: &ManagerId, is_clogged: bool, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_of(manager) {
            self.managers.get_mut(slot).clogged = is_clogged;
            self.index(slot);
        }
    }

    fn take_back(&mut self, slot: Slot, shipment: Shipment<B>, now: Now) {
        let record = self.managers.get_mut(slot);
        let mut requeued = Vec::new();
        for Shipped { task, weight } in shipment.into_tasks() {
            let Task {
                id, priority, body, ..
            } = task;
            if let Some(held) = record.take(id) {
                self.queue.push(QueuedTask {
                    ticket: held.ticket,
                    priority,
                    since_ns: now.monotonic_ns(),
                    weight,
                    body,
                });
                requeued.push(id);
            }
        }
        if record.in_flight.is_empty() {
            record.idle_since = Some(now);
        }
        let manager = record.id.clone();
        self.note_requeued(&manager, &requeued, now);
    }
}
