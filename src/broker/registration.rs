//! Registrations of managers: the check of versions, and what happens to an earlier registration.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use super::Broker;
use super::anomaly::Anomaly;
use super::change::ManagerChange;
use super::deadlines::What;
use super::link::Link;
use super::manager::Manager;
use super::now::Now;
use super::origin::Origin;
use super::output::{Output, StopReason};
use super::slot::Slot;
use protocol::{BlockId, Failure, ManagerId, Registration, ToManager, VersionCheck};

/// Above this number, duplicates are dropped from the list of blocks and only the latest are kept.
const BLOCKS_REMEMBERED_MAX: usize = 64 * 1024;

impl<B> Broker<B> {
    pub(super) fn register(
        &mut self,
        id: &ManagerId,
        registration: Registration<B>,
        origin: Origin,
        now: Now,
    ) {
        let known = self.managers.slot_of(id).is_some();
        let line = InWords {
            id,
            registration: &registration,
        };
        let is_logged = match known {
            true => {
                let anomaly = Anomaly::RegisteredAgain {
                    manager: id,
                    line: &line,
                };
                self.anomalies.note(&anomaly, now)
            }
            false => {
                codes::log!(MANAGER_REGISTERED, "{line}");
                true
            }
        };
        if self.stopping || self.leaving_until.is_some() {
            self.send(id, ToManager::Shutdown);
            return;
        }
        let failure = self.mismatch(&registration);
        let heard = self.liveness.awake(now);
        let link = Link::new(origin.connection, heard);
        let told = &self.settings.placement;
        let mut manager = Manager::new(id.clone(), registration, link, told, now, heard);
        if let Some(failure) = failure {
            self.refuse_versions(manager, failure, now);
            return;
        }
        let before = self.end_earlier_registration(&mut manager, origin, is_logged, now);
        self.departed.forget(id);
        self.remember_block(manager.registration.block.clone());
        let change = ManagerChange::Registered {
            block: manager.registration.block.clone(),
            hostname: manager.registration.hostname.clone(),
            workers: manager.registration.worker_count,
            capacity: manager.registration.max_capacity,
        };
        let block = manager.registration.block.clone();
        let slot = self.managers.insert(manager);
        self.write_down(slot, now);
        self.watch_from_now(slot, now);
        self.note_manager(id, change, now);
        self.blocks.join(block, slot);
        if self.has_asked {
            self.begin_placement(before, slot, now);
        }
        self.report(slot, now);
        match origin.connection {
            Some(connection) => {
                self.open(slot, connection, origin.address);
                self.watch_doubts(slot);
                self.index(slot);
            }
            None => self.note_suspect(slot, now),
        }
    }

    /// Starts the manager's deadlines for silence and draining, and notes when its block ends.
    pub(super) fn watch_from_now(&mut self, slot: Slot, now: Now) {
        let heard = self.liveness.awake(now);
        let manager = self.managers.get_mut(slot);
        let drains_in = manager.drains_in(now);
        let ends_in = drains_in.or_else(|| manager.walltime_left(&self.settings.placement, now));
        manager.ends_at = ends_in.map(|in_| now.monotonic.saturating_add(in_));
        let drain_at = drains_in.map(|in_| heard.saturating_add(in_));
        let silent_at = heard.saturating_add(self.settings.heartbeat_threshold);
        self.liveness.watch(slot, What::Silence, Some(silent_at));
        self.liveness.watch(slot, What::Drain, drain_at);
    }

    /// Remembers the block of a registration. CONNECTED_BLOCKS reports one entry for each
    /// registration, and HTEX makes a set of them. The list is bounded, whatever number of managers
    /// registers.
    pub(super) fn remember_block(&mut self, block: BlockId) {
        let history = Rc::make_mut(&mut self.block_history);
        self.books.note_block(&block);
        if history.len() >= BLOCKS_REMEMBERED_MAX {
            let mut told = HashSet::new();
            history.retain(|block| told.insert(block.clone()));
            let surplus = history.len().saturating_sub(BLOCKS_REMEMBERED_MAX / 2);
            history.drain(..surplus);
        }
        history.push(block);
    }

