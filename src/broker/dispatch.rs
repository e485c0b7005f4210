//! Which manager may get tasks, and handing them out: a held, draining, suspect, awaited, clogged
//! or full manager gets nothing.
//!
//! Batch by batch: who gets the next one is chosen first, then the transport is asked whether a
//! batch can go there, and only then tasks leave the queue. So nothing ever comes back.
//!
//! A batch is loaded in one go: what a manager cannot load takes the whole batch with it, and the
//! manager. A task that may be such a one stands in no batch beside others.

use std::time::Duration;

use tracing::debug;

use super::Broker;
use super::kinds::Choice;
use super::lane::QueuedTask;
use super::live_ids::LiveIds;
use super::manager::Manager;
use super::now::Now;
use super::output::Shipment;
use super::policy::Among;
use super::selector::Candidate;
use super::slot::Slot;
use super::tally::Tally;
use super::ticket::InFlight;
use protocol::ManagerId;

/// Most tasks in one batch. A manager with room for more gets another batch; no single message
/// grows with the queue.
const BATCH_TASKS_MAX: usize = 1024;

/// Who gets the next batch.
#[derive(Debug, Clone)]
pub struct Recipient {
    pub(super) slot: Slot,
    /// How many slots it may be given before another manager may be better.
    pub(super) share: usize,
    /// Its name, for the transport.
    pub id: ManagerId,
    /// What the first task of the batch weighs, if it asks for something.
    pub(super) next_weight: Option<usize>,
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
    #[inline]
    pub(super) fn is_eligible(&self) -> bool {
        self.free_capacity() > 0 && self.may_get_tasks()
    }

    /// As far as it does not depend on its room.
    pub(super) fn may_get_tasks(&self) -> bool {
        self.is_kept() && !self.clogged && self.link.is_heard()
    }

    /// Whether it will get tasks again, sooner or later.
    pub(super) fn is_kept(&self) -> bool {
        !self.held && !self.draining
    }

    /// How many tasks of a slot each it could get. What runs on several slots leaves no room for
    /// prefetch: a worker that it keeps idle would take the prefetched task.
    #[inline]
    pub(super) fn free_capacity(&self) -> usize {
        let most = match self.extra_slots {
            0 => self.registration.max_capacity,
            _ => self.site.slots,
        };
        most.saturating_sub(self.busy_slots())
    }

    /// How many of its workers have nothing to do, nor will have by what is prefetched.
    pub(super) fn free_workers(&self) -> usize {
        self.site.slots.saturating_sub(self.busy_slots())
    }

    pub(super) fn busy_slots(&self) -> usize {
        self.in_flight.len() + self.extra_slots
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
        self.may_dispatch()
            && !self.queue.is_empty()
            && match self.is_asking() {
                false => self.policy.has_best(Among::All),
                true => self.can_place(),
            }
    }

    /// Who gets the next batch: the selector's best. None if nothing waits, or nobody has room, or
    /// the user's selector is asked first, in which case the question is among the outputs.
    pub fn next_recipient(&mut self, now: Now) -> Option<Recipient> {
        if !self.may_dispatch() {
            return None;
        }
        self.stop_waiting_if_overdue(now);
        if self.is_asking() {
            return self.next_recipient_asking(now);
        }
        let best = match self.queue.is_empty() {
            true => None,
            false => self.policy.best(now, Among::All),
        };
        let Some(slot) = best else {
            self.ask_if_needed(now);
            return None;
        };
        Some(Recipient {
            slot,
            share: self.policy.share(Among::All),
            id: self.managers.get(slot).id.clone(),
            next_weight: None,
        })
    }

    /// What the first task of a recipient's batch weighs.
    pub fn next_weight(&self, to: &Recipient) -> usize {
        let plain = || self.queue.plain.first().map(|task| task.weight);
        to.next_weight.or_else(plain).unwrap_or(0)
    }

    /// What a task weighs that stands first among those that wait; 0 if there is none.
    pub fn first_weight(&self) -> usize {
        self.queue.first().map_or(0, |task| task.weight)
    }

