//! The broker: a pure state machine between the executor and the managers.
//!
//! It has no socket, clock, file or randomness of its own. Methods are of four kinds: getters;
//! `handle_*`, which take in one fact each, record it and mark what it changes;
//! [`Broker::next_recipient`] and [`Broker::hand_out`], which decide batch by batch, once a turn
//! has everything that came in view; and [`Broker::poll_output`], which hands out the effects.
//! After any of them, drain the outputs before waiting; [`Broker::next_deadline`] says until when,
//! and [`Broker::can_dispatch`] whether to wait at all.
//!
//! `B` is a message body that passes through. Nothing here can open one.
//!
//! Where each rule stands, by file:
//!
//! | rule | file |
//! | --- | --- |
//! | who may get tasks (nobody held, draining, suspect, awaited, clogged or full) | `dispatch` |
//! | in which order tasks wait | `lane`, `queue` |
//! | which task goes where, if tasks ask for something | `placement`, `kinds`, `classes`, `aside` |
//! | what waits for a manager that is not here | `unmet` |
//! | what a task asks for and what a manager has | `demand`, `placed_tasks`, `affinities` |
//! | which tasks share no batch with others | `dispatch`, `live_ids` |
//! | which manager comes first | `policy`: `selector`s, `load_selectors`, the `user_selector` |
//! | registrations: versions, an identity that is registered already | `registration` |
//! | connections that close, or are others; words that have none to go by | `link`, `connections` |
//! | what a connection may have taken with it when it broke | `tasks_in_doubt`, `given_up` |
//! | whose block has lost several managers, and who has not spoken since | `vanished` |
//! | HOLD_MANAGER, drain | `hold_and_drain` |
//! | when to look at whom, and what was read by then | `deadlines`, `liveness`, `looks`, `time` |
//! | what becomes of a lost manager's tasks | `lost_managers` |
//! | results, whole, spoilt or late | `results` |
//! | managers that fail everything | `failing` |
//! | messages of those who are not registered, or not any more | `strangers`, `departed_managers` |
//! | one terminal message for each task, no id twice | `ticket`, `live_ids` |
//! | what outlives this process, and how another one goes on | `books`, `restart` |
//! | answers to commands | `commands` |
//! | how the run ends | `shutdown` |
//! | records for the monitoring hub | `monitoring` |
//! | what the executor is told where it does not ask | `observations` |
//! | what is told of each change, and remembered | `happenings`, `change` |
//! | what is counted, and what a look from outside shows | `tally`, `snapshot` |
//! | what peers say that does not fit the books | `anomaly` |
//! | what a manager's record and the table of managers hold | `manager`, `manager_table` |
//! | in which order effects leave, and what is made only then | `outputs` |
//! | what must hold after every step | `invariants` |

// .cargo/clippy.toml lists what only a program with a world around it may name.
#![forbid(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    unsafe_code
)]

pub mod books;

mod affinities;
mod anomaly;
mod aside;
mod change;
mod classes;
mod commands;
mod connections;
mod deadlines;
mod demand;
mod departed_managers;
mod dispatch;
mod failing;
mod given_up;
mod happenings;
mod histogram;
mod hold_and_drain;
mod invariants;
mod kinds;
mod lane;
mod link;
mod live_ids;
mod liveness;
mod load_selectors;
mod looks;
mod lost_managers;
mod manager;
mod manager_table;
mod monitoring;
mod now;
mod observations;
mod origin;
mod output;
mod outputs;
mod placed_tasks;
mod placement;
mod policy;
mod queue;
mod registration;
mod restart;
mod results;
mod selector;
mod settings;
mod shutdown;
mod slot;
mod snapshot;
mod strangers;
mod tally;
mod tasks_in_doubt;
mod ticket;
mod time;
mod unmet;
mod user_selector;
mod vanished;

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use protocol::{
    BlockId, Failure, FromManager, ManagerId, Report, Task, TaskId, ToManager, WideTaskId,
};

pub use anomaly::{Anomaly, AnomalyLog, Remark};
pub use change::{FailedBy, Happening, ManagerChange, TaskChange, What};
pub use dispatch::{BatchRoom, Recipient};
pub use histogram::Histogram;
pub use invariants::{Disorder, check as check_invariants};
pub use load_selectors::{PackSelector, SpreadSelector};
pub use now::Now;
pub use origin::{ConnectionId, Origin};
pub use output::{Output, Shipment, StopReason};
pub use restart::{Death, Left, LeftManager, LeftTask, TakenOver};
pub use selector::{BlockIdSelector, Candidate, RandomSelector, Selector};
pub use settings::{Patience, Placement, Settings, Versions};
pub use slot::Slot;
pub use snapshot::{ManagerView, QueueView, ReservationView, Snapshot};
pub use tally::{Rates, Tally};
pub use unmet::{Lack, Unmet};

