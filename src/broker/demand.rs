//! What a task requires, compared with what a manager offers.

use std::cell::Cell;
use std::rc::Rc;

use glob::Pattern;

use super::manager::Manager;
use super::now::Now;
use super::settings::Placement;
use super::slot::Slot;
use protocol::{Amount, Needs, Registration, Routing};

/// Tolerance for rounding: shares are quotients, and three thirds of a core must fit on one core.
const ROUNDING: f64 = 1e-9;

/// The requirements of a task, prepared for comparison. Tasks with the same requirements share one
/// `Demand`.
#[derive(Debug)]
pub(super) struct Demand {
    /// The requirements without the affinity, which does not depend on what a manager offers.
    pub(super) needs: Rc<Needs>,
    pub(super) amounts: Amounts,
    pub(super) task_type: Option<Rc<str>>,
    pub(super) routing: Routing,
    /// The manager that was found to be able to hold such a task at the last search.
    pub(super) holder: Cell<Option<Slot>>,
    hostname: Vec<Pattern>,
    block_id: Vec<Pattern>,
}

/// The requirements that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Amounts {
    pub(super) cores: Option<Amount>,
    pub(super) memory_mb: Option<Amount>,
    pub(super) running_time_s: Option<Amount>,
}

/// What a manager's workers offer, by its registration and by HTEX's configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Site {
    /// How many tasks the workers can run at a time.
    pub(super) slots: usize,
    /// The cores of one worker; None if unknown.
    cores_per_slot: Option<f64>,
    memory_per_slot_mb: Option<f64>,
}

/// All that decides how many slots a task takes on a manager and whether they are free. Shares are
/// stored as bits, so that extents can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    slots: usize,
    free_workers: usize,
    cores_per_slot: Option<u64>,
    memory_per_slot_mb: Option<u64>,
}

/// What a manager can take at one moment.
pub(super) struct Room<'a, B> {
    manager: &'a Manager<B>,
    left_s: f64,
}

/// Why a manager can never hold a task. The later the variant, the nearer the manager comes to
/// fitting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Missing {
    Node,
    Slots,
    Time,
}

impl Missing {
    pub(super) const ALL: [Self; 3] = [Self::Node, Self::Slots, Self::Time];
}

/// Whether a task could go to a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The task fits at once, and takes this many slots.
    Now(usize),
    /// The task fits when some of the manager's tasks are done.
    Later,
    Never,
}

impl Demand {
    pub(super) fn new(needs: Rc<Needs>, routing: Routing) -> Self {
        let node = needs.node.as_deref();
        let patterns = |texts: &[Box<str>]| texts.iter().map(|text| pattern(text)).collect();
        Self {
            amounts: Amounts {
                cores: needs.cores,
                memory_mb: needs.memory_mb,
                running_time_s: needs.running_time_s,
            },
            task_type: needs.task_type.as_deref().map(Rc::from),
            routing: needs.routing.unwrap_or(routing),
            holder: Cell::new(None),
            hostname: node.map_or_else(Vec::new, |node| patterns(&node.hostname)),
            block_id: node.map_or_else(Vec::new, |node| patterns(&node.block_id)),
            needs,
        }
    }

    /// Whether the manager's node meets the requirements on nodes.
    pub(super) fn accepts<B>(&self, registration: &Registration<B>) -> bool {
        let Some(node) = &self.needs.node else {
            return true;
        };
        let is_named = |patterns: &[Pattern], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
        };
        let has = |least: Option<Amount>, told: Option<f64>| {
            least.is_none_or(|least| told.is_some_and(|told| told >= least.get()))
        };
        is_named(&self.hostname, &registration.hostname)
            && is_named(&self.block_id, &registration.block.to_string())
            && has(node.cpu_count, registration.cpu_count)
            && has(node.total_memory_mb, registration.total_memory_mb)
    }

    pub(super) fn is_hard(&self) -> bool {
        self.task_type.is_some() && self.routing == Routing::Hard
    }
}

/// Parses a pattern. Text that is no valid pattern matches only itself.
fn pattern(text: &str) -> Pattern {
    let escaped = || Pattern::new(&Pattern::escape(text));
    Pattern::new(text)
        .or_else(|_| escaped())
        .unwrap_or_default()
}

