//! Tasks that wait for a manager which is not here: what they ask for, and what there is.

use std::cell::Cell;
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::Broker;
use super::demand::{Demand, Fit, Missing, Room};
use super::kinds::{ClassName, nobody};
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
/// Of classes that are known to wait in vain, so many are looked at.
const LOOKED_AT_MAX: usize = 10_000;

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
        // While nobody gets tasks blocks are on their way as a rule, and what those will lack is
        // not known.
        if self.kept().next().is_none() {
            return;
        }
        let asking = &self.queue.asking;
        let is_told = |name: &ClassName| asking.find(*name).is_some_and(|class| class.is_told);
        let is_news = |name: &ClassName| name.home.is_none() || !is_told(name);
        let (to_park, in_vain): (Vec<_>, Vec<_>) = self
            .unmet_among(asking.of_somebody().filter(is_news), now)
            .into_iter()
            .partition(|found| found.name.home.is_none());
        let parked = asking.of_nobody().take(LOOKED_AT_MAX);
        let all = to_park.iter().map(|found| found.name).chain(parked);
        let all = all.chain(in_vain.iter().map(|found| found.name));
        let untold: Vec<ClassName> = all.filter(|name| !is_told(name)).take(TOLD_MAX).collect();
        for name in untold {
            self.tell_unmet(name, now);
        }
        for Found { name, why, .. } in to_park {
            self.park(name, why);
        }
        self.move_kinds(now);
    }

    fn tell_unmet(&mut self, name: ClassName, now: Now) {
        let unmet = self.in_words(name, &Look::new(now));
        if let Some(unmet) = unmet
            && let Some(class) = self.queue.asking.find_mut(name)
        {
            class.is_told = true;
            codes::log!(NO_MANAGER_FITS, "{unmet}");
        }
    }

    /// Whether some manager could hold tasks of this class. If there are managers and none could,
    /// nobody looks at them until another one registers.
    pub(super) fn keep_if_holdable(&mut self, name: ClassName, now: Now) -> bool {
        let class = self.queue.asking.find(name);
        let why = class.and_then(|class| self.why_unmet(name, class.demand(), &Look::new(now)));
        match why {
            None | Some(Why::NoManagers) => true,
            Some(why) => {
                self.park(name, why);
                self.move_kinds(now);
                false
            }
        }
    }

    fn park(&mut self, name: ClassName, why: Why) {
        if let Why::Missing(missing) = why {
            let home = Some(nobody(missing));
            self.queue.asking.move_class(name, home);
        }
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
            self.move_kinds(now);
        }
    }

    /// Tasks that wait, and that no manager here can hold. Of very many kinds, those of most tasks
    /// are shown one by one, and the others by what they lack; what nobody looks at any more is
    /// counted to the last task.
    pub(super) fn unmet(&self, now: Now) -> Vec<Unmet> {
        let (mut found, mut sums) = self.all_unmet(now);
        found.sort_by_key(|found| found.why);
        if sums.iter().map(|sum| sum.kinds).sum::<usize>() > SHOWN_MAX {
            found.sort_by_key(|found| Reverse(found.tasks));
        }
        let look = Look::new(now);
        let mut shown = Vec::new();
        for Found { name, why, tasks } in found {
            let sum = &mut sums[why.place()];
            if shown.len() < SHOWN_MAX && !look.is_over() {
                sum.kinds -= 1;
                sum.tasks -= tasks;
                shown.extend(self.in_words(name, &look));
            } else if sum.example.is_none() {
                sum.example = self.in_words(name, &look);
            }
        }
        shown.extend(sums.into_iter().filter_map(Sum::in_words));
        shown
    }

    /// What waits in vain as far as it is looked at, and the sums of all.
    fn all_unmet(&self, now: Now) -> (Vec<Found>, [Sum; Why::PLACES]) {
        let asking = &self.queue.asking;
        let mut sums = <[Sum; Why::PLACES]>::default();
        if self.kept().next().is_none() {
            let why = Why::NoManagers;
            sums[why.place()].add(asking.classes_len(), asking.len());
            let all = asking.of_somebody().chain(asking.of_nobody());
            let found = all.take(LOOKED_AT_MAX);
            let found = found.filter_map(|name| self.found(name, why));
            return (found.collect(), sums);
        }
        let mut found = self.unmet_among(asking.of_somebody(), now);
        for Found { why, tasks, .. } in &found {
            sums[why.place()].add(1, *tasks);
        }
        for (home, classes) in asking.parked() {
            let Some(missing) = Missing::ALL.into_iter().find(|it| nobody(*it) == home) else {
                continue;
            };
            let why = Why::Missing(missing);
            sums[why.place()].add(classes.len(), classes.tasks());
            let first = asking.names(Some(home)).take(LOOKED_AT_MAX);
            found.extend(first.filter_map(|name| self.found(name, why)));
        }
        (found, sums)
    }

    /// Of very many classes, the first are looked at.
    fn unmet_among(&self, names: impl Iterator<Item = ClassName>, now: Now) -> Vec<Found> {
        let look = Look::new(now);
        let names = names.take_while(|_| !look.is_over());
        let found = names.filter_map(|name| {
            let class = self.queue.asking.find(name)?;
            self.found(name, self.why_unmet(name, class.demand(), &look)?)
        });
        found.collect()
    }

    fn found(&self, name: ClassName, why: Why) -> Option<Found> {
        let tasks = self.queue.asking.find(name)?.tasks;
        Some(Found { name, why, tasks })
    }

    /// None if a manager can hold it.
    fn why_unmet(&self, name: ClassName, demand: &Demand, look: &Look) -> Option<Why> {
        let missing = |slot: Slot| {
            look.note_comparison();
            let manager = self.managers.find(slot).filter(|it| it.is_kept());
            manager.map(|manager| Room::of(manager, look.now).missing(demand))
        };
        if let Some(home) = name.home.filter(|home| !home.is_nobody()) {
            return missing(home)?.map(|_| Why::InVain);
        }
        if demand.holder.get().and_then(missing) == Some(None) {
            return None;
        }
        let mut why = Why::NoManagers;
        for slot in self.kept() {
            match missing(slot)? {
                Some(missing) => why = why.max(Why::Missing(missing)),
                None => {
                    demand.holder.set(Some(slot));
                    return None;
                }
            }
        }
        Some(why)
    }

    /// None if a manager can hold it.
    fn in_words(&self, name: ClassName, look: &Look) -> Option<Unmet> {
        let class = self.queue.asking.find(name)?;
        let why = self.why_unmet(name, class.demand(), look)?;
        Some(Unmet {
            tasks: class.tasks,
            needs: class.demand().needs.to_string(),
            lack: self.lack(why, name, class.demand(), look)?,
        })
    }

    fn lack(&self, why: Why, name: ClassName, demand: &Demand, look: &Look) -> Option<Lack> {
        let managers = self.kept().filter_map(|slot| self.managers.find(slot));
        let managers = managers.inspect(|_| look.note_comparison());
        let nodes = managers.filter(|it| demand.accepts(&it.registration));
        let slots = |it: &Manager<B>| demand.amounts.slots_on(&it.site);
        Some(match why {
            Why::NoManagers => Lack::Managers,
            Why::Missing(Missing::Node) => Lack::Node,
            Why::Missing(Missing::Slots) => {
                let nearest = nodes.min_by_key(|it| slots(it) - it.site.slots)?;
                Lack::Slots {
                    needed: slots(nearest),
                    largest: nearest.site.slots,
                }
            }
            Why::Missing(Missing::Time) => {
                let large = nodes.filter(|it| slots(it) <= it.site.slots);
                let left_s = large.map(|it| Room::of(it, look.now).left_s());
                let longest_s = left_s.fold(0.0, f64::max);
                Lack::Time { longest_s }
            }
            Why::InVain => Lack::Affinity(self.managers.find(name.home?)?.id.clone()),
        })
    }

    /// Managers that may get tasks, now or later.
    fn kept(&self) -> impl Iterator<Item = Slot> {
        let kept = self.managers.iter().filter(|(_, it)| it.is_kept());
        kept.map(|(slot, _)| slot)
    }
}

