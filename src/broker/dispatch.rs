//! Which manager may get tasks, and handing them out: a held, draining, suspect, clogged or full
//! manager gets nothing.
//!
//! Batch by batch: who gets the next one is chosen first, then the transport is asked whether a
//! batch can go there, and only then tasks leave the queue. So nothing ever comes back.
//!
//! A batch is loaded in one go: what a manager cannot load takes the whole batch with it, and the
//! manager. A task that may be such a one stands in no batch beside others.

use tracing::debug;

use super::Broker;
use super::live_ids::LiveIds;
use super::manager::Manager;
use super::now::Now;
use super::output::Shipment;
use super::queue::QueuedTask;
use super::selector::Candidate;
use super::slot::Slot;
use super::ticket::InFlight;
use protocol::ManagerId;

/// Most tasks in one batch. A manager with room for more gets another batch; no single message
/// grows with the queue.
const BATCH_TASKS_MAX: usize = 1024;

/// Who gets the next batch.
#[derive(Debug, Clone)]
pub struct Recipient {
    slot: Slot,
    /// Its name, for the transport.
    pub id: ManagerId,
}

/// How much a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRoom {
    /// Most tasks; one goes in any case.
    pub tasks: usize,
    /// Most that they may weigh together, unless it is a single one.
    pub weight: usize,
}

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

    /// As it was told last.
    pub fn is_dispatching(&self) -> bool {
        self.dispatching
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

    /// Whether a batch could be handed out now.
    pub fn can_dispatch(&self) -> bool {
        self.may_dispatch() && !self.queue.is_empty() && self.policy.has_best()
    }

    /// Who gets the next batch: the selector's best. None if nothing waits, or nobody has room, or
    /// the user's selector is asked first, in which case the question is among the outputs.
    pub fn next_recipient(&mut self, now: Now) -> Option<Recipient> {
        if !self.may_dispatch() {
            return None;
        }
        self.stop_waiting_if_overdue(now);
        let best = match self.queue.is_empty() {
            true => None,
            false => self.policy.best(now),
        };
        let Some(slot) = best else {
            self.ask_if_needed(now);
            return None;
        };
        let id = self.managers.get(slot).id.clone();
        Some(Recipient { slot, id })
    }

    /// A batch for a recipient that was named just now: what waits, as far as there is room for it
    /// here and there. What is told of it stands in the outputs.
    pub fn hand_out(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> Shipment<B> {
        let slot = to.slot;
        let (dispatched, now_ns) = (self.liveness.awake(now), now.monotonic_ns());
        let manager = self.managers.get_mut(slot);
        let count = manager
            .free_capacity()
            .min(BATCH_TASKS_MAX)
            .min(room.tasks.max(1))
            .min(self.queue.len());
        let mut shipment = Shipment::with_capacity(count);
        let mut weight = 0;
        while shipment.len() < count {
            let is_first = shipment.is_empty();
            let next = self.queue.pop_if(|next| {
                is_first || weight + next.weight <= room.weight && !travels_alone(next, &self.live)
            });
            let Some(task) = next else {
                break;
            };
            let is_alone = travels_alone(&task, &self.live);
            let QueuedTask {
                ticket,
                since_ns,
                body,
                ..
            } = task;
            weight += task.weight;
            shipment.add(ticket.task(), body);
            self.tally
                .queued_for
                .add_ns(now_ns.saturating_sub(since_ns));
            manager.in_flight.push_back(InFlight {
                ticket,
                dispatched,
                link: manager.link.number,
            });
            if is_alone {
                break;
            }
        }
        self.tally.batches += 1;
        self.tally.tasks_dispatched += shipment.len() as u64;
        manager.idle_since = None;
        debug!("Sent tasks: {:?} to manager {}", shipment.ids(), manager.id);
        self.index(slot);
        self.report(slot, now);
        self.tell_of_batch(&to.id, &shipment, now);
        shipment
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

    fn may_dispatch(&self) -> bool {
        self.dispatching && !self.stopping && self.leaving_until.is_none()
    }
}

/// Looked at for each task of a batch, so that nothing is looked up where none that travels alone
/// is live.
#[inline]
fn travels_alone<B>(task: &QueuedTask<B>, live: &LiveIds) -> bool {
    live.some_travel_alone() && live.foreign_name(task.ticket.task()).is_some()
}
