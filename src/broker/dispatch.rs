//! Which managers may get tasks, and how tasks are dispatched to them. A held, draining, suspect,
//! awaited, clogged or full manager gets nothing.
//!
//! Dispatch goes batch by batch. First the next recipient is chosen, then the transport is asked
//! whether a batch can go there, and only then do tasks leave the queue. So no task ever returns to
//! the queue.
//!
//! A manager loads a batch as a whole: a task that it cannot load ends the manager, and the whole
//! batch is lost with it. A task that may be of that kind shares no batch with others.

use journal::Record;
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
use super::ticket::InFlight;
use protocol::ManagerId;

/// Most tasks in one batch. A manager with room for more gets another batch, so that no single
/// message grows with the queue.
const BATCH_TASKS_MAX: usize = 1024;

/// The manager that gets the next batch.
#[derive(Debug, Clone)]
pub struct Recipient {
    pub(super) slot: Slot,
    /// How many slots the manager may be given before another manager may be better.
    pub(super) share: usize,
    /// The manager's identity, for the transport.
    pub id: ManagerId,
    /// The weight of the batch's first task, if that task has requirements.
    pub(super) next_weight: Option<usize>,
}

/// How much a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRoom {
    /// Most tasks; one task is sent in any case.
    pub tasks: usize,
    /// Most weight of all tasks together; a single task may exceed it.
    pub weight: usize,
}

impl<B> Manager<B> {
    #[inline]
    pub(super) fn is_eligible(&self) -> bool {
        self.free_capacity() > 0 && self.may_get_tasks()
    }

    /// Whether the manager may get tasks, regardless of its room.
    pub(super) fn may_get_tasks(&self) -> bool {
        self.is_kept() && !self.clogged && self.link.is_heard()
    }

    /// Whether the manager will get tasks again, sooner or later.
    pub(super) fn is_kept(&self) -> bool {
        !self.held && !self.draining
    }

    /// How many tasks of one slot each the manager could get. A manager with a task on several
    /// slots gets no prefetch: a worker that the task keeps idle would run the prefetched task.
    #[inline]
    pub(super) fn free_capacity(&self) -> usize {
        let most = match self.extra_slots {
            0 => self.registration.max_capacity,
            _ => self.site.slots,
        };
        (most + self.untraced).saturating_sub(self.busy_slots())
    }

    /// How many of the manager's workers are idle and have no prefetched task waiting for them.
    pub(super) fn free_workers(&self) -> usize {
        self.site.slots.saturating_sub(self.busy_slots())
    }

    pub(super) fn busy_slots(&self) -> usize {
        self.in_flight.len() + self.extra_slots
    }
}

impl<B> Broker<B> {
    /// Sets whether tasks may be dispatched.
    pub fn handle_dispatching(&mut self, allowed: bool) {
        self.dispatching = allowed;
    }

    /// Returns what [`Self::handle_dispatching`] was last called with.
    pub fn is_dispatching(&self) -> bool {
        self.dispatching
    }

    /// Notes that the manager takes messages more slowly than they are sent, or no longer does. A
    /// clogged manager gets nothing new.
    pub fn handle_clogged(&mut self, manager: &ManagerId, is_clogged: bool, now: Now) {
        self.begin_turn(now);
        if let Some(slot) = self.managers.slot_of(manager) {
            let manager = self.managers.get_mut(slot);
            manager.clogged = is_clogged;
            manager.note_state();
            self.index(slot);
        }
    }

    /// Whether a batch could be dispatched now.
    pub fn can_dispatch(&self) -> bool {
        self.may_dispatch()
            && match self.is_asking() {
                false => !self.queue.plain.is_empty() && self.policy.has_best(Among::All),
                true => self.can_place(),
            }
    }

