//! The broker: a pure state machine between the executor and the managers.
//!
//! It uses no socket, clock, file or source of randomness. Its methods are of four kinds:
//!
//! - getters;
//! - `handle_*` methods: each takes in one fact, records it and marks what it changes;
//! - [`Broker::next_recipient`] and [`Broker::hand_out`]: they decide batch by batch, after a turn
//!   has taken in all messages that were ready;
//! - [`Broker::poll_output`]: returns the effects to carry out.
//!
//! After any of these calls, drain the outputs before waiting. [`Broker::next_deadline`] says until
//! when to wait, and [`Broker::can_dispatch`] whether to wait at all.
//!
//! `B` is the body of a message. The broker passes bodies through and cannot read them.
//!
//! Which file implements which rule:
//!
//! | rule | file |
//! | --- | --- |
//! | when a manager gets no tasks (held, draining, suspect, awaited, clogged, full) | `dispatch` |
//! | the order in which tasks wait | `lane`, `queue` |
//! | which manager gets a task that has requirements | `placement`, `kinds`, `classes`, `aside` |
//! | tasks that no registered manager can hold | `unmet` |
//! | what a task requires and what a manager offers | `demand`, `placed_tasks`, `affinities` |
//! | tasks that share no batch with others | `dispatch`, `live_ids` |
//! | which manager gets tasks first | `policy`, `selector`, `load_selectors`, `user_selector` |
//! | registrations: versions, an identity that is registered already | `registration` |
//! | connections that close or are replaced; messages without one | `link`, `connections` |
//! | tasks that a broken connection may have lost | `tasks_in_doubt`, `given_up` |
//! | blocks that lost several managers, and what happens to the others | `vanished` |
//! | HOLD_MANAGER, drain | `hold_and_drain` |
//! | when to check which manager | `deadlines`, `liveness`, `looks`, `time` |
//! | the tasks of a lost manager | `lost_managers` |
//! | results: intact, unreadable or late | `results` |
//! | managers that fail every task | `failing` |
//! | messages of identities that are not registered (any more) | `strangers`, `departed_managers` |
//! | one terminal message for each task, no id accepted twice | `ticket`, `live_ids` |
//! | the state that outlives this process, and how a run resumes | `books`, `restart` |
//! | replies to commands | `commands` |
//! | how the run ends | `shutdown` |
//! | records for the monitoring hub | `monitoring` |
//! | what the executor is sent without a request | `observations` |
//! | which state changes are reported and remembered | `happenings`, `change` |
//! | counters, and the snapshot for outside viewers | `tally`, `snapshot` |
//! | messages of peers that contradict the broker's records | `anomaly` |
//! | a manager's record, and the table of managers | `manager`, `manager_table` |
//! | the order in which effects leave, and which are created only then | `outputs` |
//! | what must hold after every step | `invariants` |

// .cargo/clippy.toml lists the items that only code with access to the outside world may name.
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

/// The state machine. The crate's documentation explains how to drive it.
pub struct Broker<B> {
    settings: Settings,
    policy: Policy,
    /// The versions that managers must match. Unknown ones are taken from the first manager.
    versions: Versions,
    queue: TaskQueue<B>,
    live: LiveIds,
    /// Whether any task has ever had requirements. Until then, all code for requirements is
    /// skipped.
    has_asked: bool,
    affinities: Affinities,
    warm: WarmManagers,
    /// Managers that have room but that no queued task fits.
    aside: Aside,
    reservation: Option<Reservation>,
    looks: Looks,
    /// Present if the executor uses the dialect in which it gets status reports instead of asking.
    observations: Option<Observations>,
    managers: ManagerTable<B>,
    departed: Departed,
    anomalies: Box<dyn AnomalyLog>,
    /// The block of every manager that ever registered, in order, as CONNECTED_BLOCKS reports it.
    block_history: Rc<Vec<BlockId>>,
    liveness: Liveness,
    blocks: Blocks,
    outputs: Outputs<B>,
    /// False while results cannot leave: what managers would send back could not be forwarded.
    dispatching: bool,
    /// Set once the submit side is gone: the time by which the managers must have been told to
    /// exit.
    leaving_until: Option<Duration>,
    stopping: bool,
    tally: Tally,
    exceptions: Exceptions,
    pace: Pace,
    /// The latest changes of managers.
    recent: Recent,
    books: Books,
    survival: Survival,
}

