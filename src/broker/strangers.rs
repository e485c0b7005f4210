//! Messages of identities that are not registered.

use super::Broker;
use super::anomaly::{Anomaly, Remark};
use super::now::Now;
use protocol::{FromManager, ManagerId, ToManager};

impl<B> Broker<B> {
    /// Handles a message of an identity that is not registered. If the identity was registered
    /// before, it is told to exit, so that it stops using up its allocation. Otherwise it gets no
    /// answer, as in Parsl.
    pub(super) fn handle_stranger(&mut self, id: &ManagerId, message: &FromManager<B>, now: Now) {
        let departed = self.departed.contains(id);
        if departed {
            self.send(id, ToManager::Shutdown);
        }
        let said = match message {
            FromManager::Result { task, .. } | FromManager::SpoiltResult { task, .. } => {
                self.tally.late_results += u64::from(departed);
                let late = departed.then_some(self.tally.late_results);
                Remark::Result { task: *task, late }
            }
            FromManager::ConnectionProbe
            | FromManager::Registration(_)
            | FromManager::Heartbeat
            | FromManager::Drain
            | FromManager::Monitoring { .. } => Remark::Other(message.kind()),
        };
        let anomaly = Anomaly::NotRegistered {
            manager: id,
            departed,
            said,
        };
        self.anomalies.note(&anomaly, now);
    }
}
