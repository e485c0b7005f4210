//! Tasks that wait for a manager which is not here: what they ask for, and what there is.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use tracing::warn;

use super::Broker;
use super::classes::Class;
use super::demand::{Demand, Fit, Room};
use super::kinds::{ClassName, NOBODY};
use super::looks::LookFor;
use super::manager::Manager;
use super::now::Now;
use super::slot::Slot;
use protocol::ManagerId;

/// A block that comes a moment later must not be missed.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(1);
/// Time alone ends what a manager can hold.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// In one look, so many kinds are told of; status tells of all.
const TOLD_MAX: usize = 10;
/// Seen from outside, so many kinds stand one by one.
const SHOWN_MAX: usize = 100;
/// In one look, managers are compared with classes of tasks so many times.
const COMPARISONS_MAX: usize = 200_000;

/// Tasks that no manager can hold, whatever else it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    /// How many.
    pub tasks: usize,
    /// What they ask for. Empty if that is an affinity alone.
    pub needs: String,
    /// Why there is none.
    pub lack: Lack,
}

/// Why no manager can hold a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Lack {
    /// There is none that gets tasks.
    Managers,
    /// No node is of the kind that is asked for.
    Node,
    /// Of those whose node is, none has so many slots.
    Slots {
        /// How many it takes on the manager that comes nearest: a slot's share differs.
        needed: usize,
        /// How many that one has.
        largest: usize,
    },
    /// Of those that have them, none lasts for so long.
    Time {
        /// For how long the one does that lasts longest.
        longest_s: f64,
    },
    /// Tasks of its affinity run on this one, which cannot hold it.
    Affinity(ManagerId),
}

/// For the log: `12 tasks need 8 slots on one manager; the largest has 4. They ask for …`.
impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_or_all = |one: &'static str, all: &'static str| match self.tasks {
            1 => one,
            _ => all,
        };
        let (need, them) = (one_or_all("needs", "need"), one_or_all("it", "them"));
        write!(f, "{} {} ", self.tasks, one_or_all("task", "tasks"))?;
        match &self.lack {
            Lack::Managers => write!(f, "{need} a manager; none gets tasks"),
            Lack::Node => write!(f, "{need} a node that no manager is on"),
            Lack::Slots { needed, largest } => {
                let slots = if *needed == 1 { "slot" } else { "slots" };
                write!(
                    f,
                    "{need} {needed} {slots} on one manager; the largest has {largest}"
                )
            }
            Lack::Time { longest_s } => write!(
                f,
                "{need} more time than any manager has left; the longest is {longest_s:.0} s"
            ),
            Lack::Affinity(manager) => write!(
                f,
                "{need} manager {manager}, which runs others of the same affinity and cannot hold \
                 {them}"
            ),
        }?;
        write!(f, ". {} ", one_or_all("It", "They"))?;
        if !self.needs.is_empty() {
            write!(f, "{} for {}, and ", one_or_all("asks", "ask"), self.needs)?;
        }
        let wait = one_or_all("waits", "wait");
        match &self.lack {
            Lack::Affinity(_) => write!(f, "{wait} until that manager is held or goes"),
            Lack::Managers | Lack::Node | Lack::Slots { .. } | Lack::Time { .. } => {
                write!(f, "{wait} for a block whose managers can hold {them}")
            }
        }
    }
}

impl<B> Broker<B> {
    /// Tasks that wait, and that no manager here can hold.
    pub(super) fn unmet(&self, now: Now) -> Vec<Unmet> {
        let unmet = self.unmet_among(self.queue.asking.all_classes(), now);
        summed_up(unmet.into_iter().map(|(_, unmet)| unmet).collect())
    }

    /// Has the log say soon what waits in vain.
    pub(super) fn look_for_unmet(&mut self, now: Now) {
        if self.queue.asking.len() > 0 {
            let soon = now.monotonic.saturating_add(FIRST_LOOK_AFTER);
            self.looks.advance(LookFor::Unmet, soon);
        }
    }

