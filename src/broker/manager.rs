//! One manager's record.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use journal::Record;

use super::books;
use super::demand::Site;
use super::failing::Row;
use super::given_up::GivenUp;
use super::link::Link;
use super::now::Now;
use super::placed_tasks::PlacedTasks;
use super::settings::Placement;
use super::ticket::InFlight;
use protocol::{ManagerId, NodeInfo, Registration, TaskId};

/// One manager's record. `held`, `draining` and the suspect state are independent of each other:
/// each is set and reported separately, and each alone keeps the manager from getting tasks.
pub(super) struct Manager<B> {
    pub(super) id: ManagerId,
    pub(super) registration: Rc<Registration<B>>,
    /// In order of dispatch. Results arrive in roughly that order, so a search from the front is
    /// short.
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) held: bool,
    pub(super) draining: bool,
    /// Whether the manager takes messages more slowly than they are sent.
    pub(super) clogged: bool,
    pub(super) link: Link,
    /// By when tasks that were sent on an earlier link must have a result, by that link's number
    /// (awake clock).
    pub(super) doubts: BTreeMap<u64, Duration>,
    /// When the manager was last heard, on the clock of [`super::liveness::Liveness::awake`].
    pub(super) last_heard: Duration,
    pub(super) last_heartbeat_wall_s: f64,
    /// When the manager's process first registered (monotonic clock).
    pub(super) started: Duration,
    pub(super) idle_since: Option<Now>,
    /// Number of tasks that the manager returned a result for.
    pub(super) tasks_done: u64,
    pub(super) given_up: GivenUp,
    /// The latest results, if they were exceptions; None as long as the manager returned no
    /// exception.
    pub(super) row: Option<Box<Row>>,
    /// What the manager's workers offer.
    pub(super) site: Site,
    /// When the manager's block ends or the manager drains (monotonic clock); None if unknown.
    /// Tasks must be done by then.
    pub(super) ends_at: Option<Duration>,
    /// Whether the selector was last told that this manager can take tasks.
    pub(super) is_offered: bool,
    /// Slots that the manager's tasks take beyond one for each task.
    pub(super) extra_slots: usize,
    /// The tasks with requirements; None as long as the manager got no such task.
    pub(super) placed: Option<Box<PlacedTasks>>,
    /// The manager's number among the registrations; 0 until the table assigns one.
    pub(super) order: u64,
    /// The journal record, if a journal is kept.
    pub(super) record: Option<Record>,
    /// Number of tasks that the manager held when this process resumed the run.
    pub(super) restored: usize,
    /// Number of restored tasks that may be lost: the manager may get as many tasks beyond its
    /// capacity.
    pub(super) untraced: usize,
}

impl<B> Manager<B> {
    pub(super) fn new(
        id: ManagerId,
        registration: Registration<B>,
        link: Link,
        told: &Placement,
        now: Now,
        heard: Duration,
    ) -> Self {
        Self {
            id,
            site: Site::of(&registration, told),
            ends_at: None,
            is_offered: false,
            extra_slots: 0,
            placed: None,
            registration: Rc::new(registration),
            in_flight: VecDeque::new(),
            held: false,
            draining: false,
            clogged: false,
            link,
            doubts: BTreeMap::new(),
            last_heard: heard,
            last_heartbeat_wall_s: now.wall_s,
            started: now.monotonic,
            idle_since: Some(now),
            tasks_done: 0,
            given_up: GivenUp::default(),
            row: None,
            order: 0,
            record: None,
            restored: 0,
            untraced: 0,
        }
    }

    /// Writes to the journal whether the manager is held, draining or clogged.
    pub(super) fn note_state(&self) {
        let record = self.record.as_ref();
        books::note_state(record, self.held, self.draining, self.clogged);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.link.closed_since().is_some()
    }

    /// Removes a task from the manager's tasks in flight.
    pub(super) fn take(&mut self, task: TaskId) -> Option<InFlight> {
        let is_it = |held: &InFlight| held.task() == task;
        // In nearly all runs of equal tasks, this is the task that was dispatched first.
        if self.in_flight.front().is_some_and(is_it) {
            return self.in_flight.pop_front();
        }
        self.in_flight.remove(self.place_of(task)?)
    }

    pub(super) fn find(&self, task: TaskId) -> Option<&InFlight> {
        self.in_flight.get(self.place_of(task)?)
    }

    fn place_of(&self, task: TaskId) -> Option<usize> {
        let is_it = |held: &InFlight| held.task() == task;
        // Ids usually grow in order of dispatch, and a manager may hold a million tasks.
        let guess = self.in_flight.partition_point(|held| held.task() < task);
        match self.in_flight.get(guess).is_some_and(is_it) {
            true => Some(guess),
            false => self.in_flight.iter().position(is_it),
        }
    }

    pub(super) fn task_ids(&self) -> impl Iterator<Item = TaskId> {
        self.in_flight.iter().map(InFlight::task)
    }

    pub(super) fn info(&self, now: Now) -> NodeInfo<B> {
        NodeInfo {
            registration: Rc::clone(&self.registration),
            tasks: self.task_ids().collect(),
            active: !self.held,
            draining: self.draining,
            last_heartbeat_s: self.last_heartbeat_wall_s,
            idle_since_s: self.idle_since.map(|since| since.wall_s),
            timestamp_s: now.wall_s,
        }
    }
}
