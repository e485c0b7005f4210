//! Tasks with requirements: which manager gets the next task, and a reservation for a task that
//! would otherwise wait for ever.
//!
//! A manager gets the first task in order that fits it, however many before it do not fit. So small
//! tasks could pass a task with large requirements without end. After [`PATIENCE`], a manager that
//! can hold the large task is reserved for it; there is one reservation in the whole run. The
//! reserved manager gets nothing that is queued behind the task, runs empty, and takes the task. If
//! that takes long, another manager is tried, each for twice as long as the one before. So, once a
//! task that some manager can hold is first in order, it waits for the patience and for what is in
//! flight on its manager. Reservations for tasks before it are served first.
//!
//! A manager that has room, but that no queued task fits, is set aside until the manager or the
//! queue changes.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::Broker;
use super::demand::{Demand, Extent, Fit, Room};
use super::dispatch::Recipient;
use super::kinds::{Choice, ClassName, Found, PATIENCE, Popped};
use super::lane::QueuedTask;
use super::looks::LookFor;
use super::manager::Manager;
use super::now::Now;
use super::policy::Among;
use super::slot::Slot;
use protocol::{Affinity, Needs, TaskId};

/// How long the first reserved manager may take to run empty before another one is tried. The time
/// doubles with each try. A task that runs for days must not block one that could soon run
/// elsewhere.
const FIRST_TRY_TAKES: Duration = Duration::from_secs(10);
/// How many managers that have run a type are checked for room.
const WARM_MANAGERS_MAX: usize = 16;

/// Which managers have run a type of task lately.
pub(super) type WarmManagers = HashMap<Rc<str>, BTreeSet<Slot>, foldhash::fast::RandomState>;

/// One manager that runs empty for the first task of one class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservation {
    pub(super) class: ClassName,
    pub(super) slot: Slot,
    /// Whether something may fit the manager that did not fit at the last check.
    pub(super) has_news: bool,
    /// Start of the reservation (monotonic clock).
    pub(super) since: Duration,
    /// When another manager is tried instead (monotonic clock).
    until: Duration,
    tries: u32,
}

impl<B> Broker<B> {
    /// Queues a task when that task, or one before it, has requirements.
    #[inline(never)]
    pub(super) fn queue_where_some_ask(
        &mut self,
        task: QueuedTask<B>,
        needs: Option<Box<Needs>>,
        now: Now,
    ) {
        match needs {
            Some(needs) => self.queue_asking(task, *needs, now),
            None => {
                // The task fits every manager that is set aside. A selector of this interchange
                // also lists those.
                let is_first = self.queue.plain.is_empty();
                if is_first && !self.aside.is_empty() && self.policy.is_asked() {
                    self.recall();
                }
                self.queue.plain.push(task);
            }
        }
        self.note_news_for_reserved();
    }

    fn queue_asking(&mut self, task: QueuedTask<B>, needs: Needs, now: Now) {
        self.has_asked = true;
        self.begin_to_set_aside();
        let home = needs.affinity.as_ref().and_then(|affinity| {
            let known = self.affinities.bound_to(affinity);
            let is_here = |slot: &Slot| self.managers.find(*slot).is_some_and(Manager::is_kept);
            let queued = self.queue.asking.home_of(affinity);
            known.or(queued).filter(is_here)
        });
        let routing = self.settings.placement.routing;
        let affinity = needs.affinity.clone();
        if let Some(class) = self.queue.asking.push(task, needs, routing, home) {
            if self.keep_if_holdable(class, now) {
                self.begin_class(class, now);
            }
            self.look_for_unmet(now);
        }
        if let Some((affinity, slot)) = affinity.zip(home) {
            self.unbind_if_in_vain(&affinity, slot, now);
        }
    }

    /// Starts setting managers aside, once a task has had requirements.
    pub(super) fn begin_to_set_aside(&mut self) {
        if self.has_asked && self.policy.begin_to_set_aside() {
            let slots: Vec<Slot> = self.managers.iter().map(|(slot, _)| slot).collect();
            slots.into_iter().for_each(|slot| self.index(slot));
        }
    }

