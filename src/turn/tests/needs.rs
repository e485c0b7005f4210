//! The needs of tasks and the resources of managers, compared in the plainest way: without the
//! broker's classes, excluded managers or reservations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Placement;
use protocol::Routing;
use rand::RngExt as _;
use rand::rngs::SmallRng;

/// Maximum number of workers that a task takes, on any manager.
pub(crate) const SLOTS_MAX: usize = 6;
/// Tolerance for rounding, since shares are quotients.
const ROUNDING: f64 = 1e-9;

/// The placement needs of a task.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Needs {
    pub(crate) cores: Option<f64>,
    pub(crate) memory_mb: Option<i64>,
    pub(crate) running_time_s: Option<f64>,
    pub(crate) affinity: Option<i64>,
    pub(crate) task_type: Option<&'static str>,
    pub(crate) routing: Option<Routing>,
    pub(crate) node: Option<Node>,
}

/// The condition on the node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    /// Hosts with this number or a higher one.
    HostFrom(usize),
    /// Hosts with these two numbers.
    Hosts([usize; 2]),
    CpuCount(i64),
    MemoryMb(i64),
}

/// What a manager reports about itself when it registers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Site {
    pub(crate) capacity: usize,
    pub(crate) workers: usize,
    /// The number in the host's name.
    pub(crate) host: usize,
    pub(crate) cpu_count: Option<i64>,
    pub(crate) memory_mb: Option<i64>,
    pub(crate) drain_in_s: Option<f64>,
}

/// The tasks that a manager holds.
#[derive(Debug)]
pub(crate) struct Hands {
    site: Site,
    ends_at: Option<Duration>,
    pub(crate) tasks: BTreeSet<i64>,
    /// The held tasks that have placement needs.
    placed: BTreeMap<i64, Needs>,
    /// The tasks that were held when another process continued; any of them may be gone.
    pub(crate) restored: BTreeSet<i64>,
}

/// All submitted tasks, and which of them wait.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// The needs of each kind of tasks; the first kind has none.
    kinds: Vec<Needs>,
    /// The kind and the key of each task, in the order of task ids.
    submitted: Vec<Submitted>,
    /// The waiting tasks of each kind: read by the turn, but neither sent nor answered.
    waiting: Vec<BTreeSet<Key>>,
}

#[derive(Debug, Clone, Copy)]
struct Submitted {
    kind: usize,
    key: Key,
}

/// The order of tasks that fit a manager equally: by priority, then by arrival.
pub(crate) type Key = (i64, i64);

impl Needs {
    /// Draws random needs, from the kinds of needs that a run uses; only `cores` if nothing else
    /// was drawn.
    pub(crate) fn draw(words: [bool; 6], random: &mut SmallRng) -> Self {
        let mut needs = Self::default();
        let [cores, memory, time, affinity, task_type, node] =
            words.map(|is_used| is_used && random.random_bool(0.5));
        let mut one_of = |among: &[i64]| among[random.random_range(0..among.len())];
        if memory {
            needs.memory_mb = Some(one_of(&[200, 1_000, 2_500, 4_000]));
        }
        if time {
            needs.running_time_s = Some([0.5, 1.0, 3.0, 6.5][one_of(&[0, 1, 2, 3]) as usize]);
        }
        if affinity {
            needs.affinity = Some(one_of(&[1, 2, 3]));
        }
        if task_type {
            needs.task_type = Some(["a", "b", "c"][one_of(&[0, 1, 2]) as usize]);
            let routing = [None, Some(Routing::Soft), Some(Routing::Hard)];
            needs.routing = routing[one_of(&[0, 1, 2]) as usize];
        }
        if node {
            needs.node = Some(match one_of(&[0, 1, 2, 3]) {
                0 => Node::HostFrom(one_of(&[1, 2, 3]) as usize),
                1 => Node::Hosts([3, one_of(&[0, 1, 2]) as usize]),
                2 => Node::CpuCount(one_of(&[2, 6, 10])),
                _ => Node::MemoryMb(one_of(&[2_000, 8_000])),
            });
        }
        if cores || needs == Self::default() {
            needs.cores = Some(random.random_range(0.1..SLOTS_MAX as f64));
        }
        needs
    }
}