use affinities::Affinities;
use anomaly::LogEach;
use aside::Aside;
use books::Books;
use departed_managers::Departed;
use failing::Exceptions;
use happenings::Recent;
use lane::QueuedTask;
use live_ids::LiveIds;
use liveness::Liveness;
use looks::Looks;
use manager_table::ManagerTable;
use observations::Observations;
use outputs::Outputs;
use placement::{Reservation, WarmManagers};
use policy::{Own, Policy};
use queue::TaskQueue;
use restart::Survival;
use tally::Pace;
use ticket::Ticket;
use vanished::Blocks;

/// The state machine. See the module's page for how to drive it.
pub struct Broker<B> {
    settings: Settings,
    policy: Policy,
    /// What managers are compared with. Filled from the first manager where nothing else told it.
    versions: Versions,
    queue: TaskQueue<B>,
    live: LiveIds,
    /// Some task has asked for something. Where none ever did, nothing of it is looked at.
    has_asked: bool,
    affinities: Affinities,
    warm: WarmManagers,
    /// Those with room whom nothing fits that waits.
    aside: Aside,
    reservation: Option<Reservation>,
    looks: Looks,
    /// Where the executor is told and does not ask.
    observations: Option<Observations>,
    managers: ManagerTable<B>,
    departed: Departed,
    anomalies: Box<dyn AnomalyLog>,
    /// Block of every manager that ever registered, in that order, as CONNECTED_BLOCKS tells it.
    block_history: Rc<Vec<BlockId>>,
    liveness: Liveness,
    blocks: Blocks,
    outputs: Outputs<B>,
    /// False while results cannot leave: what managers would answer has nowhere to go.
    dispatching: bool,
    /// The submit side is gone: by when the managers must have been told.
    leaving_until: Option<Duration>,
    stopping: bool,
    tally: Tally,
    exceptions: Exceptions,
    pace: Pace,
    /// What became of managers lately.
    recent: Recent,
    books: Books,
    survival: Survival,
}

impl<B> Broker<B> {
    /// A broker without tasks and managers, that begins at this time.
    pub fn new(settings: Settings, selector: Box<dyn Selector>, now: Now) -> Self {
        Self {
            liveness: Liveness::new(settings.heartbeat_threshold, now),
            settings,
            policy: Policy::Own(Own::new(selector)),
            versions: Versions::default(),
            queue: TaskQueue::new(),
            live: LiveIds::new(),
            has_asked: false,
            affinities: Affinities::default(),
            warm: WarmManagers::default(),
            aside: Aside::default(),
            reservation: None,
            looks: Looks::default(),
            observations: None,
            managers: ManagerTable::new(),
            departed: Departed::default(),
            anomalies: Box::new(LogEach),
            block_history: Rc::new(Vec::new()),
            blocks: Blocks::default(),
            outputs: Outputs::new(),
            dispatching: true,
            leaving_until: None,
            stopping: false,
            tally: Tally::default(),
            exceptions: Exceptions::default(),
            pace: Pace::default(),
            recent: Recent::default(),
            books: Books::default(),
            survival: Survival::default(),
        }
    }

    /// Tasks that wait for a manager.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What they weigh in all.
    pub fn queued_weight(&self) -> usize {
        self.queue.weight()
    }

    /// Whether [`Self::poll_output`] has something.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// From now on what does not fit is logged, or not, by this.
    pub fn log_anomalies_by(&mut self, log: Box<dyn AnomalyLog>) {
        self.anomalies = log;
    }

    /// Tasks that managers hold.
    pub fn in_flight(&self) -> usize {
        self.managers
            .iter()
            .map(|(_, manager)| manager.in_flight.len())
            .sum()
    }

    /// The tasks that have no terminal message yet, for the last line of a log.
    pub fn unfinished(&self) -> String {
        let queued = self.queue.ids().collect();
        let held = self.managers.task_ids().collect();
        let mut line = format!(
            "Without an answer: queued {}, in flight {}",
            ticket::ranges(queued),
            ticket::ranges(held)
        );
        if self.tally.late_results > 0 {
            line.push_str(&format!(
                "; too late to be used: {} results of managers that were gone, or of tasks that \
                 were given up",
                self.tally.late_results
            ));
        }
        line
    }