    /// Like [`Self::next_recipient`], for a queue with tasks that have requirements.
    #[inline(never)]
    pub(super) fn next_recipient_asking(&mut self, now: Now) -> Option<Recipient> {
        loop {
            if let Some(slot) = self.reserved(now) {
                match self.choose(slot, now) {
                    Some(choice) => return Some(self.recipient(slot, &choice, 1)),
                    None => self.note_no_news(),
                }
            }
            let Some((slot, share)) = self.best(now) else {
                self.ask_if_needed(now);
                return None;
            };
            match self.choose(slot, now) {
                Some(choice) => {
                    let warm = self.warm_manager(&choice, slot, now);
                    let slot = warm.unwrap_or(slot);
                    return Some(self.recipient(slot, &choice, share));
                }
                None => self.set_aside(slot),
            }
        }
    }

    /// Whether a task could be dispatched, for a queue with tasks that have requirements.
    pub(super) fn can_place(&self) -> bool {
        let among = self.among();
        self.reservation.is_some_and(|held| held.has_news)
            || self.policy.has_best(among)
            || among == Among::Hopeful && !self.aside.begun().is_empty()
    }

    /// Returns what the manager gets next, if anything fits. Records which classes were passed
    /// over.
    pub(super) fn choose(&mut self, slot: Slot, now: Now) -> Option<Choice> {
        let room = Room::of(self.managers.get(slot), now);
        let held = self.reservation.filter(|held| held.slot == slot);
        let until = held.map(|held| held.class);
        let walk = self.queue.walk((slot, &room), until, now.monotonic);
        if let Some(class) = walk.deferred {
            self.note_passed(class, now);
        }
        if let Some(class) = walk.blocked
            && self.note_passed(class, now) >= PATIENCE
            && self.reservation.is_none()
        {
            self.reserve(class, None, now);
            if self.reservation.is_some_and(|held| held.slot == slot) {
                return self.choose(slot, now);
            }
        }
        walk.choice
    }

    /// Records that a task is dispatched to the manager.
    pub(super) fn note_placed(&mut self, slot: Slot, found: &Found, popped: &Popped<B>) {
        let (task, demand) = (popped.task.ticket.task(), &popped.demand);
        self.keep_place(slot, task, demand, popped.affinity.clone(), found.slots);
        if let Some(affinity) = &popped.affinity {
            self.affinities.dispatched(affinity, slot);
            self.queue.asking.bind(affinity, slot);
            // The first task that a manager is reserved for may be among the tasks just bound.
            self.note_news_for_reserved();
        }
        if let Some(held) = self.reservation
            && (held.class == found.class || self.queue.asking.find(held.class).is_none())
        {
            self.end_reservation();
        }
    }

    /// Records that the task takes this many slots of the manager, and that its type is warm there.
    pub(super) fn keep_place(
        &mut self,
        slot: Slot,
        task: TaskId,
        demand: &Rc<Demand>,
        affinity: Option<Affinity>,
        slots: usize,
    ) {
        let manager = self.managers.get_mut(slot);
        let placed = manager.placed.get_or_insert_default();
        let cooled = placed.add(task, demand, affinity, slots);
        manager.extra_slots = placed.extra_slots();
        if let Some(task_type) = &demand.task_type {
            note_warm(&mut self.warm, slot, task_type);
        }
        if let Some(task_type) = cooled {
            self.note_cold(slot, &task_type);
        }
    }

    /// Records that the manager no longer holds the task.
    pub(super) fn note_taken_back(&mut self, slot: Slot, task: TaskId, now: Now) {
        let manager = self.managers.get_mut(slot);
        let Some(placed) = &mut manager.placed else {
            return;
        };
        let affinity = placed.remove(task);
        manager.extra_slots = placed.extra_slots();
        if let Some(affinity) = affinity {
            self.affinities.done(&affinity, slot);
            self.unbind_if_in_vain(&affinity, slot, now);
        }
    }