    pub(super) fn tell_unmet_when_due(&mut self, now: Now) {
        if !self.looks.is_due(LookFor::Unmet, now.monotonic) {
            return;
        }
        let is_asking = self.queue.asking.len() > 0;
        let next = now.monotonic.saturating_add(LOOK_EVERY);
        self.looks.set(LookFor::Unmet, is_asking.then_some(next));
        let asking = &self.queue.asking;
        let is_news = |name: &ClassName| {
            let is_told = asking.find(*name).is_some_and(|class| class.is_told);
            name.home.is_none() || !is_told
        };
        let unmet = self.unmet_among(asking.all_classes().filter(is_news), now);
        // While nobody gets tasks blocks are on their way as a rule, and what those will lack is
        // not known.
        let lacking = |(_, unmet): &(ClassName, Unmet)| unmet.lack != Lack::Managers;
        let mut left_to_tell = TOLD_MAX;
        for (name, unmet) in unmet.into_iter().filter(lacking) {
            if let Some(class) = self.queue.asking.find_mut(name)
                && !class.is_told
                && left_to_tell > 0
            {
                left_to_tell -= 1;
                class.is_told = true;
                warn!("{unmet}");
            }
            if name.home.is_none() {
                self.queue.asking.move_class(name, Some(NOBODY));
            }
        }
    }

    /// Whether some manager could hold tasks of this class. If there are managers and none could,
    /// nobody looks at them until another one registers.
    pub(super) fn keep_if_holdable(&mut self, name: ClassName, now: Now) -> bool {
        let class = self.queue.asking.find(name);
        let lack = class.and_then(|class| self.lack(name, class.demand(), &Look::new(now)));
        let is_holdable = lack.is_none_or(|lack| lack == Lack::Managers);
        if !is_holdable && name.home.is_none() {
            self.queue.asking.move_class(name, Some(NOBODY));
        }
        is_holdable
    }

    /// A manager has registered that may hold what nobody could.
    pub(super) fn offer_unmet_to(&mut self, slot: Slot, now: Now) {
        let asking = &self.queue.asking;
        let room = Room::of(self.managers.get(slot), now);
        let fits = |name: &ClassName| {
            let class = asking.find(*name);
            class.is_some_and(|class| class.fit(&room) != Fit::Never)
        };
        let names: Vec<ClassName> = asking.of_nobody().filter(fits).collect();
        for name in &names {
            self.queue.asking.move_class(*name, None);
        }
        if !names.is_empty() {
            self.recall();
        }
    }

    /// Of very many, the first are looked at.
    fn unmet_among(
        &self,
        names: impl Iterator<Item = ClassName>,
        now: Now,
    ) -> Vec<(ClassName, Unmet)> {
        let look = Look::new(now);
        let names = names.take_while(|_| !look.is_over());
        let unmet = names.filter_map(|name| {
            let class = self.queue.asking.find(name)?;
            Some((name, self.unmet_class(name, class, &look)?))
        });
        unmet.collect()
    }

    fn unmet_class(&self, name: ClassName, class: &Class, look: &Look) -> Option<Unmet> {
        let lack = self.lack(name, class.demand(), look)?;
        Some(Unmet {
            tasks: class.tasks,
            needs: class.demand().needs.to_string(),
            lack,
        })
    }

    /// None if a manager can hold it.
    fn lack(&self, name: ClassName, demand: &Demand, look: &Look) -> Option<Lack> {
        let (now, amounts) = (look.now, &demand.amounts);
        let can_hold = |it: &Manager<B>| {
            look.note_comparison();
            Room::of(it, now).fit(demand) != Fit::Never
        };
        if let Some(slot) = name.home.filter(|slot| *slot != NOBODY) {
            let manager = self.managers.find(slot)?;
            return (!can_hold(manager)).then(|| Lack::Affinity(manager.id.clone()));
        }
        let managers = || {
            let all = self.managers.iter().map(|(_, manager)| manager);
            all.filter(|manager| manager.is_kept())
        };
        if managers().any(can_hold) {
            return None;
        }
        let nodes = || managers().filter(|it| demand.accepts(&it.registration));
        let slots = |it: &Manager<B>| amounts.slots_on(&it.site);
        let mut large = nodes().filter(|it| slots(it) <= it.site.slots).peekable();
        let lack = if large.peek().is_some() {
            let left_s = large.map(|it| Room::of(it, now).left_s());
            let longest_s = left_s.fold(0.0, f64::max);
            Lack::Time { longest_s }
        } else if let Some(nearest) = nodes().min_by_key(|it| slots(it) - it.site.slots) {
            Lack::Slots {
                needed: slots(nearest),
                largest: nearest.site.slots,
            }
        } else if managers().next().is_some() {
            Lack::Node
        } else {
            Lack::Managers
        };
        Some(lack)
    }
}

