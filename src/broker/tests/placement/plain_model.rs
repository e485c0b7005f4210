//! The state that the broker should have, kept in plain lists and checked by trying everything.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::Placement;
use protocol::{Affinity, BlockId, Needs, Priority, Registration, Routing};

use super::super::world::{Body, WALL_AT_START_S};
use super::FLIGHT_MAX;

/// How long others may pass the first task before it gets its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest step of the clock.
const STEP_MAX: Duration = Duration::from_secs(1);

/// What a manager reported in its registration.
#[derive(Debug, Clone)]
pub(super) struct Site {
    workers: usize,
    capacity: usize,
    hostname: String,
    block: String,
    cpu_count: Option<f64>,
    memory_mb: Option<f64>,
    start_s: f64,
    drain_s: f64,
}

#[derive(Debug)]
struct Manager {
    site: Site,
    joined: Duration,
    is_kept: bool,
    drains: bool,
    held: BTreeMap<i64, Held>,
}

#[derive(Debug)]
struct Held {
    needs: Needs,
    slots: usize,
    done_at: Duration,
}

#[derive(Debug)]
struct Waiting {
    priority: Priority,
    needs: Needs,
    /// Since when some manager could hold the task and no such task was before it.
    first_since: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Model {
    told: Placement,
    managers: BTreeMap<String, Manager>,
    waiting: BTreeMap<i64, Waiting>,
    homes: BTreeMap<Affinity, String>,
}

impl Site {
    pub(super) fn of(registration: &Registration<Body>) -> Self {
        Self {
            workers: registration.worker_count as usize,
            capacity: registration.max_capacity,
            hostname: registration.hostname.clone(),
            block: match &registration.block {
                BlockId::Text(text) => text.to_string(),
                other => panic!("{other:?}"),
            },
            cpu_count: registration.cpu_count,
            memory_mb: registration.total_memory_mb,
            start_s: registration.start_time_s,
            drain_s: registration.drain_time_s,
        }
    }
}

impl Manager {
    fn busy(&self) -> usize {
        self.held.values().map(|held| held.slots).sum()
    }

    /// Returns how many slots these needs take on this manager.
    fn slots(&self, needs: &Needs, told: &Placement) -> usize {
        let workers = self.site.workers as f64;
        let cores_share = told
            .cores_per_worker
            .or(self.site.cpu_count.map(|cores| cores / workers))
            .unwrap_or(1.0);
        let memory_share = told
            .memory_per_worker_mb
            .or(self.site.memory_mb.map(|memory| memory / workers));
        let by_cores = needs.cores.map_or(0.0, |cores| cores.get() / cores_share);
        let by_memory = match (needs.memory_mb, memory_share) {
            (Some(memory), Some(share)) => memory.get() / share,
            _ => 0.0,
        };
        let slots = by_cores.max(by_memory).max(1.0);
        (slots - 1e-9).ceil() as usize
    }

    fn left_s(&self, told: &Placement, now: Duration) -> f64 {
        let age_s = (now - self.joined).as_secs_f64();
        if self.site.drain_s.is_finite() {
            return self.site.drain_s - self.site.start_s - age_s;
        }
        let before_s = WALL_AT_START_S + self.joined.as_secs_f64() - self.site.start_s;
        told.walltime.map_or(f64::INFINITY, |walltime| {
            walltime.as_secs_f64() - before_s.max(0.0) - age_s
        })
    }

    /// Whether the manager could hold such a task if it held nothing else.
    fn could_hold(&self, needs: &Needs, told: &Placement, now: Duration) -> bool {
        let node_is_right = needs.node.as_deref().is_none_or(|node| {
            let matches = |patterns: &[Box<str>], name: &str| {
                patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
            };
            let cpus = node
                .cpu_count
                .is_none_or(|least| self.site.cpu_count.is_some_and(|cpus| cpus >= least.get()));
            matches(&node.hostname, &self.site.hostname)
                && matches(&node.block_id, &self.site.block)
                && cpus
        });
        let time_is_left = needs
            .running_time_s
            .is_none_or(|time| time.get() <= self.left_s(told, now) + 1e-6);
        node_is_right && time_is_left && self.slots(needs, told) <= self.site.workers
    }

    fn has_room(&self, needs: &Needs, told: &Placement) -> bool {
        let slots = self.slots(needs, told);
        let asks_for_workers =
            needs.cores.is_some() || needs.memory_mb.is_some() || needs.running_time_s.is_some();
        let holds_wide = self.held.values().any(|held| held.slots > 1);
        let most = match asks_for_workers || holds_wide {
            true => self.site.workers,
            false => self.site.capacity,
        };
        self.busy() + slots <= most && self.admits(needs, told)
    }

    fn admits(&self, needs: &Needs, told: &Placement) -> bool {
        let Some(task_type) = &needs.task_type else {
            return true;
        };
        let is_hard = |needs: &Needs| needs.routing.unwrap_or(told.routing) == Routing::Hard;
        self.held.values().all(|held| match &held.needs.task_type {
            Some(other) if other != task_type => !is_hard(needs) && !is_hard(&held.needs),
            _ => true,
        })
    }
}

impl Model {
    pub(super) fn new(told: Placement) -> Self {
        Self {
            told,
            managers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            homes: BTreeMap::new(),
        }
    }

