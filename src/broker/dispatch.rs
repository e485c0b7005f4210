//! Which manager may get tasks, and handing them out: a held, draining, suspect, clogged or full
//! manager gets nothing.
//!
//! A batch is loaded in one go: what a manager cannot load takes the whole batch with it, and the
//! manager. A task that may be such a one stands in no batch beside others.

use tracing::debug;

use super::Broker;
use super::live_ids::LiveIds;
use super::manager::Manager;
use super::now::Now;
use super::output::{Output, Shipment};
use super::queue::{QueuedTask, TaskQueue};
use super::selector::Candidate;
use super::slot::Slot;
use super::ticket::InFlight;
use protocol::Task;

/// Most tasks in one batch. A manager with room for more gets another batch in the same turn; no
/// single message grows with the queue.
const BATCH_TASKS_MAX: usize = 1024;

impl<B> Manager<B> {
    fn is_eligible(&self) -> bool {
        let is_kept_away = self.held || self.draining || self.clogged || self.is_suspect();
        self.free_capacity() > 0 && !is_kept_away
    }

    fn free_capacity(&self) -> usize {
        self.registration
            .max_capacity
            .saturating_sub(self.in_flight.len())
    }
}

impl<B> Broker<B> {
    /// Whether tasks may leave.
    pub fn handle_dispatching(&mut self, allowed: bool) {
        self.dispatching = allowed;
    }

    /// Hands out what waits to managers with room, the selector's best first.
    pub fn dispatch(&mut self, now: Now) {
        if !self.dispatching || self.stopping || self.leaving_until.is_some() {
            return;
        }
        self.stop_waiting_if_overdue(now);
        while !self.queue.is_empty() {
            let Some(slot) = self.policy.best(now) else {
                break;
            };
            self.dispatch_to(slot, now);
        }
        self.ask_if_needed(now);
    }

    /// Tells the selector whether this manager can take tasks now.
    pub(super) fn index(&mut self, slot: Slot) {
        let manager = self.managers.get(slot);
        if manager.is_eligible() {
            self.policy.offer(Candidate {
                slot,
                block: &manager.registration.block,
            });
        } else {
            self.policy.withdraw(slot);
        }
    }

    fn dispatch_to(&mut self, slot: Slot, now: Now) {
        let (dispatched, now_ns) = (self.liveness.awake(now), now.monotonic_ns());
        let manager = self.managers.get_mut(slot);
        let room = manager
            .free_capacity()
            .min(BATCH_TASKS_MAX)
            .min(self.queue.len());
        let count = match next_travels_alone(&self.queue, &self.live) {
            true => 1,
            false => room,
        };
        let mut shipment = Shipment::with_capacity(count);
        while shipment.len() < count {
            if !shipment.is_empty() && next_travels_alone(&self.queue, &self.live) {
                break;
            }
            let Some(QueuedTask {
                ticket,
                priority,
                since_ns,
                weight,
                body,
            }) = self.queue.pop()
            else {
                break;
            };
            let id = ticket.task();
            let task = Task {
                id,
                priority,
                foreign_name: None,
                body,
            };
            shipment.add(task, weight);
            self.tally
                .queued_for
                .add_ns(now_ns.saturating_sub(since_ns));
            manager.in_flight.push_back(InFlight {
                ticket,
                dispatched,
                link: manager.link.number,
            });
        }
        self.tally.batches += 1;
        self.tally.tasks_dispatched += shipment.len() as u64;
        manager.idle_since = None;
        debug!("Sent tasks: {:?} to manager {}", shipment.ids(), manager.id);
        let to = manager.id.clone();
        self.index(slot);
        // Its record leaves before the batch: clients read from it where a task runs, right after
        // the task is done.
        self.report(slot, now);
        self.tell_of_batch(&to, &shipment, now);
        self.outputs.push_back(Output::Batch { to, shipment });
    }
}

/// Looked at for each task of a batch, so that nothing is looked up where no such task is live.
#[inline]
fn next_travels_alone<B>(queue: &TaskQueue<B>, live: &LiveIds) -> bool {
    let is_alone = |id| live.foreign_name(id).is_some();
    live.some_travel_alone() && queue.first().is_some_and(is_alone)
}