/// Of very many kinds, those of most tasks are shown one by one, and the others by what they lack.
fn summed_up(mut unmet: Vec<Unmet>) -> Vec<Unmet> {
    if unmet.len() <= SHOWN_MAX {
        return unmet;
    }
    unmet.sort_by_key(|it| std::cmp::Reverse(it.tasks));
    let mut others: Vec<(usize, Unmet)> = Vec::new();
    for it in unmet.drain(SHOWN_MAX..) {
        let is_alike =
            |other: &Unmet| std::mem::discriminant(&other.lack) == std::mem::discriminant(&it.lack);
        match others.iter_mut().find(|(_, other)| is_alike(other)) {
            Some((kinds, other)) => {
                *kinds += 1;
                other.tasks += it.tasks;
            }
            None => others.push((1, it)),
        }
    }
    unmet.extend(others.into_iter().map(|(kinds, other)| match kinds {
        1 => other,
        _ => Unmet {
            needs: format!("{}, and of {} other kinds", other.needs, kinds - 1),
            ..other
        },
    }));
    unmet
}

/// One look at what waits, which must not hold up the tasks.
struct Look {
    now: Now,
    comparisons: Cell<usize>,
}

impl Look {
    fn new(now: Now) -> Self {
        let comparisons = Cell::new(0);
        Self { now, comparisons }
    }

    fn note_comparison(&self) {
        self.comparisons.update(|count| count + 1);
    }

    fn is_over(&self) -> bool {
        self.comparisons.get() >= COMPARISONS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tasks: usize, needs: &str, lack: Lack) -> String {
        let needs = needs.to_owned();
        Unmet { tasks, needs, lack }.to_string()
    }

    #[test]
    fn one_or_many_that_ask_for_something_or_an_affinity_alone() {
        let slots = Lack::Slots {
            needed: 8,
            largest: 4,
        };
        assert_eq!(
            told(12, "8 cores", slots),
            "12 tasks need 8 slots on one manager; the largest has 4. They ask for 8 cores, and \
             wait for a block whose managers can hold them"
        );
        assert_eq!(
            told(1, "600 s left", Lack::Time { longest_s: 59.6 }),
            "1 task needs more time than any manager has left; the longest is 60 s. It asks for \
             600 s left, and waits for a block whose managers can hold it"
        );
        assert_eq!(
            told(2, "", Lack::Affinity(ManagerId::new(b"ab12"))),
            "2 tasks need manager b'ab12', which runs others of the same affinity and cannot hold \
             them. They wait until that manager is held or goes"
        );
    }

    #[test]
    fn of_very_many_kinds_the_small_ones_are_summed_up() {
        let kind = |number: usize| Unmet {
            tasks: 1 + number % 7,
            needs: format!("host n{number}"),
            lack: match number % 2 {
                0 => Lack::Node,
                _ => Lack::Time { longest_s: 1.0 },
            },
        };
        let few: Vec<Unmet> = (0..SHOWN_MAX).map(kind).collect();
        assert_eq!(summed_up(few.clone()), few);
        let many: Vec<Unmet> = (0..SHOWN_MAX * 10).map(kind).collect();
        let shown = summed_up(many.clone());
        assert_eq!(shown.len(), SHOWN_MAX + 2);
        let tasks = |unmet: &[Unmet]| unmet.iter().map(|it| it.tasks).sum::<usize>();
        assert_eq!(tasks(&shown), tasks(&many));
        assert!(shown[SHOWN_MAX].needs.ends_with("and of 449 other kinds"));
    }
}