    /// A batch for a recipient that was named just now: what waits, as far as there is room for it
    /// here and there. What is told of it stands in the outputs.
    pub fn hand_out(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> Shipment<B> {
        let mut batch = Batch {
            shipment: Shipment::with_capacity(0),
            weight: 0,
            now_ns: now.monotonic_ns(),
            dispatched: self.liveness.awake(now),
        };
        let tasks_max = room.tasks.clamp(1, BATCH_TASKS_MAX).min(to.share.max(1));
        let room = BatchRoom {
            tasks: tasks_max,
            ..room
        };
        match self.is_asking() {
            false => self.fill(&mut batch, to.slot, room),
            true => self.fill_asking(&mut batch, to, room, now),
        }
        let shipment = batch.shipment;
        self.tally.batches += 1;
        self.tally.tasks_dispatched += shipment.len() as u64;
        let manager = self.managers.get_mut(to.slot);
        manager.idle_since = None;
        debug!("Sent tasks: {:?} to manager {}", shipment.ids(), manager.id);
        self.index(to.slot);
        self.report(to.slot, now);
        self.tell_of_batch(&to.id, &shipment, now);
        shipment
    }

    /// Where no task asks for anything.
    #[inline]
    fn fill(&mut self, batch: &mut Batch<B>, slot: Slot, room: BatchRoom) {
        let manager = self.managers.get_mut(slot);
        let count = manager
            .free_capacity()
            .min(room.tasks)
            .min(self.queue.plain.len());
        batch.shipment = Shipment::with_capacity(count);
        while batch.shipment.len() < count {
            let next = self
                .queue
                .plain
                .pop_if(|next| batch.takes(next, room, &self.live));
            let Some(task) = next else {
                break;
            };
            let is_alone = travels_alone(&task, &self.live);
            batch.load(task, manager, &mut self.tally);
            if is_alone {
                break;
            }
        }
    }

    #[inline(never)]
    fn fill_asking(&mut self, batch: &mut Batch<B>, to: &Recipient, room: BatchRoom, now: Now) {
        let slot = to.slot;
        let busy = self.managers.get(slot).busy_slots();
        while batch.shipment.len() < room.tasks
            && self.managers.get(slot).free_capacity() > 0
            && self.managers.get(slot).busy_slots() - busy < to.share.max(1)
            && let Some(choice) = self.choose(slot, now)
            && let Some(next) = self.queue.peek(&choice)
            && batch.takes(next, room, &self.live)
        {
            let is_alone = travels_alone(next, &self.live);
            match choice {
                Choice::Plain => {
                    if let Some(task) = self.queue.plain.pop_if(|_| true) {
                        batch.load(task, self.managers.get_mut(slot), &mut self.tally);
                    }
                }
                Choice::Asking(found) => {
                    if let Some(popped) = self.queue.asking.pop(&found) {
                        self.note_placed(slot, &found, &popped);
                        let manager = self.managers.get_mut(slot);
                        batch.load(popped.task, manager, &mut self.tally);
                    }
                }
            }
            if is_alone {
                break;
            }
        }
    }

    /// Tells the selector whether this manager can take tasks now.
    #[inline]
    pub(super) fn index(&mut self, slot: Slot) {
        if self.has_asked && self.is_reserved_or_recalled(slot) {
            return;
        }
        let manager = self.managers.get(slot);
        if manager.is_eligible() {
            self.policy.offer(Candidate {
                slot,
                block: &manager.registration.block,
                slots: manager.site.slots,
                busy: manager.busy_slots(),
            });
        } else {
            self.policy.withdraw(slot);
        }
    }

    /// Whether a task waits that asks for something.
    #[inline]
    fn is_asking(&self) -> bool {
        self.has_asked && self.queue.asking.len() > 0
    }

    fn may_dispatch(&self) -> bool {
        self.dispatching && !self.stopping && self.leaving_until.is_none()
    }
}

/// A batch that is being put together.
struct Batch<B> {
    shipment: Shipment<B>,
    weight: usize,
    /// The monotonic clock.
    now_ns: u64,
    /// The awake clock.
    dispatched: Duration,
}

impl<B> Batch<B> {
    #[inline]
    fn takes(&self, next: &QueuedTask<B>, room: BatchRoom, live: &LiveIds) -> bool {
        self.shipment.is_empty()
            || self.weight + next.weight <= room.weight && !travels_alone(next, live)
    }

    /// From now on the task is in the manager's hands.
    #[inline(always)]
    fn load(&mut self, task: QueuedTask<B>, manager: &mut Manager<B>, tally: &mut Tally) {
        let QueuedTask {
            ticket,
            since_ns,
            body,
            weight,
            ..
        } = task;
        self.weight += weight;
        self.shipment.add(ticket.task(), body);
        let waited_ns = self.now_ns.saturating_sub(since_ns);
        tally.queued_for.add_ns(waited_ns);
        manager.in_flight.push_back(InFlight {
            ticket,
            dispatched: self.dispatched,
            link: manager.link.number,
        });
    }
}

/// Looked at for each task of a batch, so that nothing is looked up where none that travels alone
/// is live.
#[inline]
fn travels_alone<B>(task: &QueuedTask<B>, live: &LiveIds) -> bool {
    live.some_travel_alone() && live.foreign_name(task.ticket.task()).is_some()
}