    /// Unbinds an affinity whose manager can never hold a queued task, once no task of the affinity
    /// is in flight there. All tasks of the affinity may then go to another manager.
    fn unbind_if_in_vain(&mut self, affinity: &Affinity, slot: Slot, now: Now) {
        if self.affinities.is_in_flight(affinity)
            || self.queue.asking.home_of(affinity) != Some(slot)
        {
            return;
        }
        let room = Room::of(self.managers.get(slot), now);
        if self.queue.asking.is_in_vain(affinity, &room) {
            self.affinities.unbind(affinity);
            self.queue.asking.unbind(affinity);
            self.recall();
            self.look_for_unmet(now);
        }
    }

    /// Lets other managers get the tasks that were bound to this manager, which gets no more tasks.
    pub(super) fn release_bound(&mut self, slot: Slot, now: Now) {
        if self.queue.asking.release(slot) {
            self.move_kinds(now);
        }
        self.look_for_unmet(now);
    }

    pub(super) fn move_kinds_when_due(&mut self, now: Now) {
        if self.looks.is_due(LookFor::Moves, now.monotonic) {
            self.move_kinds(now);
        }
    }

    /// Moves kinds to their new home, as many as one turn may move.
    pub(super) fn move_kinds(&mut self, now: Now) {
        if self.queue.asking.move_some(now.monotonic) {
            self.recall();
        }
        let is_left = self.queue.asking.are_moving();
        self.looks
            .set(LookFor::Moves, is_left.then_some(now.monotonic));
    }

    /// Forgets a manager's placement when its registration has ended.
    pub(super) fn forget_placement(&mut self, slot: Slot, manager: &Manager<B>, now: Now) {
        self.aside.remove(slot);
        for task_type in manager.placed.iter().flat_map(|placed| placed.warm()) {
            self.note_cold(slot, task_type);
        }
        for affinity in manager.placed.iter().flat_map(|placed| placed.affinities()) {
            self.affinities.done(affinity, slot);
        }
        if self.reservation.is_some_and(|held| held.slot == slot) {
            self.reservation = None;
        }
        self.release_bound(slot, now);
    }

    /// Starts placement for a manager that has registered. `before` is its earlier slot, if the
    /// same process has registered again.
    pub(super) fn begin_placement(&mut self, before: Option<Slot>, slot: Slot, now: Now) {
        if let Some(before) = before {
            self.keep_placement(before, slot);
        }
        self.offer_unmet_to(slot, now);
    }

    fn keep_placement(&mut self, before: Slot, slot: Slot) {
        let Some(placed) = self.managers.get(slot).placed.as_deref() else {
            return;
        };
        for task_type in placed.warm() {
            note_warm(&mut self.warm, slot, task_type);
        }
        for affinity in self.affinities.rebind(before, slot) {
            self.queue.asking.bind(&affinity, slot);
        }
        for affinity in placed.affinities() {
            self.affinities.dispatched(affinity, slot);
        }
        self.note_news_for_reserved();
    }

    /// Offers all managers that were set aside to the selector again.
    pub(super) fn recall(&mut self) {
        for slot in self.aside.take() {
            self.index(slot);
        }
        self.note_news_for_reserved();
    }

    /// Offers a new class to the managers that are set aside and that it may fit.
    fn begin_class(&mut self, name: ClassName, now: Now) {
        if let Some(home) = name.home {
            if self.aside.contains(home) {
                self.index(home);
            }
        } else if self.policy.is_asked() {
            let fitting: Vec<Slot> = self.fitting_aside(name, now).collect();
            fitting.into_iter().for_each(|slot| self.index(slot));
        } else if !self.aside.begin(name) {
            self.recall();
        }
    }

