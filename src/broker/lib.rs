//! The broker: a pure state machine between the executor and the managers.
//!
//! It has no socket, clock, file or randomness of its own. Methods are of four kinds: getters;
//! `handle_*`, which take in one fact each, record it and mark what it changes;
//! [`Broker::dispatch`], which decides once a turn, with everything that came in view; and
//! [`Broker::poll_output`], which hands out the effects. After any `handle_*` or `dispatch`, drain
//! the outputs before waiting; [`Broker::next_deadline`] says until when.
//!
//! `B` is a message body that passes through. Nothing here can open one.

mod commands;
mod complaints;
mod departed_managers;
mod happenings;
mod histogram;
mod invariants;
mod live_ids;
mod liveness;
mod manager_table;
mod membership;
mod output;
mod policy;
mod queue;
mod returned_batches;
mod selector;
mod shutdown;
mod snapshot;
mod tally;
mod tasks_in_doubt;
mod ticket;
mod user_selector;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tracing::{debug, warn};

use protocol::{
    BlockId, Failure, FromManager, ManagerId, NodeInfo, Report, Task, TaskId, ToManager,
    VersionCheck,
};

pub use complaints::{Complaint, Complaints};
pub use happenings::{FailedBy, Happening, ManagerChange, TaskChange, What};
pub use histogram::Histogram;
pub use invariants::check as check_invariants;
pub use manager_table::Slot;
pub use output::{Output, Shipment, StopReason};
pub use selector::{BlockIdSelector, Candidate, RandomSelector, Selector};
pub use snapshot::{ManagerView, QueueView, Snapshot};
pub use tally::{Rates, Tally};
pub use tasks_in_doubt::Patience;

use departed_managers::Departed;
use happenings::Recent;
use live_ids::LiveIds;
use liveness::Liveness;
use manager_table::ManagerTable;
use policy::Policy;
use queue::{QueuedTask, TaskQueue};
use tally::Pace;
use ticket::{InFlight, Ticket};

/// Most tasks in one batch. A manager with room for more gets another batch in the same turn; no
/// single message grows with the queue.
const BATCH_TASKS_MAX: usize = 1024;

/// The time of one turn of the loop, captured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Since some fixed point in the past; never goes back, whatever happens to the wall clock.
    pub monotonic: Duration,
    /// Seconds since the epoch: for reports, and for times that managers tell in it.
    pub wall_s: f64,
}

/// Names one connection of the worker socket for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Where a manager's message came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// None if the connection is closed by now.
    pub connection: Option<ConnectionId>,
    pub address: Option<IpAddr>,
}

/// The versions of the submit side, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// `3.11`
    pub python: Option<String>,
    /// `VERSION` of `parsl/version.py`, zero-padded: `2026.08.10`.
    pub parsl: Option<String>,
}

/// What the broker is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A manager that says nothing for longer is lost.
    pub heartbeat_threshold: Duration,
    /// A manager whose connection closed is lost when it has not come back for so long, if that is
    /// sooner. None: its silence alone counts.
    pub disconnect_grace: Option<Duration>,
    /// For tasks that a connection which broke and healed may have taken with it.
    pub reconnect_patience: Patience,
    pub version_check: VersionCheck,
    /// Whether a hub listens: reports are made only then.
    pub monitoring: bool,
    /// Whether state changes of tasks and managers are told, by [`Output::Happening`].
    pub happenings: bool,
    /// The port that WORKER_BINDS tells.
    pub worker_port: u16,
}

/// The state machine. See the module's page for how to drive it.
pub struct Broker<B> {
    settings: Settings,
    policy: Policy,
    /// What managers are compared with. Filled from the first manager where nothing else told it.
    versions: Versions,
    queue: TaskQueue<B>,
    live: LiveIds,
    managers: ManagerTable<B>,
    departed: Departed,
    complaints: Complaints,
    /// Block of every manager that ever registered, in that order, as CONNECTED_BLOCKS tells it.
    block_history: Rc<Vec<BlockId>>,
    liveness: Liveness,
    outputs: VecDeque<Output<B>>,
    /// False while results cannot leave: what managers would answer has nowhere to go.
    dispatching: bool,
    /// The submit side is gone: by when the managers must have been told.
    leaving_until: Option<Duration>,
    stopping: bool,
    tally: Tally,
    pace: Pace,
    /// What became of managers lately.
    recent: Recent,
}

impl<B> Broker<B> {
    pub fn new(settings: Settings, selector: Box<dyn Selector>, now: Now) -> Self {
        Self {
            liveness: Liveness::new(settings.heartbeat_threshold, settings.disconnect_grace, now),
            settings,
            policy: Policy::Own(selector),
            versions: Versions::default(),
            queue: TaskQueue::new(),
            live: LiveIds::new(),
            managers: ManagerTable::new(),
            departed: Departed::new(),
            complaints: Complaints::default(),
            block_history: Rc::new(Vec::new()),
            outputs: VecDeque::new(),
            dispatching: true,
            leaving_until: None,
            stopping: false,
            tally: Tally::default(),
            pace: Pace::new(),
            recent: Recent::default(),
        }
    }