    pub(super) fn join(&mut self, name: &str, site: Site, now: Duration) {
        let manager = Manager {
            site,
            joined: now,
            is_kept: true,
            drains: false,
            held: BTreeMap::new(),
        };
        self.managers.insert(name.to_owned(), manager);
        self.forget_who_was_first();
    }

    pub(super) fn leave(&mut self, name: &str) {
        self.managers.remove(name);
        self.homes.retain(|_, home| home != name);
        self.forget_who_was_first();
    }

    pub(super) fn hold(&mut self, name: &str) {
        if let Some(manager) = self.managers.get_mut(name) {
            manager.is_kept = false;
        }
        self.homes.retain(|_, home| home != name);
        self.forget_who_was_first();
    }

    pub(super) fn drain(&mut self, name: &str) {
        self.hold(name);
        if let Some(manager) = self.managers.get_mut(name) {
            manager.drains = true;
        }
        self.end_drained();
    }

    pub(super) fn submit(&mut self, id: i64, priority: Priority, needs: Needs, now: Duration) {
        let affinity = needs.affinity.clone();
        let waiting = Waiting {
            priority,
            needs,
            first_since: None,
        };
        self.waiting.insert(id, waiting);
        self.unbind_in_vain(affinity, now);
    }

    /// Removes drained managers, and starts draining managers whose drain time has come.
    pub(super) fn time(&mut self, now: Duration) {
        let is_over = |manager: &Manager| {
            let age_s = (now - manager.joined).as_secs_f64();
            manager.site.start_s + age_s + 1e-9 >= manager.site.drain_s && !manager.drains
        };
        let over: Vec<String> = self
            .managers
            .iter()
            .filter(|(_, manager)| is_over(manager))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.drain(&name);
        }
        self.end_drained();
    }

    fn end_drained(&mut self) {
        let is_done = |manager: &Manager| manager.drains && manager.held.is_empty();
        self.managers.retain(|_, manager| !is_done(manager));
    }

    pub(super) fn dispatch(&mut self, id: i64, to: &str, now: Duration, done_at: Duration) {
        let task = self.waiting.remove(&id).expect("it waits");
        let manager = self.managers.get_mut(to).expect("it is here");
        assert!(
            manager.is_kept,
            "{id} goes to {to}, which is to get nothing"
        );
        assert!(
            manager.could_hold(&task.needs, &self.told, now),
            "{id} goes to {to}, which cannot hold it: {:?} {:?}",
            task.needs,
            manager.site
        );
        assert!(
            manager.has_room(&task.needs, &self.told),
            "{id} goes to {to}, which has no room: {:?} {manager:?}",
            task.needs
        );
        self.check_order(id, &task, to, now);
        let manager = self.managers.get_mut(to).expect("it is here");
        if let Some(affinity) = &task.needs.affinity {
            let home = self
                .homes
                .entry(affinity.clone())
                .or_insert_with(|| to.to_owned());
            assert_eq!(home, to, "{id} goes to another manager than its affinity");
        }
        let slots = manager.slots(&task.needs, &self.told);
        let needs = task.needs;
        manager.held.insert(
            id,
            Held {
                needs,
                slots,
                done_at,
            },
        );
    }

    /// Checks that no task that fits the manager is before the dispatched one. If both have a task
    /// type and the same priority, any order is allowed.
    fn check_order(&self, id: i64, task: &Waiting, to: &str, now: Duration) {
        let fits = |other: &Waiting| {
            let mut holders = self.holders(&other.needs, now);
            holders.any(|(name, it)| name == to && it.has_room(&other.needs, &self.told))
        };
        let others = self.waiting.iter().filter(|(_, other)| fits(other));
        let Some((first_id, first)) = others.min_by_key(|(id, it)| (it.priority, **id)) else {
            return;
        };
        let is_before = (first.priority, *first_id) < (task.priority, id);
        let is_type_matter = first.priority == task.priority
            && first.needs.task_type.is_some()
            && task.needs.task_type.is_some();
        assert!(
            !is_before || is_type_matter,
            "{id} goes to {to} before {first_id}, which would fit there: {first:?}"
        );
    }

    pub(super) fn done(&mut self, manager: &str, id: i64, now: Duration) {
        let manager = self.managers.get_mut(manager).expect("it is here");
        let held = manager.held.remove(&id).expect("it is held");
        self.unbind_in_vain(held.needs.affinity, now);
        self.end_drained();
    }

    /// Unbinds an affinity value if its manager holds no task of that value and can never hold some
    /// queued one.
    fn unbind_in_vain(&mut self, affinity: Option<Affinity>, now: Duration) {
        let home = affinity.as_ref().and_then(|it| self.homes.get(it));
        let Some((affinity, home)) = affinity.as_ref().zip(home) else {
            return;
        };
        let manager = &self.managers[home];
        let is_of_it = |needs: &Needs| needs.affinity.as_ref() == Some(affinity);
        let holds_some = manager.held.values().any(|held| is_of_it(&held.needs));
        let mut waiting = self.waiting.values().filter(|it| is_of_it(&it.needs));
        let is_in_vain = waiting.any(|it| !manager.could_hold(&it.needs, &self.told, now));
        if !holds_some && is_in_vain {
            self.homes.remove(affinity);
        }
    }

