//! Messages of identities that are not registered.

use tracing::warn;

use super::Broker;
use super::complaints::Complaint;
use super::now::Now;
use protocol::{FromManager, ManagerId, ToManager};

impl<B> Broker<B> {
    /// An identity that was here and is not any more is told to exit, so that it stops using up
    /// its allocation. One that never was gets nothing, as in Parsl.
    pub(super) fn handle_stranger(&mut self, id: &ManagerId, message: &FromManager<B>, now: Now) {
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
}
