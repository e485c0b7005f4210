//! The command channel: each command gets exactly one reply, from the current state.

use std::rc::Rc;

use tracing::debug;

use super::Broker;
use super::manager::Manager;
use super::now::Now;
use protocol::{Command, ManagerId, ManagerStatus, Reply};

impl<B> Broker<B> {
    /// Handles a command of the command channel, and returns the reply.
    pub fn handle_command(&mut self, command: Command, now: Now) -> Reply<B> {
        debug!("Received command request: {command:?}");
        match command {
            Command::WorkerBinds => Reply::Number(self.settings.worker_port.into()),
            Command::ConnectedBlocks => Reply::Blocks(Rc::clone(&self.block_history)),
            Command::Managers => Reply::Managers(self.statuses(now)),
            Command::ManagersPackages => Reply::Packages(
                self.managers
                    .in_order_of_registration()
                    .map(|manager| (manager.id.clone(), Rc::clone(&manager.registration)))
                    .collect(),
            ),
            Command::Workers => {
                let managers = self.managers.iter();
                let counts = managers.map(|(_, manager)| manager.registration.worker_count);
                Reply::Number(counts.fold(0, i64::saturating_add))
            }
            Command::Outstanding => Reply::Number((self.queued() + self.in_flight()) as i64),
            Command::Hold(id) => {
                self.hold(&id, now);
                Reply::None
            }
            Command::WorkerPorts | Command::Unknown(_) => {
                codes::log!(COMMAND_UNKNOWN, "Received unknown command: {command:?}");
                Reply::None
            }
        }
    }

    /// Holds a manager, on a request from outside the command channel. Returns false if no such
    /// manager is registered.
    pub fn handle_hold(&mut self, id: &ManagerId, now: Now) -> bool {
        self.begin_turn(now);
        self.hold(id, now);
        self.managers.slot_of(id).is_some()
    }

    pub(super) fn statuses(&self, now: Now) -> Vec<ManagerStatus> {
        let managers = self.managers.in_order_of_registration();
        managers.map(|manager| manager.status(now)).collect()
    }

    pub(super) fn status_of(&self, id: &ManagerId, now: Now) -> Option<ManagerStatus> {
        let slot = self.managers.slot_of(id)?;
        Some(self.managers.get(slot).status(now))
    }
}

impl<B> Manager<B> {
    /// Returns the manager's status as the executor receives it.
    fn status(&self, now: Now) -> ManagerStatus {
        ManagerStatus {
            manager: self.id.clone(),
            block: self.registration.block.clone(),
            worker_count: self.registration.worker_count,
            tasks: self.in_flight.len(),
            idle_duration_s: self.idle_since.map_or(0.0, |since| {
                now.monotonic.saturating_sub(since.monotonic).as_secs_f64()
            }),
            active: !self.held,
            parsl_version: self.registration.parsl_version.clone(),
            python_version: self.registration.python_version.clone(),
            draining: self.draining,
        }
    }
}