/// Why no manager can hold the tasks of a class, without how much it is that lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    NoManagers,
    /// The one that comes nearest.
    Missing(Missing),
    /// Its affinity's manager cannot, whatever others can.
    InVain,
}

impl Why {
    const PLACES: usize = 2 + Missing::ALL.len();

    /// In a table of sums.
    fn place(self) -> usize {
        match self {
            Self::NoManagers => 0,
            Self::Missing(missing) => 1 + missing as usize,
            Self::InVain => Self::PLACES - 1,
        }
    }
}

/// A class that waits in vain.
struct Found {
    name: ClassName,
    why: Why,
    tasks: usize,
}

/// Kinds that wait in vain for one reason.
#[derive(Default)]
struct Sum {
    kinds: usize,
    tasks: usize,
    example: Option<Unmet>,
}

impl Sum {
    fn add(&mut self, kinds: usize, tasks: usize) {
        self.kinds += kinds;
        self.tasks += tasks;
    }

    fn in_words(self) -> Option<Unmet> {
        let Unmet { needs, lack, .. } = self.example?;
        let needs = match self.kinds {
            1 => needs,
            _ => format!("{needs}, and of {} other kinds", self.kinds - 1),
        };
        let tasks = self.tasks;
        Some(Unmet { tasks, needs, lack })
    }
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
}
