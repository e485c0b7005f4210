//! Tasks that ask for something of their manager: who gets the next one, and a reservation for the
//! one that would wait for ever.
//!
//! A manager gets the first task in order that fits it, however many before it do not. So a task
//! that needs much is passed by small ones without end. After [`PATIENCE`] it gets a manager that
//! can hold it reserved, one in the whole run: that one gets nothing which stands behind the task,
//! runs empty, and takes it; if that takes long, another one is tried, each for twice as long. A
//! task that some manager can hold therefore waits, from its turn on, for the patience and for what
//! is in flight where it goes, and reservations for tasks before it are served before its own.
//!
//! A manager with room for which nothing is fit stands aside until it, or what waits, is another.

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

/// So long a manager may take to run empty before another one is tried; twice as long after each
/// try. A task that runs for days must not hold up what could go elsewhere in a moment.
const FIRST_TRY_TAKES: Duration = Duration::from_secs(10);
/// So many managers that have run a type are looked at for room.
const WARM_MANAGERS_MAX: usize = 16;

/// Which managers have run a type of task lately.
pub(super) type WarmManagers = HashMap<Rc<str>, BTreeSet<Slot>, foldhash::fast::RandomState>;

/// One manager is let run empty for the first task of one class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservation {
    pub(super) class: ClassName,
    pub(super) slot: Slot,
    /// Something may fit there that did not when it was looked at.
    pub(super) has_news: bool,
    /// Monotonic clock.
    pub(super) since: Duration,
    /// Then another manager is let run empty: monotonic clock.
    until: Duration,
    tries: u32,
}

impl<B> Broker<B> {
    /// A task waits from now on. It, or one before it, asks for something.
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
                // It fits whoever stands aside; a selector of ours has these in its other list.
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

    /// From now on managers may stand aside.
    pub(super) fn begin_to_set_aside(&mut self) {
        if self.has_asked && self.policy.begin_to_set_aside() {
            let slots: Vec<Slot> = self.managers.iter().map(|(slot, _)| slot).collect();
            slots.into_iter().for_each(|slot| self.index(slot));
        }
    }

    /// As [`Self::next_recipient`], where tasks ask for something.
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

    /// Whether a task could go to somebody, where tasks ask for something.
    pub(super) fn can_place(&self) -> bool {
        let among = self.among();
        self.reservation.is_some_and(|held| held.has_news)
            || self.policy.has_best(among)
            || among == Among::Hopeful && !self.aside.begun().is_empty()
    }

    /// What the manager gets next, if anything fits; who is passed by for it is noted.
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

    /// The task goes into the manager's hands.
    pub(super) fn note_placed(&mut self, slot: Slot, found: &Found, popped: &Popped<B>) {
        let (task, demand) = (popped.task.ticket.task(), &popped.demand);
        self.keep_place(slot, task, demand, popped.affinity.clone(), found.slots);
        if let Some(affinity) = &popped.affinity {
            self.affinities.dispatched(affinity, slot);
            self.queue.asking.bind(affinity, slot);
            // The first task that a manager is reserved for may be among those that are bound now.
            self.note_news_for_reserved();
        }
        if let Some(held) = self.reservation
            && (held.class == found.class || self.queue.asking.find(held.class).is_none())
        {
            self.end_reservation();
        }
    }

    /// So many of the manager's slots are the task's, and its type is warm there.
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

    /// The task is not in the manager's hands any more.
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

    /// A task must not wait for a manager that can never hold it for the sake of others that are
    /// done: all tasks of its affinity go to another one then.
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

    /// The manager is to get nothing more: what only it could get goes to others.
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

    /// Kinds that are to have another home go there, as many as a turn may move.
    pub(super) fn move_kinds(&mut self, now: Now) {
        if self.queue.asking.move_some(now.monotonic) {
            self.recall();
        }
        let is_left = self.queue.asking.are_moving();
        self.looks
            .set(LookFor::Moves, is_left.then_some(now.monotonic));
    }

    /// The registration has ended.
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

    /// A manager has registered; or the same process goes on under another registration.
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

    /// Whoever stands aside is looked at again.
    pub(super) fn recall(&mut self) {
        for slot in self.aside.take() {
            self.index(slot);
        }
        self.note_news_for_reserved();
    }

    /// Tasks wait that may fit those who stand aside.
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

    /// The selector's best, and its share. While a task waits that fits anywhere, that is of all;
    /// else of those that do not stand aside, or whom a class fits that began since they do.
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

    /// Whether a class that has begun fits somebody who stands aside. Those that fit nobody there
    /// have been compared with everybody.
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

    /// Before the selector is told of a manager: it stands aside no longer. Whether it is reserved,
    /// so that the selector must not know of it.
    pub(super) fn is_reserved_or_recalled(&mut self, slot: Slot) -> bool {
        self.aside.remove(slot);
        let Some(held) = self.reservation.as_mut().filter(|held| held.slot == slot) else {
            return false;
        };
        held.has_news = true;
        self.policy.withdraw(slot);
        true
    }

    /// What came may stand before the task that a manager is reserved for.
    #[inline]
    pub(super) fn note_news_for_reserved(&mut self) {
        if let Some(held) = &mut self.reservation {
            held.has_news = true;
        }
    }

    /// It is as if it had no room until something changes.
    fn set_aside(&mut self, slot: Slot) {
        // Who has been reserved just now is known to no selector.
        if self.reservation.is_none_or(|held| held.slot != slot) {
            let extent = Extent::of(self.managers.get(slot));
            self.aside.insert(slot, extent);
            self.policy.set_aside(slot);
        }
    }

    /// Of those that are asked whether something fits them.
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

    /// A task of a type goes to a manager that has run it, if one of these has room.
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

    /// For how long others have gone before the first task of this class.
    fn note_passed(&mut self, class: ClassName, now: Now) -> Duration {
        let class = self.queue.asking.find_mut(class);
        let since = class.map(|class| *class.passed_since.get_or_insert(now.monotonic));
        since.map_or(Duration::ZERO, |since| now.monotonic.saturating_sub(since))
    }

    /// The manager that lacks the fewest slots for the class is reserved for it, unless one has
    /// room already. `last`: that one was tried in vain.
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

    /// The reserved manager, if something may fit it; a reservation that serves nobody ends.
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

/// The manager has run the type. (Not of the broker: its records are being looked at.)
fn note_warm(warm: &mut WarmManagers, slot: Slot, task_type: &Rc<str>) {
    warm.entry(Rc::clone(task_type)).or_default().insert(slot);
}