    /// Returns the selector's best manager and its share. If a task without requirements waits, all
    /// managers count. Otherwise only those that are not set aside, or that a new class fits,
    /// count.
    fn best(&mut self, now: Now) -> Option<(Slot, usize)> {
        let among = self.among();
        if among == Among::Hopeful && self.has_begun_for_some(now) {
            let (managers, asking, aside) = (&self.managers, &self.queue.asking, &self.aside);
            let fits = |slot: Slot| {
                let room = Room::of(managers.get(slot), now);
                let mut begun = aside.begun().iter().filter_map(|name| asking.find(*name));
                begun.any(|class| matches!(class.fit(&room), Fit::Now(_)))
            };
            return self
                .policy
                .best_of(|slot| !aside.contains(slot) || fits(slot));
        }
        let slot = self.policy.best(now, among)?;
        Some((slot, self.policy.share(among)))
    }

    /// Whether a new class fits some manager that is set aside. Classes that fit none are dropped
    /// from the list, because they have been compared with all of them.
    fn has_begun_for_some(&mut self, now: Now) -> bool {
        while let Some(name) = self.aside.begun().last() {
            if self.fitting_aside(*name, now).next().is_some() {
                return true;
            }
            self.aside.end_last();
        }
        false
    }

    fn fitting_aside(&self, name: ClassName, now: Now) -> impl Iterator<Item = Slot> {
        let class = self.queue.asking.find(name);
        let room = move |slot: &Slot| Room::of(self.managers.get(*slot), now);
        class.into_iter().flat_map(move |class| {
            let has_room = move |alike: &&BTreeSet<Slot>| {
                let one = alike.first();
                one.is_some_and(|one| room(one).has_room_for(&class.demand().amounts))
            };
            let large = self.aside.alike().filter(has_room).flatten().copied();
            large.filter(move |slot| matches!(class.fit(&room(slot)), Fit::Now(_)))
        })
    }

    /// Removes a manager from those set aside, before the selector is updated. Returns whether the
    /// manager is reserved, in which case the selector must not know of it.
    pub(super) fn is_reserved_or_recalled(&mut self, slot: Slot) -> bool {
        self.aside.remove(slot);
        let Some(held) = self.reservation.as_mut().filter(|held| held.slot == slot) else {
            return false;
        };
        held.has_news = true;
        self.policy.withdraw(slot);
        true
    }

    /// Notes that a new task may come before the one that a manager is reserved for.
    #[inline]
    pub(super) fn note_news_for_reserved(&mut self) {
        if let Some(held) = &mut self.reservation {
            held.has_news = true;
        }
    }

    /// Treats the manager as if it had no room until something changes.
    fn set_aside(&mut self, slot: Slot) {
        // A manager that was reserved just now is already withdrawn from the selectors.
        if self.reservation.is_none_or(|held| held.slot != slot) {
            let extent = Extent::of(self.managers.get(slot));
            self.aside.insert(slot, extent);
            self.policy.set_aside(slot);
        }
    }

    /// Returns which managers to choose from.
    fn among(&self) -> Among {
        match self.queue.plain.is_empty() {
            true => Among::Hopeful,
            false => Among::All,
        }
    }

    fn recipient(&self, slot: Slot, choice: &Choice, share: usize) -> Recipient {
        let next = self.queue.peek(choice);
        Recipient {
            slot,
            share,
            id: self.managers.get(slot).id.clone(),
            next_weight: next.map(|task| task.weight),
        }
    }

    /// Returns a manager that has run the task's type and has room, to get the task instead.
    fn warm_manager(&self, choice: &Choice, slot: Slot, now: Now) -> Option<Slot> {
        let Choice::Asking(found) = choice else {
            return None;
        };
        let class = self.queue.asking.find(found.class)?;
        let task_type = class.task_type()?;
        let is_warm = |manager: &Manager<B>| {
            let placed = manager.placed.as_deref();
            placed.is_some_and(|placed| placed.is_warm(task_type))
        };
        if is_warm(self.managers.get(slot)) || found.class.home.is_some() {
            return None;
        }
        let warm = self.warm.get(task_type)?.iter().copied();
        let held = self.reservation.map(|held| held.slot);
        let mut others = warm
            .filter(|slot| Some(*slot) != held)
            .take(WARM_MANAGERS_MAX);
        others.find(|slot| {
            let manager = self.managers.get(*slot);
            let fit = || class.fit(&Room::of(manager, now));
            manager.is_eligible() && matches!(fit(), Fit::Now(_))
        })
    }