impl<B> Broker<B> {
    /// Returns a broker without tasks and managers, whose run begins at `now`.
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

    /// Returns the number of tasks that wait for a manager.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns the total weight of the queued tasks.
    pub fn queued_weight(&self) -> usize {
        self.queue.weight()
    }

    /// Whether [`Self::poll_output`] would return an effect.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Sets the log that decides which anomalies are written from now on.
    pub fn log_anomalies_by(&mut self, log: Box<dyn AnomalyLog>) {
        self.anomalies = log;
    }

    /// Returns the number of tasks that managers hold.
    pub fn in_flight(&self) -> usize {
        self.managers
            .iter()
            .map(|(_, manager)| manager.in_flight.len())
            .sum()
    }

    /// Returns a line for the end of a log: the tasks that have no terminal message yet.
    pub fn unfinished(&self) -> String {
        let queued = self.queue.ids().collect();
        let held = self.managers.task_ids().collect();
        let mut line = format!(
            "Tasks without a result: queued {}, in flight {}",
            ticket::ranges(queued),
            ticket::ranges(held)
        );
        if self.tally.late_results > 0 {
            line.push_str(&format!(
                "; dropped because they came too late: {} results of managers that were no longer \
                 registered, or of tasks that were reported lost",
                self.tally.late_results
            ));
        }
        line
    }

    /// Returns the next effect to carry out.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output<B>> {
        self.outputs.pop_front()
    }

    /// Returns when [`Self::handle_time`] has something to do next, on the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        let sooner =
            |first: Option<Duration>, at: Duration| Some(first.map_or(at, |first| first.min(at)));
        let mut first = self.liveness.next_deadline();
        if let Some(at) = self.looks.first() {
            first = sooner(first, at);
        }
        // While dispatching is off, no selector is asked and no answer is awaited.
        if self.policy.is_asked()
            && self.dispatching
            && self.queue.has_work()
            && let Some(at) = self.policy.next_deadline()
        {
            first = sooner(first, at);
        }
        first
    }

    /// Sets the versions of the submit side, which the caller has found out. Call it before the
    /// first registration.
    pub fn handle_versions(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// Takes in a task from the executor. A second task under a live id is dropped. `weight` is
    /// what the task takes to keep, in any unit; [`Self::queued_weight`] is the sum.
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

    /// Queues a task whose id is live. It has been waiting since `since_ns`.
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
            debug!("Task {id} refers to {name} and is sent in a separate batch");
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

    /// Answers a task that cannot be forwarded but whose id is known with a failure.
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

    /// Answers a task whose id is too large for the broker with a failure. The id never becomes
    /// live.
    pub fn handle_task_of_wide_id(&mut self, task: WideTaskId, reason: String, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if self.takes_tasks(&task) {
            self.tally.tasks_received += 1;
            self.tally.tasks_unreadable += 1;
            self.outputs
                .push_back(Output::Failure(Failure::WideId { task, reason }));
        }
    }

    /// Takes in one message of a manager.
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

    /// Adds an id to the set of live ones. A second task under a live id is refused, because two
    /// results for one id would end the executor's only result thread.
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
            // The log line about unanswered tasks may be written already; a task that arrives now
            // would not be in it.
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
            // Parsl's interchange dies on a monitoring record when it has no hub; here the record
            // is dropped.
            FromManager::Monitoring { .. } => {}
            FromManager::ConnectionProbe | FromManager::Registration(_) => {
                debug_assert!(false, "probes and registrations are handled before");
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