    /// The next effect to carry out.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output<B>> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_time`] has something to do next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        let sooner =
            |first: Option<Duration>, at: Duration| Some(first.map_or(at, |first| first.min(at)));
        let mut first = self.liveness.next_deadline();
        if let Some(at) = self.looks.first() {
            first = sooner(first, at);
        }
        // While nothing may be dispatched nobody is asked, and no answer is awaited.
        if self.policy.is_asked()
            && self.dispatching
            && self.queue.has_work()
            && let Some(at) = self.policy.next_deadline()
        {
            first = sooner(first, at);
        }
        first
    }

    /// The versions of the submit side, found outside; told before the first registration.
    pub fn handle_versions(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// A task from the executor. A second one under a live id is dropped. `weight`: what it takes
    /// to keep it, in any unit; [`Self::queued_weight`] sums it up.
    pub fn handle_task(&mut self, task: Task<B>, weight: usize, now: Now) {
        let id = task.id;
        self.pace.turn(&self.tally, now.monotonic);
        if !self.claim(id, now) {
            self.tally.tasks_rejected += 1;
            return;
        }
        self.tally.tasks_received += 1;
        self.tell_of_task(now, || {
            let needs = task.needs.as_deref().map(ToString::to_string);
            (id, TaskChange::Queued { needs })
        });
        self.enqueue(task, weight, now.monotonic_ns(), now);
        debug!("Put task {id} onto pending_task_queue");
    }

    /// A task whose id is live waits from now on, and has done so since then.
    #[inline(always)]
    fn enqueue(&mut self, task: Task<B>, weight: usize, since_ns: u64, now: Now) {
        let Task {
            id,
            priority,
            foreign_name,
            needs,
            body,
        } = task;
        if let Some(name) = foreign_name {
            debug!("Task {id} names {name} and travels alone");
            self.live.send_alone(id, name);
        }
        let task = QueuedTask {
            ticket: Ticket::issue(id),
            priority,
            since_ns,
            weight,
            body,
        };
        if needs.is_none() && !self.has_asked {
            self.queue.plain.push(task);
        } else {
            self.queue_where_some_ask(task, needs, now);
        }
    }

    /// A task that cannot be passed on, but whose id is known: it is answered.
    pub fn handle_unreadable_task(&mut self, task: TaskId, reason: String, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if self.claim(task, now) {
            self.live.remove(task);
            self.tally.tasks_received += 1;
            self.outputs
                .push_back(Output::Failure(Failure::Unreadable { task, reason }));
            self.note_unreadable(task, None, now);
        }
    }

    /// A task whose id is beyond those that are kept here: it is answered, and never live.
    pub fn handle_task_of_wide_id(&mut self, task: WideTaskId, reason: String, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if self.takes_tasks(&task) {
            self.tally.tasks_received += 1;
            self.tally.tasks_unreadable += 1;
            self.outputs
                .push_back(Output::Failure(Failure::WideId { task, reason }));
        }
    }

    /// One message of a manager.
    pub fn handle_manager(
        &mut self,
        id: &ManagerId,
        message: FromManager<B>,
        origin: Origin,
        now: Now,
    ) {
        self.begin_turn(now);
        match message {
            FromManager::ConnectionProbe => self.send(id, ToManager::ProbeAnswer),
            FromManager::Registration(registration) => {
                self.register(id, *registration, origin, now);
            }
            FromManager::Heartbeat
            | FromManager::Result { .. }
            | FromManager::SpoiltResult { .. }
            | FromManager::Drain
            | FromManager::Monitoring { .. } => match self.managers.slot_of(id) {
                Some(slot) => {
                    self.note_alive(slot, origin, now);
                    self.handle_known(slot, message, now);
                }
                None => self.handle_stranger(id, &message, now),
            },
        }
    }

    /// Takes an id into the set of live ones. Two results for one id would end the executor's only
    /// result thread, so a second task under a live id is not taken.
    fn claim(&mut self, id: TaskId, now: Now) -> bool {
        if !self.takes_tasks(&id) {
            return false;
        }
        let (queue, managers) = (&self.queue, &self.managers);
        let fresh = self
            .live
            .insert(id, || queue.ids().chain(managers.task_ids()).collect());
        if self.live.is_strict() {
            self.note_accepted(id, fresh, now);
        } else if !fresh {
            codes::log!(TASK_DUPLICATE, "Dropping task {id}: duplicate id");
        }
        fresh
    }

    fn takes_tasks(&self, id: &dyn Display) -> bool {
        let is_leaving = self.stopping || self.leaving_until.is_some();
        if is_leaving {
            // What was here has been written down; nobody would do that for a latecomer.
            codes::log!(
                TASK_AFTER_END,
                "Dropping task {id}: the interchange is ending"
            );
        }
        !is_leaving
    }

    fn handle_known(&mut self, slot: Slot, message: FromManager<B>, now: Now) {
        match message {
            FromManager::Heartbeat => {
                self.policy.note_change(slot);
                self.managers.get_mut(slot).last_heartbeat_wall_s = now.wall_s;
                self.send_echo(slot);
            }
            FromManager::Result {
                task,
                is_exception: true,
                frame,
            } => self.take_exception(slot, task, frame, now),
            FromManager::Result { task, frame, .. } => self.take_result(slot, task, frame, now),
            FromManager::SpoiltResult { task, reason } => {
                self.take_spoilt_result(slot, task, reason, now);
            }
            FromManager::Drain => self.start_draining(slot, now),
            FromManager::Monitoring { message } if self.settings.monitoring => {
                self.outputs
                    .push_back(Output::Report(Report::Relayed(message)));
            }
            // Stock dies on a record that it has no hub for.
            FromManager::Monitoring { .. } => {}
            FromManager::ConnectionProbe | FromManager::Registration(_) => {
                debug_assert!(false, "answered alike for known and unknown managers");
            }
        }
    }

    fn send(&mut self, to: &ManagerId, message: ToManager) {
        self.outputs.push_back(Output::ToManager {
            to: to.clone(),
            message,
        });
    }
}