    fn note_cold(&mut self, slot: Slot, task_type: &Rc<str>) {
        if let Some(warm) = self.warm.get_mut(task_type) {
            warm.remove(&slot);
            if warm.is_empty() {
                self.warm.remove(task_type);
            }
        }
    }

    /// Notes that later tasks are dispatched before the first task of this class. Returns for how
    /// long that has been so.
    fn note_passed(&mut self, class: ClassName, now: Now) -> Duration {
        let class = self.queue.asking.find_mut(class);
        let since = class.map(|class| *class.passed_since.get_or_insert(now.monotonic));
        since.map_or(Duration::ZERO, |since| now.monotonic.saturating_sub(since))
    }

    /// Reserves the manager that lacks the fewest slots for the class, unless some manager has room
    /// already. `last` is an earlier reservation that did not succeed; its manager is tried last.
    fn reserve(&mut self, name: ClassName, last: Option<Reservation>, now: Now) {
        let Some(class) = self.queue.asking.find(name) else {
            return;
        };
        let is_home = |slot: Slot| name.home.is_none_or(|home| home == slot);
        let candidates = self.managers.iter();
        let candidates = candidates.filter(|(slot, it)| it.may_get_tasks() && is_home(*slot));
        let mut best = None;
        for (slot, manager) in candidates {
            let room = Room::of(manager, now);
            match class.fit(&room) {
                Fit::Now(_) => return,
                Fit::Later => {
                    let was_tried = last.is_some_and(|last| last.slot == slot);
                    let rank = (was_tried, room.lacks(&class.demand().amounts), slot);
                    best = Some(best.map_or(rank, |best: (bool, usize, Slot)| best.min(rank)));
                }
                Fit::Never => {}
            }
        }
        if let Some((_, _, slot)) = best {
            let tries = last.map_or(0, |last| last.tries.saturating_add(1));
            let takes =
                FIRST_TRY_TAKES.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX));
            self.reservation = Some(Reservation {
                class: name,
                slot,
                has_news: true,
                since: now.monotonic,
                until: now.monotonic.saturating_add(takes),
                tries,
            });
            self.aside.remove(slot);
            self.policy.withdraw(slot);
        }
    }

    /// Returns the reserved manager, if something may fit it. Ends a reservation that is no longer
    /// useful.
    fn reserved(&mut self, now: Now) -> Option<Slot> {
        let mut held = self.reservation?;
        if held.until <= now.monotonic {
            self.end_reservation();
            self.reserve(held.class, Some(held), now);
            held = self.reservation?;
        }
        let class = self.queue.asking.find(held.class);
        let manager = self.managers.find(held.slot);
        let serves = class.zip(manager).filter(|(class, manager)| {
            manager.may_get_tasks() && class.fit(&Room::of(manager, now)) != Fit::Never
        });
        let Some((_, manager)) = serves else {
            self.end_reservation();
            return None;
        };
        let has_news = held.has_news && manager.is_eligible();
        self.reservation = Some(Reservation { has_news, ..held });
        has_news.then_some(held.slot)
    }

    fn note_no_news(&mut self) {
        if let Some(held) = &mut self.reservation {
            held.has_news = false;
        }
    }

    fn end_reservation(&mut self) {
        if let Some(held) = self.reservation.take()
            && self.managers.find(held.slot).is_some()
        {
            self.index(held.slot);
        }
    }
}

/// Records that the manager has run the type. A free function, because callers borrow other parts
/// of the broker.
fn note_warm(warm: &mut WarmManagers, slot: Slot, task_type: &Rc<str>) {
    warm.entry(Rc::clone(task_type)).or_default().insert(slot);
}
