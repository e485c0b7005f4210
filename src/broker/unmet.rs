//! Tasks that no registered manager can hold: what they require, and what the managers offer.

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

/// Delay of the first check, so that the managers of a block that starts just now are not missed.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(1);
/// Interval of the checks: the passing of time alone can make tasks too long for all managers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How many kinds one check writes to the log; the status shows all of them.
const TOLD_MAX: usize = 10;
/// How many kinds a snapshot lists one by one.
const SHOWN_MAX: usize = 100;
/// How many comparisons of managers with classes of tasks one check makes.
const COMPARISONS_MAX: usize = 200_000;
/// How many of the classes that are known to be unmet one check looks at.
const LOOKED_AT_MAX: usize = 10_000;

/// Tasks that no manager can hold, even when idle.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    /// The number of tasks.
    pub tasks: usize,
    /// The requirements of the tasks. Empty if they have only an affinity.
    pub needs: String,
    /// Why no manager can hold the tasks.
    pub lack: Lack,
}

/// Why no manager can hold a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Lack {
    /// No manager may get tasks.
    Managers,
    /// No manager's node is of the required kind.
    Node,
    /// No manager on such a node has enough slots.
    Slots {
        /// How many slots the task takes on the manager that comes nearest (a slot's share of a
        /// node differs between managers).
        needed: usize,
        /// How many slots that manager has.
        largest: usize,
    },
    /// No manager with enough slots lasts long enough.
    Time {
        /// How many seconds the longest-lasting manager has left.
        longest_s: f64,
    },
    /// Tasks of the same affinity run on this manager, which cannot hold the task.
    Affinity(ManagerId),
}

/// Writes the log line: `12 tasks need 8 slots on one manager; the largest has 4. They ask for …`.
impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_or_all = |one: &'static str, all: &'static str| match self.tasks {
            1 => one,
            _ => all,
        };
        let (need, them) = (one_or_all("needs", "need"), one_or_all("it", "them"));
        write!(f, "{} {} ", self.tasks, one_or_all("task", "tasks"))?;
        match &self.lack {
            Lack::Managers => write!(f, "{need} a manager, but no manager accepts tasks"),
            Lack::Node => write!(f, "{need} a node on which no manager runs"),
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
                "{need} manager {manager}, which runs other tasks of the same affinity but cannot \
                 run {them}"
            ),
        }?;
        write!(f, ". {} ", one_or_all("It", "They"))?;
        if !self.needs.is_empty() {
            write!(f, "{} for {}, and ", one_or_all("asks", "ask"), self.needs)?;
        }
        let wait = one_or_all("waits", "wait");
        match &self.lack {
            Lack::Affinity(_) => write!(f, "{wait} until that manager is held or leaves"),
            Lack::Managers | Lack::Node | Lack::Slots { .. } | Lack::Time { .. } => {
                write!(f, "{wait} for a block whose managers can run {them}")
            }
        }
    }
}

impl<B> Broker<B> {
    /// Schedules a check that soon logs which tasks no manager can hold.
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
        // While no manager may get tasks, new blocks are usually starting, and what their managers
        // will lack is not known.
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
    /// the class is parked until a fitting manager registers.
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

    /// Lets all managers get the parked tasks that this newly registered manager can hold.
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

    /// Returns the queued tasks that no manager can hold. If there are very many kinds, those with
    /// most tasks are listed one by one and the others are summed up by reason. Parked tasks are
    /// all counted.
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

    /// Returns the unmet classes, up to the limits of a check, and the sums over all of them.
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

    /// Returns the unmet classes among `names`, as far as the limit of comparisons allows.
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

    /// Returns why no manager can hold the class, or None if one can.
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

    /// Describes an unmet class; None if a manager can hold it.
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

    /// Returns the managers that may get tasks, now or later.
    fn kept(&self) -> impl Iterator<Item = Slot> {
        let kept = self.managers.iter().filter(|(_, it)| it.is_kept());
        kept.map(|(slot, _)| slot)
    }
}

/// Why no manager can hold the tasks of a class, without the amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    NoManagers,
    /// What the manager that comes nearest is missing.
    Missing(Missing),
    /// The manager that the affinity is bound to cannot hold them, whatever other managers can.
    InVain,
}

impl Why {
    const PLACES: usize = 2 + Missing::ALL.len();

    /// The index of this reason in a table of sums.
    fn place(self) -> usize {
        match self {
            Self::NoManagers => 0,
            Self::Missing(missing) => 1 + missing as usize,
            Self::InVain => Self::PLACES - 1,
        }
    }
}

/// A class that no manager can hold.
struct Found {
    name: ClassName,
    why: Why,
    tasks: usize,
}

/// Kinds that no manager can hold for one reason.
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
            _ => format!("{needs} (and for {} other combinations)", self.kinds - 1),
        };
        let tasks = self.tasks;
        Some(Unmet { tasks, needs, lack })
    }
}

/// One check of the queue. It is bounded, so that it does not delay tasks.
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
    fn unmet_tasks_are_described_in_words() {
        let slots = Lack::Slots {
            needed: 8,
            largest: 4,
        };
        assert_eq!(
            told(12, "8 cores", slots),
            "12 tasks need 8 slots on one manager; the largest has 4. They ask for 8 cores, and \
             wait for a block whose managers can run them"
        );
        assert_eq!(
            told(1, "600 s left", Lack::Time { longest_s: 59.6 }),
            "1 task needs more time than any manager has left; the longest is 60 s. It asks for \
             600 s left, and waits for a block whose managers can run it"
        );
        assert_eq!(
            told(2, "", Lack::Affinity(ManagerId::new(b"ab12"))),
            "2 tasks need manager b'ab12', which runs other tasks of the same affinity but cannot \
             run them. They wait until that manager is held or leaves"
        );
    }
}