impl Site {
    /// Creates a site that reports little about itself.
    pub(crate) fn of_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            workers: capacity,
            host: 0,
            cpu_count: None,
            memory_mb: None,
            drain_in_s: None,
        }
    }

    pub(crate) fn draw(random: &mut SmallRng) -> Self {
        let mut one_of = |among: &[usize]| among[random.random_range(0..among.len())];
        let workers = one_of(&[1, 2, 4, 6]);
        let tells = one_of(&[0, 1, 1]) == 1;
        Self {
            capacity: workers + one_of(&[0, 0, 3]),
            workers,
            host: one_of(&[0, 1, 2, 3]),
            cpu_count: tells.then_some(2 * workers as i64),
            memory_mb: tells.then_some(one_of(&[1_000, 4_000, 12_000]) as i64),
            drain_in_s: None,
        }
    }

    pub(crate) fn without_end(self) -> Self {
        Self {
            drain_in_s: None,
            ..self
        }
    }

    /// Creates a site that can hold any task.
    pub(crate) fn of_everything() -> Self {
        Self {
            host: 3,
            cpu_count: Some(64),
            memory_mb: Some(64_000),
            ..Self::of_capacity(SLOTS_MAX + 2)
        }
    }
}

impl Hands {
    /// Creates the record of a manager that has registered.
    pub(crate) fn new(site: Site, now: Duration) -> Self {
        let drains = site.drain_in_s.map(Duration::from_secs_f64);
        Self {
            site,
            ends_at: drains.map(|drains| now + drains),
            tasks: BTreeSet::new(),
            placed: BTreeMap::new(),
            restored: BTreeSet::new(),
        }
    }

    /// Takes over the tasks when the same process has registered again.
    pub(crate) fn keep(&mut self, before: Self) {
        self.tasks = before.tasks;
        self.placed = before.placed;
        self.restored = before.restored;
    }

    pub(crate) fn add(&mut self, task: i64, needs: Needs) {
        self.tasks.insert(task);
        if needs != Needs::default() {
            self.placed.insert(task, needs);
        }
    }

    pub(crate) fn remove(&mut self, task: i64) -> bool {
        self.placed.remove(&task);
        self.tasks.remove(&task)
    }

    pub(crate) fn holds_affinity(&self, affinity: i64) -> bool {
        let mut placed = self.placed.values();
        placed.any(|needs| needs.affinity == Some(affinity))
    }

    /// Whether the manager could hold such a task if it held nothing else.
    pub(crate) fn could_hold(&self, needs: &Needs, told: &Placement, now: Duration) -> bool {
        let site = &self.site;
        let is_right = match needs.node {
            None => true,
            Some(Node::HostFrom(host)) => site.host >= host,
            Some(Node::Hosts(hosts)) => hosts.contains(&site.host),
            Some(Node::CpuCount(least)) => site.cpu_count.is_some_and(|told| told >= least),
            Some(Node::MemoryMb(least)) => site.memory_mb.is_some_and(|told| told >= least),
        };
        let left = self.ends_at.map(|ends_at| ends_at.saturating_sub(now));
        let lasts = match (needs.running_time_s, left) {
            (Some(time_s), Some(left)) => time_s <= left.as_secs_f64(),
            _ => true,
        };
        is_right && lasts && self.slots(needs, told) <= site.workers
    }

    /// Whether the manager has room for such a task, which it could hold.
    pub(crate) fn has_room(&self, needs: &Needs, told: &Placement) -> bool {
        self.has_room_without(0, needs, told)
    }

    /// Whether the manager may count as having room, because restored tasks may be gone.
    pub(crate) fn may_have_room(&self, needs: &Needs, told: &Placement) -> bool {
        let gone = self.restored.intersection(&self.tasks).count();
        self.has_room_without(gone, needs, told)
    }

