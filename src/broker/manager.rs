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

/// One manager's record. Held, draining and suspect are independent of each other: each is set and
/// reported by itself, and any of them keeps tasks away.
pub(super) struct Manager<B> {
    pub(super) id: ManagerId,
    pub(super) registration: Rc<Registration<B>>,
    /// In order of dispatch. Results come in about that order, so a search from the front is short.
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) held: bool,
    pub(super) draining: bool,
    /// It does not take what it is sent as fast as that is sent.
    pub(super) clogged: bool,
    pub(super) link: Link,
    /// By when tasks that left by an earlier link must be answered, by the number of that: on the
    /// awake clock, as below.
    pub(super) doubts: BTreeMap<u64, Duration>,
    /// On the clock of [`super::liveness::Liveness::awake`].
    pub(super) last_heard: Duration,
    pub(super) last_heartbeat_wall_s: f64,
    /// When this process first registered: monotonic clock.
    pub(super) started: Duration,
    pub(super) idle_since: Option<Now>,
    /// Tasks that it gave a result for.
    pub(super) tasks_done: u64,
    pub(super) given_up: GivenUp,
    /// Its last results, if they were exceptions; None as long as it gave none.
    pub(super) row: Option<Box<Row>>,
    /// What its workers have.
    pub(super) site: Site,
    /// Where nothing may be left of what it does: monotonic clock.
    pub(super) ends_at: Option<Duration>,
    /// The selector was told last that it can take tasks.
    pub(super) is_offered: bool,
    /// Slots that its tasks take beyond one for each.
    pub(super) extra_slots: usize,
    /// None as long as it got no task that asks for something.
    pub(super) placed: Option<Box<PlacedTasks>>,
    /// Its turn among the registrations; 0 before the table gave it one.
    pub(super) order: u64,
    /// Of the journal, where one is kept.
    pub(super) record: Option<Record>,
    /// Tasks that it held when this process took the run over.
    pub(super) restored: usize,
    /// How many of these may be gone: as many more are let in.
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

    /// Held, draining or clogged, for the journal.
    pub(super) fn note_state(&self) {
        let record = self.record.as_ref();
        books::note_state(record, self.held, self.draining, self.clogged);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.link.closed_since().is_some()
    }

    /// Takes a task out of its hands.
    pub(super) fn take(&mut self, task: TaskId) -> Option<InFlight> {
        let is_it = |held: &InFlight| held.task() == task;
        // The one that was dispatched first, in nearly all runs of equal tasks.
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
        // Ids grow as a rule, and a manager may hold a million.
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
