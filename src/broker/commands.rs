//! The control channel: each question gets exactly one answer, from the books as they stand.

use std::rc::Rc;

use tracing::{debug, warn};

use super::Broker;
use super::now::Now;
use protocol::{Command, ManagerId, ManagerStatus, Reply};

impl<B> Broker<B> {
    /// A question of the command channel, and its answer.
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
                self.hold(&ManagerId::new(id.as_bytes()), now);
                Reply::None
            }
            Command::WorkerPorts | Command::Unknown(_) => {
                warn!("Received unknown command: {command:?}");
                Reply::None
            }
        }
    }

    /// As the command, asked for by another way. False if no such manager is registered.
    pub fn handle_hold(&mut self, id: &ManagerId, now: Now) -> bool {
        self.begin_turn(now);
        self.hold(id, now);
        self.managers.slot_of(id).is_some()
    }

    fn statuses(&self, now: Now) -> Vec<ManagerStatus> {
        let managers = self.managers.in_order_of_registration();
        managers
            .map(|manager| ManagerStatus {
                manager: manager.id.clone(),
                block: manager.registration.block.clone(),
                worker_count: manager.registration.worker_count,
                tasks: manager.in_flight.len(),
                idle_duration_s: manager.idle_since.map_or(0.0, |since| {
                    now.monotonic.saturating_sub(since.monotonic).as_secs_f64()
                }),
                active: !manager.held,
                parsl_version: manager.registration.parsl_version.clone(),
                python_version: manager.registration.python_version.clone(),
                draining: manager.draining,
            })
            .collect()
    }
}