    /// Returns the manager that gets the next batch: the selector's best. Returns None if nothing
    /// waits, if no manager has room, or if the user's selector must be asked first; the question
    /// is then among the outputs.
    pub fn next_recipient(&mut self, now: Now) -> Option<Recipient> {
        if !self.may_dispatch() {
            return None;
        }
        self.stop_waiting_if_overdue(now);
        if self.is_asking() {
            return self.next_recipient_asking(now);
        }
        let best = match self.queue.plain.is_empty() {
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

    /// Returns the weight of the first task of a recipient's batch.
    pub fn next_weight(&self, to: &Recipient) -> usize {
        let plain = || self.queue.plain.first().map(|task| task.weight);
        to.next_weight.or_else(plain).unwrap_or(0)
    }

    /// Returns the weight of the first queued task; 0 if the queue is empty.
    pub fn first_weight(&self) -> usize {
        self.queue.first().map_or(0, |task| task.weight)
    }

    /// Takes a batch out of the queue for a recipient that [`Self::next_recipient`] has just
    /// returned, as large as `room` and the manager's capacity allow. Reports about the batch are
    /// among the outputs.
    pub fn hand_out(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> Shipment<B> {
        let shipment = match self.is_asking() {
            false => self.fill(to, room, now),
            true => self.fill_asking(to, room, now),
        };
        self.tally.batches += 1;
        self.tally.tasks_dispatched += shipment.len() as u64;
        let manager = self.managers.get_mut(to.slot);
        manager.idle_since = None;
        debug!("Sent tasks: {:?} to manager {}", shipment.ids(), manager.id);
        self.index(to.slot);
        self.report(to.slot, now);
        self.tell_of_batch(to.slot, &shipment, now);
        shipment
    }

    /// Fills a batch when no queued task has requirements.
    #[inline(never)]
    fn fill(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> Shipment<B> {
        let (dispatched, now_ns) = (self.liveness.awake(now), now.monotonic_ns());
        let manager = self.managers.get_mut(to.slot);
        let count = manager
            .free_capacity()
            .min(BATCH_TASKS_MAX)
            .min(room.tasks.max(1))
            .min(to.share)
            .min(self.queue.plain.len());
        let mut shipment = Shipment::with_capacity(count);
        let mut weight = 0;
        while shipment.len() < count {
            let Some((first, next)) = self.queue.plain.look() else {
                break;
            };
            let is_alone = travels_alone(next, &self.live);
            weight += next.weight;
            if !shipment.is_empty() && (weight > room.weight || is_alone) {
                break;
            }
            self.tally
                .queued_for
                .add_ns(now_ns.saturating_sub(next.since_ns));
            let Some(QueuedTask { ticket, body, .. }) = self.queue.plain.take(first) else {
                break;
            };
            let record = match self.books.is_kept() {
                true => self
                    .books
                    .in_flight(ticket.task(), manager.order, None, now),
                false => None,
            };
            shipment.add(ticket.task(), body);
            manager.in_flight.push_back(InFlight {
                ticket,
                dispatched,
                link: manager.link.number,
                record,
            });
            if is_alone {
                break;
            }
        }
        self.queue.plain.give_back_room();
        shipment
    }

    #[inline(never)]
    fn fill_asking(&mut self, to: &Recipient, room: BatchRoom, now: Now) -> Shipment<B> {
        let slot = to.slot;
        let count = room.tasks.clamp(1, BATCH_TASKS_MAX);
        let busy = self.managers.get(slot).busy_slots();
        let mut shipment = Shipment::with_capacity(0);
        let mut weight = 0;
        while shipment.len() < count
            && self.managers.get(slot).free_capacity() > 0
            && self.managers.get(slot).busy_slots() - busy < to.share
            && let Some(choice) = self.choose(slot, now)
            && let Some(next) = self.queue.peek(&choice)
        {
            let is_alone = travels_alone(next, &self.live);
            let is_fit = weight + next.weight <= room.weight && !is_alone;
            if !shipment.is_empty() && !is_fit {
                break;
            }
            weight += next.weight;
            let Some((task, record)) = self.take_chosen(slot, &choice, now) else {
                break;
            };
            self.load(slot, &mut shipment, (task, record), now);
            if is_alone {
                break;
            }
        }
        shipment
    }

    /// Takes the chosen task out of the queue. Returns the task and, if a journal is kept, its
    /// record.
    fn take_chosen(
        &mut self,
        slot: Slot,
        choice: &Choice,
        now: Now,
    ) -> Option<(QueuedTask<B>, Option<Record>)> {
        let order = self.managers.get(slot).order;
        match choice {
            Choice::Plain => {
                let task = self.queue.plain.pop()?;
                let record = self.books.in_flight(task.ticket.task(), order, None, now);
                Some((task, record))
            }
            Choice::Asking(found) => {
                let popped = self.queue.asking.pop(found)?;
                let needs = (&*popped.demand.needs, popped.affinity.as_ref());
                let task = popped.task.ticket.task();
                let record = self.books.in_flight(task, order, Some(needs), now);
                self.note_placed(slot, found, &popped);
                Some((popped.task, record))
            }
        }
    }

    /// Adds the task to the batch and to the manager's tasks in flight.
    fn load(
        &mut self,
        slot: Slot,
        shipment: &mut Shipment<B>,
        (task, record): (QueuedTask<B>, Option<Record>),
        now: Now,
    ) {
        let dispatched = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let waited_ns = now.monotonic_ns().saturating_sub(task.since_ns);
        self.tally.queued_for.add_ns(waited_ns);
        shipment.add(task.ticket.task(), task.body);
        manager.in_flight.push_back(InFlight {
            ticket: task.ticket,
            dispatched,
            link: manager.link.number,
            record,
        });
    }

    /// Tells the selector whether this manager can take tasks now.
    #[inline]
    pub(super) fn index(&mut self, slot: Slot) {
        let manager = self.managers.get_mut(slot);
        let is_eligible = manager.is_eligible();
        let is_known = std::mem::replace(&mut manager.is_offered, is_eligible) == is_eligible;
        if !is_known || self.has_asked || self.policy.follows_load() {
            self.tell_selector(slot);
        }
    }

    fn tell_selector(&mut self, slot: Slot) {
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

    /// Whether a queued task has requirements that some manager could meet.
    #[inline]
    fn is_asking(&self) -> bool {
        self.has_asked && self.queue.asking.holdable() > 0
    }

    fn may_dispatch(&self) -> bool {
        self.dispatching && !self.stopping && self.leaving_until.is_none()
    }
}

/// Whether the task must be alone in its batch. Called for each task of a batch, so the lookup is
/// skipped while no live task must travel alone.
#[inline]
fn travels_alone<B>(task: &QueuedTask<B>, live: &LiveIds) -> bool {
    live.some_travel_alone() && live.foreign_name(task.ticket.task()).is_some()
}