    /// Tasks that wait for a manager.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Decides whether a line about bad input is written, here and in the rings around.
    pub fn complaints(&mut self) -> &mut Complaints {
        &mut self.complaints
    }

    /// Tasks that managers hold.
    pub fn in_flight(&self) -> usize {
        self.managers
            .iter()
            .map(|(_, manager)| manager.in_flight.len())
            .sum()
    }

    /// Managers that are registered.
    pub fn manager_count(&self) -> usize {
        self.managers.len()
    }

    /// The tasks that have no terminal message yet, for the last line of a log.
    pub fn unfinished(&self) -> String {
        let queued = self.queue.ids().collect();
        let held = self
            .managers
            .iter()
            .flat_map(|(_, manager)| manager.task_ids())
            .collect();
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
        // While nothing may be dispatched nobody is asked, and no answer is awaited.
        let policy = self
            .policy
            .next_deadline()
            .filter(|_| self.dispatching && !self.queue.is_empty());
        let complaints = self.complaints.next_deadline();
        let deadlines = [
            self.liveness.next_deadline(),
            policy,
            complaints,
            self.leaving_until,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The versions of the submit side, found outside; told before the first registration.
    pub fn handle_versions(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// A task from the executor. Whether it waits now; a second one under a live id is dropped.
    pub fn handle_task(&mut self, task: Task<B>, now: Now) -> bool {
        let Task { id, priority, body } = task;
        self.pace.turn(&self.tally, now.monotonic);
        if !self.claim(id) {
            self.tally.tasks_rejected += 1;
            return false;
        }
        self.tally.tasks_received += 1;
        self.queue.push(QueuedTask {
            ticket: Ticket::issue(id),
            priority,
            since: now.monotonic,
            body,
        });
        self.tell_of_task(now, || (id, TaskChange::Queued));
        debug!("Put task {id} onto pending_task_queue");
        true
    }

    /// A task that cannot be passed on, but whose id is known: it is answered.
    pub fn handle_unreadable_task(&mut self, task: TaskId, reason: String, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if self.claim(task) {
            self.live.remove(task);
            self.tally.tasks_received += 1;
            self.outputs
                .push_back(Output::Failure(Failure::Unreadable { task, reason }));
            self.note_unreadable(task, None, now);
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
            message => match self.managers.slot_of(id) {
                Some(slot) => {
                    self.note_alive(slot, origin, now);
                    self.handle_known(slot, message, now);
                }
                None => self.handle_stranger(id, &message, now),
            },
        }
    }

    /// Whether tasks may leave.
    pub fn handle_dispatching(&mut self, allowed: bool) {
        self.dispatching = allowed;
    }

    /// Hands out what waits to managers with room, the selector's best first.
    pub fn dispatch(&mut self, now: Now) {
        if !self.dispatching || self.stopping || self.leaving_until.is_some() {
            return;
        }
        self.stop_waiting_if_overdue(now);
        while !self.queue.is_empty() {
            let Some(slot) = self.policy.best(now) else {
                break;
            };
            self.dispatch_to(slot, now);
        }
        self.ask_if_needed(now);
    }

    /// Takes an id into the set of live ones. Two results for one id would end the executor's only
    /// result thread, so a second task under a live id is not taken.
    fn claim(&mut self, id: TaskId) -> bool {
        if self.stopping || self.leaving_until.is_some() {
            // What was here has been written down; nobody would do that for a latecomer.
            warn!("Task {id} came after the end and is dropped");
            return false;
        }
        let (queue, managers) = (&self.queue, &self.managers);
        let fresh = self.live.insert(id, || {
            let held = managers.iter().flat_map(|(_, manager)| manager.task_ids());
            queue.ids().chain(held).collect()
        });
        if !fresh {
            warn!("Task {id} is here already; the second one is dropped");
        }
        fresh
    }

    fn dispatch_to(&mut self, slot: Slot, now: Now) {
        let dispatched = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let count = manager
            .free_capacity()
            .min(BATCH_TASKS_MAX)
            .min(self.queue.len());
        let mut shipment = Shipment::with_capacity(count);
        while shipment.len() < count {
            let Some(QueuedTask {
                ticket,
                priority,
                since,
                body,
            }) = self.queue.pop()
            else {
                break;
            };
            shipment.add(Task {
                id: ticket.task(),
                priority,
                body,
            });
            let queued_for = now.monotonic.saturating_sub(since);
            self.tally.queued_for.add(queued_for);
            manager.in_flight.push_back(InFlight {
                ticket,
                dispatched,
                in_doubt: None,
            });
        }
        self.tally.batches += 1;
        self.tally.tasks_dispatched += shipment.len() as u64;
        manager.idle_since = None;
        debug!("Sent tasks: {:?} to manager {}", shipment.ids(), manager.id);
        let to = manager.id.clone();
        self.index(slot);
        // Its record leaves before the batch: clients read from it where a task runs, right after
        // the task is done.
        self.report(slot, now);
        self.tell_of_batch(&to, &shipment, now);
        self.outputs.push_back(Output::Batch { to, shipment });
    }

    fn handle_known(&mut self, slot: Slot, message: FromManager<B>, now: Now) {
        match message {
            FromManager::Heartbeat => {
                self.policy.note_change(slot);
                let manager = self.managers.get_mut(slot);
                manager.last_heartbeat_wall_s = now.wall_s;
                let to = manager.id.clone();
                self.send(&to, ToManager::HeartbeatEcho);
            }
            FromManager::Result { task, frame } => self.take_result(slot, task, frame, now),
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

    /// An identity that was here and is not any more is told to exit, so that it stops using up
    /// its allocation. One that never was gets nothing, as in Parsl.
    fn handle_stranger(&mut self, id: &ManagerId, message: &FromManager<B>, now: Now) {
        let unknown = Complaint::UnknownManager;
        let may_say = self.complaints.may_say(unknown, id.as_bytes(), now);
        let is_departed = self.departed.contains(id);
        if is_departed {
            self.send(id, ToManager::Shutdown);
        }
        let is_result = matches!(
            message,
            FromManager::Result { .. } | FromManager::SpoiltResult { .. }
        );
        if is_departed && is_result {
            self.tally.late_results += 1;
        }
        if !may_say {
            return;
        }
        let what = match message {
            FromManager::Result { task, .. } | FromManager::SpoiltResult { task, .. } => {
                let late = match is_departed {
                    true => format!(" (late result number {})", self.tally.late_results),
                    false => String::new(),
                };
                format!("the result of task {task}{late}")
            }
            other => format!("a message ({})", other.kind()),
        };
        if is_departed {
            warn!("Dropping {what} of {id}, which is not registered any more; it is told to exit");
        } else {
            warn!("Ignoring message from unknown manager: {id}: {what}");
        }
    }

    fn take_result(&mut self, slot: Slot, task: TaskId, frame: B, now: Now) {
        if self.settle(slot, task, now) {
            if self.leaving_until.is_none() {
                self.outputs.push_back(Output::Result(frame));
            }
            self.note_done(slot, task, now);
            self.after_result(slot, now);
        }
    }

    /// The task is done and gave nothing that the executor could take: it is failed.
    fn take_spoilt_result(&mut self, slot: Slot, task: TaskId, reason: String, now: Now) {
        if self.settle(slot, task, now) {
            let manager = &self.managers.get(slot).id;
            warn!("Task {task} is failed, the result from {manager} cannot be passed on: {reason}");
            let manager = manager.clone();
            let reason = format!("the result of task {task} could not be passed on: {reason}");
            let failure = Failure::Unreadable { task, reason };
            self.outputs.push_back(Output::Failure(failure));
            self.note_unreadable(task, Some(manager), now);
            self.after_result(slot, now);
        }
    }

    /// Takes a task that is done out of a manager's hands. False if it was not in them.
    fn settle(&mut self, slot: Slot, task: TaskId, now: Now) -> bool {
        let manager = self.managers.get_mut(slot);
        let Some(held) = manager.take(task) else {
            let is_late = manager.given_up.forget(task);
            self.tally.late_results += u64::from(is_late);
            let (id, late) = (&manager.id, self.tally.late_results);
            let not_held = Complaint::ResultNotHeld;
            if self.complaints.may_say(not_held, id.as_bytes(), now) {
                match is_late {
                    true => warn!(
                        "Dropping the result of task {task} (late result number {late}): it was \
                         given up, in doubt since manager {id} came back (see --reconnect-patience)"
                    ),
                    false => {
                        warn!("Dropping the result of task {task}: manager {id} does not hold it");
                    }
                }
            }
            return false;
        };
        let flight = self.liveness.awake(now).saturating_sub(held.dispatched);
        self.tally.in_flight_for.add(flight);
        self.live.remove(held.ticket.settle());
        if manager.in_flight.is_empty() {
            manager.idle_since = Some(now);
        }
        if held.in_doubt.is_some() {
            self.watch_doubts(slot);
        }
        true
    }

    fn after_result(&mut self, slot: Slot, now: Now) {
        self.index(slot);
        self.report(slot, now);
        self.finish_draining(slot, now);
    }

    fn send(&mut self, to: &ManagerId, message: ToManager) {
        self.outputs.push_back(Output::ToManager {
            to: to.clone(),
            message,
        });
    }

    /// Tells the selector whether this manager can take tasks now.
    fn index(&mut self, slot: Slot) {
        let manager = self.managers.get(slot);
        if manager.is_eligible() {
            self.policy.offer(Candidate {
                slot,
                block: &manager.registration.block,
            });
        } else {
            self.policy.withdraw(slot);
        }
    }

    fn report(&mut self, slot: Slot, now: Now) {
        if self.settings.monitoring {
            let info = self.managers.get(slot).info(now);
            self.send_report(info);
        }
    }

    fn send_report(&mut self, info: NodeInfo<B>) {
        let report = Report::NodeInfo(Box::new(info));
        self.outputs.push_back(Output::Report(report));
    }
}
