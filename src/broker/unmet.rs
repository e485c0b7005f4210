//! Tasks that wait for a manager which is not here: what they ask for, and what there is.

use std::fmt;
use std::time::Duration;

use tracing::warn;

use super::Broker;
use super::classes::Class;
use super::demand::{Amounts, Demand, Fit, Room};
use super::kinds::ClassName;
use super::manager::Manager;
use super::now::Now;
use protocol::ManagerId;

/// A block that comes a moment later must not be missed.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(1);
/// Time alone ends what a manager can hold.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// In one look, so many classes of tasks are compared with all managers.
const CLASSES_MAX: usize = 256;

/// Tasks that no manager can hold, whatever else it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    /// How many.
    pub tasks: usize,
    /// What they ask for; of tasks that ask for nearly the same, what one of them does.
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
        /// How many it takes, where it takes the fewest.
        needed: usize,
        /// How many the largest has.
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

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managers => write!(f, "no manager gets tasks"),
            Self::Node => write!(f, "no manager is on such a node"),
            Self::Slots { needed, largest } => write!(
                f,
                "they need {needed} slots on one manager; the largest has {largest}"
            ),
            Self::Time { longest_s } => write!(
                f,
                "no manager lasts for so long; the one that lasts longest does for {longest_s:.0} s"
            ),
            Self::Affinity(manager) => write!(
                f,
                "tasks of their affinity run on manager {manager}, which cannot hold them"
            ),
        }
    }
}

impl<B> Broker<B> {
    /// Tasks that wait, and that no manager here can hold.
    pub(super) fn unmet(&self, now: Now) -> Vec<Unmet> {
        let names = self.queue.asking.all_classes().take(CLASSES_MAX);
        let unmet = names.filter_map(|name| {
            let class = self.queue.asking.find(name)?;
            self.unmet_class(name, class, now)
        });
        unmet.collect()
    }

    /// Has the log say soon what waits in vain.
    pub(super) fn look_for_unmet(&mut self, now: Now) {
        if self.queue.asking.len() > 0 {
            let soon = now.monotonic.saturating_add(FIRST_LOOK_AFTER);
            self.look_for_unmet_at = Some(self.look_for_unmet_at.map_or(soon, |at| at.min(soon)));
        }
    }

    pub(super) fn tell_unmet_when_due(&mut self, now: Now) {
        if self.look_for_unmet_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        let is_asking = self.queue.asking.len() > 0;
        let next = now.monotonic.saturating_add(LOOK_EVERY);
        self.look_for_unmet_at = is_asking.then_some(next);
        // Blocks are on their way as a rule.
        if self.managers.iter().next().is_none() {
            return;
        }
        let asking = &self.queue.asking;
        let names = asking.all_classes();
        let is_new = |name: &ClassName| asking.find(*name).is_some_and(|class| !class.is_told);
        let names: Vec<ClassName> = names.filter(is_new).take(CLASSES_MAX).collect();
        for name in names {
            let Some(unmet) = self
                .queue
                .asking
                .find(name)
                .and_then(|class| self.unmet_class(name, class, now))
            else {
                continue;
            };
            warn!(
                "{} tasks wait that ask for {}: {}",
                unmet.tasks, unmet.needs, unmet.lack
            );
            if let Some(class) = self.queue.asking.find_mut(name) {
                class.is_told = true;
            }
        }
    }

    /// Where some of a class fit and others do not, those others are told.
    fn unmet_class(&self, name: ClassName, class: &Class, now: Now) -> Option<Unmet> {
        if let Some(lack) = self.lack(name, class.least(), class.demand(), now) {
            return Some(Unmet {
                tasks: class.tasks,
                needs: class.demand().needs.to_string(),
                lack,
            });
        }
        let kinds = self.queue.asking.demands_in(class);
        let kinds = kinds.filter(|_| class.is_mixed());
        let unmet = kinds.filter_map(|(demand, tasks)| {
            let lack = self.lack(name, &demand.amounts, demand, now)?;
            let needs = demand.needs.to_string();
            Some(Unmet { tasks, needs, lack })
        });
        unmet.reduce(|first, other| Unmet {
            tasks: first.tasks + other.tasks,
            ..first
        })
    }

    /// None if a manager can hold so much.
    fn lack(&self, name: ClassName, amounts: &Amounts, demand: &Demand, now: Now) -> Option<Lack> {
        let can_hold = |it: &Manager<B>| Room::of(it, now).fit(amounts, demand) != Fit::Never;
        if let Some(slot) = name.home {
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
        } else if let Some(needed) = nodes().map(slots).min() {
            let largest = nodes().map(|it| it.site.slots).max().unwrap_or(0);
            Lack::Slots { needed, largest }
        } else if managers().next().is_some() {
            Lack::Node
        } else {
            Lack::Managers
        };
        Some(lack)
    }
}