    /// Ends the earlier registration of a manager's identity. A process sends a registration only
    /// when it has just started. On another connection it is therefore another process, and the
    /// tasks of the earlier one are lost. On the very same connection it is the same process, which
    /// keeps its tasks; its earlier slot is returned.
    fn end_earlier_registration(
        &mut self,
        manager: &mut Manager<B>,
        origin: Origin,
        is_logged: bool,
        now: Now,
    ) -> Option<Slot> {
        let slot = self.managers.slot_of(&manager.id)?;
        let earlier = self.managers.get(slot);
        // Both connections must match. A last message of the earlier process may have been read
        // after its connection closed, when its descriptor already named the new process's
        // connection.
        let leads_here = earlier
            .link
            .connection()
            .is_some_and(|it| Some(it) == origin.connection);
        let same_process = leads_here && earlier.link.registered_by == origin.connection;
        let mut earlier = self.remove_quietly(slot, now);
        // When managers are listed, the new registration keeps the place of the earlier one, as in
        // Parsl.
        manager.order = earlier.order;
        if same_process {
            if is_logged {
                codes::log!(
                    MANAGER_REREGISTERED,
                    "Manager {} re-registered by the same connection",
                    manager.id
                );
            }
            manager.link = earlier.link;
            if manager.registration.start_time_s == earlier.registration.start_time_s {
                manager.started = earlier.started;
            }
            manager.in_flight = std::mem::take(&mut earlier.in_flight);
            manager.doubts = std::mem::take(&mut earlier.doubts);
            manager.given_up = std::mem::take(&mut earlier.given_up);
            (manager.restored, manager.untraced) = (earlier.restored, earlier.untraced);
            (manager.extra_slots, manager.placed) = (earlier.extra_slots, earlier.placed.take());
            if !manager.in_flight.is_empty() {
                manager.idle_since = None;
            }
        } else {
            if is_logged {
                codes::log!(
                    MANAGER_REPLACED,
                    "Manager {} re-registered; the earlier registration is discarded",
                    manager.id
                );
            }
            self.outputs
                .push_back(Output::Forgotten(manager.id.clone()));
            let tasks = earlier.in_flight.len();
            self.note_manager(&manager.id, ManagerChange::Replaced { tasks }, now);
            self.fail_tasks(&mut earlier, now);
        }
        same_process.then_some(slot)
    }

    /// Returns the failure to report if the manager's versions differ from the submit side's.
    pub(super) fn mismatch(&mut self, manager: &Registration<B>) -> Option<Failure> {
        let check = self.settings.version_check;
        if check == VersionCheck::Off {
            return None;
        }
        let python = manager.python_minor();
        if self.versions.python.is_none() || self.versions.parsl.is_none() {
            codes::log!(
                VERSIONS_UNKNOWN,
                "Some versions of the submit side are unknown: all managers are compared with the \
                 first manager (Python {python}, Parsl {})",
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

    /// Refuses a manager of other versions. As in Parsl, that ends the whole run.
    fn refuse_versions(&mut self, manager: Manager<B>, failure: Failure, now: Now) {
        self.report_of(&manager, now);
        if let Failure::VersionMismatch {
            interchange,
            manager: other,
        } = &failure
        {
            codes::log!(
                VERSION_MISMATCH,
                "Manager {} has incompatible version info ({other}); the submit side has \
                 {interchange}; sending failure reports and shutting down",
                manager.id
            );
        }
        self.outputs.push_back(Output::Failure(failure));
        self.send(&manager.id, ToManager::Shutdown);
        self.handle_stop(StopReason::VersionMismatch);
    }

    /// Removes a manager for good. The caller must settle the tasks that it held.
    pub(super) fn remove(&mut self, slot: Slot, now: Now) -> Manager<B> {
        let manager = self.remove_quietly(slot, now);
        let record = self.books.departed(&manager.id);
        self.departed.remember(&manager.id, record);
        self.outputs
            .push_back(Output::Forgotten(manager.id.clone()));
        manager
    }

    /// Removes a manager from every index. The caller must settle the tasks that it held and the
    /// messages that still wait to be sent to it.
    pub(super) fn remove_quietly(&mut self, slot: Slot, now: Now) -> Manager<B> {
        let manager = self.managers.remove(slot);
        self.blocks.leave(&manager.registration.block, slot);
        self.policy.forget(slot, &manager.id);
        self.liveness.forget(slot);
        if self.has_asked {
            self.forget_placement(slot, &manager, now);
        }
        manager
    }
}

/// Formats a registration for a log line.
struct InWords<'a, B> {
    id: &'a ManagerId,
    registration: &'a Registration<B>,
}

impl<B> fmt::Display for InWords<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registration = self.registration;
        write!(
            f,
            "Registration of manager {}: capacity {}, workers {}, Python {}, Parsl {}",
            registration.place(self.id),
            registration.max_capacity,
            registration.worker_count,
            registration.python_version,
            registration.parsl_version,
        )
    }
}