    pub(super) fn due(&self, now: Duration) -> Vec<(String, i64)> {
        self.in_flight()
            .filter(|(_, _, held)| held.done_at <= now)
            .map(|(name, id, _)| (name.to_owned(), id))
            .collect()
    }

    pub(super) fn some_in_flight(&self, choice: usize) -> Option<(String, i64)> {
        let all: Vec<_> = self.in_flight().collect();
        let (name, id, _) = all.get(choice % all.len().max(1))?;
        Some(((*name).to_owned(), *id))
    }

    pub(super) fn some_manager(&self, choice: usize) -> Option<String> {
        let kept = self.managers.iter().filter(|(_, it)| it.is_kept);
        let names: Vec<_> = kept.map(|(name, _)| name).collect();
        names
            .get(choice % names.len().max(1))
            .map(|name| (*name).clone())
    }

    fn in_flight(&self) -> impl Iterator<Item = (&str, i64, &Held)> {
        self.managers.iter().flat_map(|(name, manager)| {
            let held = manager.held.iter();
            held.map(move |(id, held)| (name.as_str(), *id, held))
        })
    }

    /// Whether nothing is in flight. What still waits then fits no manager.
    pub(super) fn nothing_can_go_on(&self) -> bool {
        self.in_flight().next().is_none()
    }

    /// Returns the managers that could hold the task at some time: any manager, or the one of its
    /// affinity.
    fn holders<'a>(
        &'a self,
        needs: &'a Needs,
        now: Duration,
    ) -> impl Iterator<Item = (&'a str, &'a Manager)> {
        let home = needs.affinity.as_ref().and_then(|it| self.homes.get(it));
        self.managers
            .iter()
            .filter(move |(name, manager)| {
                manager.is_kept
                    && home.is_none_or(|home| home == *name)
                    && manager.could_hold(needs, &self.told, now)
            })
            .map(|(name, manager)| (name.as_str(), manager))
    }

    pub(super) fn check(&mut self, now: Duration) {
        self.check_idle(now);
        self.check_first(now);
    }

    /// Checks that at most one manager has idle slots that a queued task could use. On that
    /// manager, an earlier task must wait that it can hold, but not now.
    fn check_idle(&self, now: Duration) {
        let mut idle: BTreeMap<&str, (Priority, i64)> = BTreeMap::new();
        for (id, task) in &self.waiting {
            for (name, manager) in self.holders(&task.needs, now) {
                if manager.has_room(&task.needs, &self.told) {
                    let key = (task.priority, *id);
                    idle.entry(name)
                        .and_modify(|first| *first = key.min(*first))
                        .or_insert(key);
                }
            }
        }
        assert!(idle.len() <= 1, "idle with work: {idle:?}\n{self:#?}");
        for (name, first) in idle {
            let manager = &self.managers[name];
            let is_reserved = self.waiting.iter().any(|(id, task)| {
                let is_home = self
                    .holders(&task.needs, now)
                    .any(|(holder, _)| holder == name);
                (task.priority, *id) < first
                    && is_home
                    && !manager.has_room(&task.needs, &self.told)
            });
            assert!(
                is_reserved,
                "{name} is idle, and {first:?} would fit\n{self:#?}"
            );
        }
    }

    /// Checks that the first task that some manager can hold is dispatched in time. The bound
    /// covers a reservation for another task, the task's own patience, and the time until its
    /// manager has run empty.
    fn check_first(&mut self, now: Duration) {
        let can_be_held = |task: &Waiting| self.holders(&task.needs, now).next().is_some();
        let first = self
            .waiting
            .iter()
            .filter(|(_, task)| can_be_held(task))
            .min_by_key(|(id, task)| (task.priority, **id))
            .map(|(id, _)| *id);
        for (id, task) in &mut self.waiting {
            if Some(*id) != first {
                task.first_since = None;
                continue;
            }
            let since = *task.first_since.get_or_insert(now);
            let bound = PATIENCE + 2 * FLIGHT_MAX + 3 * STEP_MAX;
            assert!(
                now - since <= bound,
                "{id} has been first since {since:?}, it is {now:?}: {:?} {:#?}",
                task.needs,
                self.managers
            );
        }
    }

    /// Restarts the bound, which only holds while no manager registers or leaves.
    fn forget_who_was_first(&mut self) {
        for task in self.waiting.values_mut() {
            task.first_since = None;
        }
    }
}

/// Whether a name matches a pattern of the kinds that the seeds use: plain text, or text with a
/// range of digits.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, range)) = pattern.split_once('[') else {
        return pattern == name;
    };
    let digit = name.strip_prefix(before).and_then(|rest| rest.parse().ok());
    let from = range.chars().next().and_then(|from| from.to_digit(10));
    digit
        .zip(from)
        .is_some_and(|(digit, from): (u32, u32)| (from..=9).contains(&digit))
}