    fn has_room_without(&self, gone: usize, needs: &Needs, told: &Placement) -> bool {
        let placed = self.placed.values();
        let extra: usize = placed.map(|needs| self.slots(needs, told) - 1).sum();
        let asks_for_workers = needs.cores.or(needs.running_time_s).is_some();
        let most = match asks_for_workers || needs.memory_mb.is_some() || extra > 0 {
            true => self.site.workers,
            false => self.site.capacity,
        };
        let slots = self.slots(needs, told);
        self.tasks.len() + extra + slots <= most + gone && self.admits(needs, told)
    }

    /// Returns how many of the manager's workers such a task takes.
    fn slots(&self, needs: &Needs, told: &Placement) -> usize {
        let of_each = |all: Option<i64>| Some(all? as f64 / self.site.workers as f64);
        let cores_share = told.cores_per_worker.or(of_each(self.site.cpu_count));
        let memory_share = told.memory_per_worker_mb.or(of_each(self.site.memory_mb));
        let by_cores = needs.cores.unwrap_or(0.0) / cores_share.unwrap_or(1.0);
        let by_memory = needs.memory_mb.unwrap_or(0) as f64 / memory_share.unwrap_or(f64::INFINITY);
        (by_cores.max(by_memory) - ROUNDING).ceil().max(1.0) as usize
    }

    /// Whether a task of this type may run beside the held tasks.
    fn admits(&self, needs: &Needs, told: &Placement) -> bool {
        let is_hard = |needs: &Needs| needs.routing.unwrap_or(told.routing) == Routing::Hard;
        needs.task_type.is_none()
            || self.placed.values().all(|placed| {
                let is_alike = placed.task_type.is_none() || placed.task_type == needs.task_type;
                is_alike || !is_hard(needs) && !is_hard(placed)
            })
    }
}

impl Tasks {
    /// Creates an empty record, with these kinds and the kind without needs.
    pub(crate) fn of_kinds(kinds: impl IntoIterator<Item = Needs>) -> Self {
        let kinds: Vec<Needs> = [Needs::default()].into_iter().chain(kinds).collect();
        Self {
            waiting: vec![BTreeSet::new(); kinds.len()],
            submitted: Vec::new(),
            kinds,
        }
    }

    pub(crate) fn submitted(&self) -> i64 {
        self.submitted.len() as i64
    }

    /// Submits a task and returns its id.
    pub(crate) fn submit(&mut self, kind: usize, priority: Option<i64>) -> i64 {
        let task = self.submitted() + 1;
        let key = (priority.unwrap_or(i64::MAX), task);
        self.submitted.push(Submitted { kind, key });
        task
    }

    pub(crate) fn needs_of_kind(&self, kind: usize) -> &Needs {
        &self.kinds[kind]
    }

    pub(crate) fn needs_of(&self, task: i64) -> Needs {
        self.kinds[self.find(task).kind]
    }

    pub(crate) fn note_waiting(&mut self, task: i64) {
        let Submitted { kind, key } = self.find(task);
        self.waiting[kind].insert(key);
    }

    /// Removes a waiting task. Returns whether it was waiting.
    pub(crate) fn take(&mut self, task: i64) -> bool {
        let Submitted { kind, key } = self.find(task);
        self.waiting[kind].remove(&key)
    }

    pub(crate) fn is_waiting(&self, task: i64) -> bool {
        let Submitted { kind, key } = self.find(task);
        self.waiting[kind].contains(&key)
    }

    pub(crate) fn all_waiting(&self) -> BTreeSet<i64> {
        let keys = self.waiting.iter().flatten();
        keys.map(|(_, task)| *task).collect()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().map(BTreeSet::len).sum()
    }

    /// Returns the first waiting task of each kind that has one.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (Key, &Needs)> {
        let kinds = self.waiting.iter().zip(&self.kinds);
        kinds.filter_map(|(waiting, needs)| Some((*waiting.first()?, needs)))
    }

    fn find(&self, task: i64) -> Submitted {
        self.submitted[task as usize - 1]
    }
}
