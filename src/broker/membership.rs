//! How managers come, stay, drain, are held, and go.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use tracing::{error, info, warn};

use super::manager_table::{Manager, Slot};
use super::ticket::InFlight;
use super::{
    Broker, Complaint, ConnectionId, ManagerChange, Now, Origin, Output, StopReason, ticket,
};
use protocol::{BlockId, Failure, ManagerId, Registration, TaskId, ToManager, VersionCheck};

/// Above this, each block is remembered once, and the latest ones only.
const BLOCKS_REMEMBERED_MAX: usize = 64 * 1024;

impl<B> Broker<B> {
    /// A connection of the worker socket was closed. Its manager is suspect: nothing new is sent to
    /// it until it speaks again, by another connection.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Now) {
        self.begin_turn(now);
        let Some(slot) = self.managers.slot_by_connection(connection) else {
            return;
        };
        self.suspect(slot, now);
        let manager = self.managers.get(slot);
        info!(
            "Manager {} is disconnected, with {} tasks in flight; it gets no more until it speaks",
            manager.registration.place(&manager.id),
            manager.in_flight.len()
        );
        // The address stays, to compare with the one that it speaks from next.
        let address = manager.origin.address;
        let connection = None;
        self.managers.set_origin(
            slot,
            Origin {
                connection,
                address,
            },
        );
        self.index(slot);
    }

    /// Nothing new goes to a manager without a connection. From now on its grace runs.
    pub(super) fn suspect(&mut self, slot: Slot, now: Now) {
        let since = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        if manager.suspect_since.is_none() {
            manager.suspect_since = Some(since);
            let (id, in_flight) = (manager.id.clone(), manager.in_flight.len());
            self.liveness.watch_suspect(slot, since);
            self.sweep_deadlines();
            self.note_manager(&id, ManagerChange::Suspect { in_flight }, now);
        }
    }

    fn sweep_deadlines(&mut self) {
        let managers = &self.managers;
        self.liveness
            .sweep(|slot| managers.find(slot).map(Manager::silence));
    }

    /// The worker socket was found empty: whoever seems silent has truly said nothing.
    pub fn handle_workers_empty(&mut self, now: Now) {
        self.begin_turn(now);
        self.liveness.workers_empty(now);
    }

    /// Time has passed: whoever is overdue is lost, whoever reached its drain time drains.
    pub fn handle_time(&mut self, now: Now) {
        self.begin_turn(now);
        self.complaints.handle_time(now);
        while let Some(slot) = self.liveness.pop_drain_due(now) {
            if let Some(manager) = self.managers.find(slot) {
                info!(
                    "Manager {} has reached its drain time - draining",
                    manager.id
                );
                self.start_draining(slot, now);
            }
        }
        let managers = &self.managers;
        let due = self
            .liveness
            .overdue(now, |slot| managers.find(slot).map(Manager::silence));
        for slot in due.lost {
            if self.managers.find(slot).is_some() {
                self.expire(slot, now);
            }
        }
        for (slot, until) in due.doubts {
            if self.managers.find(slot).is_some() {
                self.give_up_doubts(slot, until, now);
            }
        }
        self.leave_if_done(now);
    }

    /// Whatever comes first in a turn, a sleep before it is known before anybody's silence is
    /// measured.
    pub(super) fn begin_turn(&mut self, now: Now) {
        self.pace.turn(&self.tally, now.monotonic);
        if let Some(stalled) = self.liveness.turn(now) {
            warn!(
                "This process did not run for {:.1} s; managers are not blamed for it",
                stalled.as_secs_f64()
            );
        }
    }

    pub(super) fn register(
        &mut self,
        id: &ManagerId,
        registration: Registration<B>,
        origin: Origin,
        now: Now,
    ) {
        let known = self.managers.slot_of(id).is_some();
        let again = Complaint::Registration;
        let may_say = !known || self.complaints.may_say(again, id.as_bytes(), now);
        if may_say {
            info!(
                "Registration of manager {}: capacity {}, workers {}, Python {}, Parsl {}",
                registration.place(id),
                registration.max_capacity,
                registration.worker_count,
                registration.python_version,
                registration.parsl_version,
            );
        }
        if self.stopping || self.leaving_until.is_some() {
            self.send(id, ToManager::Shutdown);
            return;
        }
        let failure = self.mismatch(&registration);
        let heard = self.liveness.awake(now);
        let mut manager = Manager::new(id.clone(), registration, now, heard);
        if let Some(failure) = failure {
            self.refuse_versions(manager, failure, now);
            return;
        }
        manager.registered_by = origin.connection;
        self.end_earlier_registration(&mut manager, origin, may_say, now);
        self.departed.forget(id);
        self.remember_block(manager.registration.block.clone());
        let drain_in_s = manager.registration.drain_time_s - now.wall_s;
        let change = ManagerChange::Registered {
            block: manager.registration.block.clone(),
            hostname: manager.registration.hostname.clone(),
            workers: manager.registration.worker_count,
            capacity: manager.registration.max_capacity,
        };
        self.note_manager(id, change, now);
        let slot = self.managers.insert(manager);
        self.managers.set_origin(slot, origin);
        self.liveness.watch(slot, heard, drain_in_s, now);
        self.sweep_deadlines();
        self.watch_doubts(slot);
        self.report(slot, now);
        self.index(slot);
    }

    /// Every registration is told by CONNECTED_BLOCKS, of which HTEX makes a set; who registers
    /// without end must not make it grow without end.
    fn remember_block(&mut self, block: BlockId) {
        let history = Rc::make_mut(&mut self.block_history);
        if history.len() >= BLOCKS_REMEMBERED_MAX {
            let mut told = HashSet::new();
            history.retain(|block| told.insert(block.clone()));
            let surplus = history.len().saturating_sub(BLOCKS_REMEMBERED_MAX / 2);
            history.drain(..surplus);
        }
        history.push(block);
    }

    /// Any valid message shows that its manager lives (stock counts heartbeats only).
    pub(super) fn note_alive(&mut self, slot: Slot, origin: Origin, now: Now) {
        let heard = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let last_heard = std::mem::replace(&mut manager.last_heard, heard);
        if origin == manager.origin && !manager.is_suspect() || origin.connection.is_none() {
            return;
        }
        if let (Some(known), Some(new)) = (manager.origin.address, origin.address)
            && known != new
            && self
                .complaints
                .may_say(Complaint::AnotherAddress, manager.id.as_bytes(), now)
        {
            warn!(
                "Manager {} now speaks from {new}, before from {known}",
                manager.id
            );
        }
        // What is read when its connection is closed was said before.
        let last_word = manager
            .suspect_since
            .map_or(last_heard, |since| since.min(last_heard));
        let is_another = manager.spoke_by != origin.connection;
        let is_back = is_another || manager.is_suspect();
        self.managers.set_origin(slot, origin);
        if is_back {
            self.come_back(slot, is_another.then_some(last_word), now);
        }
        self.index(slot);
    }

    pub(super) fn start_draining(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get_mut(slot);
        if !std::mem::replace(&mut manager.draining, true) {
            let id = manager.id.clone();
            self.note_manager(&id, ManagerChange::Draining, now);
        }
        self.index(slot);
        self.finish_draining(slot, now);
    }

    /// A draining manager whose last task is done is told to exit, and is forgotten.
    pub(super) fn finish_draining(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        if !manager.draining || !manager.in_flight.is_empty() {
            return;
        }
        info!(
            "Manager {} is drained - telling manager to shutdown",
            manager.id
        );
        let id = manager.id.clone();
        self.send(&id, ToManager::Shutdown);
        let mut manager = self.remove(slot);
        manager.held = true;
        self.note_manager(&id, ManagerChange::Drained, now);
        self.report_of(&manager, now);
    }

    /// Nothing more is sent to a held manager; what it holds goes on.
    pub(super) fn hold(&mut self, id: &ManagerId, now: Now) {
        info!("Received HOLD_MANAGER for {id}");
        match self.managers.slot_of(id) {
            Some(slot) => {
                if !std::mem::replace(&mut self.managers.get_mut(slot).held, true) {
                    self.note_manager(id, ManagerChange::Held, now);
                }
                self.index(slot);
                self.report(slot, now);
            }
            None => warn!("Worker to hold was not in ready managers list: {id}"),
        }
    }

    fn expire(&mut self, slot: Slot, now: Now) {
        let manager = self.managers.get(slot);
        let awake = self.liveness.awake(now);
        let silent = awake.saturating_sub(manager.last_heard);
        let place = manager.registration.place(&manager.id);
        match manager.suspect_since {
            Some(since) if silent < self.settings.heartbeat_threshold => warn!(
                "Manager {place} has not come back in the {:.1} s since its connection closed - \
                 removing manager",
                awake.saturating_sub(since).as_secs_f64()
            ),
            _ => warn!(
                "Too many heartbeats missed for manager {place} - removing manager: nothing heard \
                 for {:.1} s",
                silent.as_secs_f64()
            ),
        }
        let mut manager = self.remove(slot);
        if !manager.held {
            manager.held = true;
            self.report_of(&manager, now);
        }
        let tasks = manager.in_flight.len();
        self.note_manager(&manager.id, ManagerChange::Lost { tasks, silent }, now);
        self.fail_tasks(&mut manager, now);
    }

    /// Each task of a lost manager is answered with ManagerLost.
    fn fail_tasks(&mut self, manager: &mut Manager<B>, now: Now) {
        let held = std::mem::take(&mut manager.in_flight);
        if held.is_empty() {
            return;
        }
        let tasks = self.report_lost(held, &manager.id, &manager.registration.hostname, now);
        warn!(
            "Reported tasks lost with manager {}: {}",
            manager.id,
            ticket::ranges(tasks)
        );
    }

    /// Each of these tasks is answered with ManagerLost.
    pub(super) fn report_lost(
        &mut self,
        held: VecDeque<InFlight>,
        manager: &ManagerId,
        hostname: &str,
        now: Now,
    ) -> Vec<TaskId> {
        let tasks: Vec<TaskId> = held.into_iter().map(|held| held.ticket.settle()).collect();
        for task in &tasks {
            self.live.remove(*task);
            self.outputs
                .push_back(Output::Failure(Failure::ManagerLost {
                    task: *task,
                    manager: manager.clone(),
                    hostname: hostname.to_owned(),
                    lost_at_s: now.wall_s,
                }));
        }
        self.note_lost(&tasks, manager, now);
        tasks
    }

    /// A registration is only sent by a process that has just started. Behind a known identity it
    /// is another process then, and the tasks of the one before are lost with it; by the very
    /// connection of the earlier one it is the same process, which keeps its tasks.
    fn end_earlier_registration(
        &mut self,
        manager: &mut Manager<B>,
        origin: Origin,
        may_say: bool,
        now: Now,
    ) {
        let Some(slot) = self.managers.slot_of(&manager.id) else {
            return;
        };
        let earlier = self.managers.get(slot);
        // By both: what the earlier process said last may be read when its connection is closed and
        // the descriptor that it came by names the connection of this one.
        let same_process = origin.connection.is_some()
            && earlier.registered_by == origin.connection
            && earlier.origin == origin;
        let mut earlier = self.remove_quietly(slot);
        manager.take_place_of(&earlier);
        if same_process {
            if may_say {
                warn!(
                    "Manager {} registers again by the same connection",
                    manager.id
                );
            }
            manager.in_flight = std::mem::take(&mut earlier.in_flight);
            manager.given_up = std::mem::take(&mut earlier.given_up);
            if !manager.in_flight.is_empty() {
                manager.idle_since = None;
            }
        } else {
            if may_say {
                warn!(
                    "Manager {} registers anew; its earlier registration ends",
                    manager.id
                );
            }
            self.outputs
                .push_back(Output::Forgotten(manager.id.clone()));
            let tasks = earlier.in_flight.len();
            self.note_manager(&manager.id, ManagerChange::Replaced { tasks }, now);
            self.fail_tasks(&mut earlier, now);
        }
    }

    /// The failure to report if the manager runs other versions than the submit side.
    fn mismatch(&mut self, manager: &Registration<B>) -> Option<Failure> {
        let check = self.settings.version_check;
        if check == VersionCheck::Off {
            return None;
        }
        let python = manager.python_minor();
        if self.versions.python.is_none() || self.versions.parsl.is_none() {
            warn!(
                "The submit side's versions are not all known; those of the first manager (Python \
                 {python}, Parsl {}) are what others are compared with",
                manager.parsl_version
            );
        }
        let known_python = self
            .versions
            .python
            .get_or_insert_with(|| python.to_owned());
        let known_parsl = self
            .versions
            .parsl
            .get_or_insert_with(|| manager.parsl_version.clone());
        let python_differs = check == VersionCheck::PythonAndParsl && python != known_python;
        let parsl_differs = manager.parsl_version != *known_parsl;
        (python_differs || parsl_differs).then(|| Failure::VersionMismatch {
            interchange: format!("py.v={known_python} parsl.v={known_parsl}"),
            manager: format!("py.v={python} parsl.v={}", manager.parsl_version),
        })
    }

    /// As in Parsl, one manager of other versions ends the whole run.
    fn refuse_versions(&mut self, manager: Manager<B>, failure: Failure, now: Now) {
        self.report_of(&manager, now);
        if let Failure::VersionMismatch {
            interchange,
            manager: other,
        } = &failure
        {
            error!(
                "Manager {} has incompatible version info ({other}); the submit side has \
                 {interchange}; sending failure reports and shutting down",
                manager.id
            );
        }
        self.outputs.push_back(Output::Failure(failure));
        self.send(&manager.id, ToManager::Shutdown);
        self.handle_stop(StopReason::VersionMismatch);
    }

    /// Takes a manager out for good. What it held is the caller's to settle.
    fn remove(&mut self, slot: Slot) -> Manager<B> {
        let manager = self.remove_quietly(slot);
        self.departed.remember(&manager.id);
        self.outputs
            .push_back(Output::Forgotten(manager.id.clone()));
        manager
    }

    /// Takes a manager out of every index. What it held is the caller's to settle, and so is what
    /// still waits to be sent to it.
    fn remove_quietly(&mut self, slot: Slot) -> Manager<B> {
        let manager = self.managers.remove(slot);
        self.policy.forget(slot, &manager.id);
        manager
    }

    /// As [`Self::report`], for a manager that is in no table (any more).
    fn report_of(&mut self, manager: &Manager<B>, now: Now) {
        if self.settings.monitoring {
            self.send_report(manager.info(now));
        }
    }
}