impl Amounts {
    /// Returns how many worker slots of such a manager the task takes.
    pub(super) fn slots_on(&self, site: &Site) -> usize {
        let of = |amount: Option<Amount>, share: f64| {
            amount.map_or(1, |amount| {
                (amount.get() / share - ROUNDING).ceil() as usize
            })
        };
        // If the shares are unknown, a worker has one core, and memory is ignored.
        let cores = of(self.cores, site.cores_per_slot.unwrap_or(1.0));
        let memory = of(
            self.memory_mb,
            site.memory_per_slot_mb.unwrap_or(f64::INFINITY),
        );
        cores.max(memory).max(1)
    }

    /// Whether the task must start at once on workers of its own. If it were prefetched, it would
    /// have neither the cores nor the time that it requires.
    pub(super) fn need_workers(&self) -> bool {
        self.cores.is_some() || self.memory_mb.is_some() || self.running_time_s.is_some()
    }
}

impl Site {
    pub(super) fn of<B>(registration: &Registration<B>, told: &Placement) -> Self {
        let workers = usize::try_from(registration.worker_count).unwrap_or(0);
        // A manager that does not report its workers is assumed to have as many as its capacity.
        let slots = match workers {
            0 => registration.max_capacity,
            _ => workers.min(registration.max_capacity),
        };
        let share = |of_node: Option<f64>| {
            let share = of_node? / slots as f64;
            (share.is_finite() && share > 0.0).then_some(share)
        };
        Self {
            slots,
            cores_per_slot: told.cores_per_worker.or(share(registration.cpu_count)),
            memory_per_slot_mb: told
                .memory_per_worker_mb
                .or(share(registration.total_memory_mb)),
        }
    }
}

impl Extent {
    pub(super) fn of<B>(manager: &Manager<B>) -> Self {
        let site = &manager.site;
        Self {
            slots: site.slots,
            free_workers: manager.free_workers(),
            cores_per_slot: site.cores_per_slot.map(f64::to_bits),
            memory_per_slot_mb: site.memory_per_slot_mb.map(f64::to_bits),
        }
    }
}

impl<'a, B> Room<'a, B> {
    pub(super) fn of(manager: &'a Manager<B>, now: Now) -> Self {
        let left = manager.ends_at.map_or(f64::INFINITY, |ends_at| {
            ends_at.saturating_sub(now.monotonic).as_secs_f64()
        });
        Self {
            manager,
            left_s: left,
        }
    }

    pub(super) fn left_s(&self) -> f64 {
        self.left_s
    }

    /// Returns the types of tasks that the manager has run, the latest first.
    pub(super) fn warm_types(&self) -> impl Iterator<Item = &'a Rc<str>> {
        self.manager.placed.iter().flat_map(|placed| placed.warm())
    }

    /// Returns how the demand fits the manager.
    pub(super) fn fit(&self, demand: &Demand) -> Fit {
        let (manager, amounts) = (self.manager, &demand.amounts);
        let slots = amounts.slots_on(&manager.site);
        let is_too_long = |time: Amount| time.get() > self.left_s;
        if slots > manager.site.slots
            || amounts.running_time_s.is_some_and(is_too_long)
            || !demand.accepts(&manager.registration)
        {
            return Fit::Never;
        }
        let is_admitted = || {
            let placed = manager.placed.as_deref();
            placed.is_none_or(|placed| placed.admits(demand))
        };
        match self.has_free(slots, amounts) && is_admitted() {
            true => Fit::Now(slots),
            false => Fit::Later,
        }
    }

    /// Returns why the manager can never hold such a task; None if it can.
    pub(super) fn missing(&self, demand: &Demand) -> Option<Missing> {
        if self.fit(demand) != Fit::Never {
            return None;
        }
        let site = &self.manager.site;
        Some(if !demand.accepts(&self.manager.registration) {
            Missing::Node
        } else if demand.amounts.slots_on(site) > site.slots {
            Missing::Slots
        } else {
            Missing::Time
        })
    }

    /// Whether the required amounts are free. The answer is the same for all managers of one
    /// [`Extent`] that have room.
    pub(super) fn has_room_for(&self, amounts: &Amounts) -> bool {
        let slots = amounts.slots_on(&self.manager.site);
        slots <= self.manager.site.slots && self.has_free(slots, amounts)
    }

    fn has_free(&self, slots: usize, amounts: &Amounts) -> bool {
        match amounts.need_workers() {
            true => slots <= self.manager.free_workers(),
            false => self.manager.free_capacity() > 0,
        }
    }

    /// Returns how many more free slots the manager would need for these amounts.
    pub(super) fn lacks(&self, amounts: &Amounts) -> usize {
        let slots = amounts.slots_on(&self.manager.site);
        slots.saturating_sub(self.manager.free_workers())
    }
}
