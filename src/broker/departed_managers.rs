//! Identities that were registered and no longer are: lost or drained.

use std::collections::{HashSet, VecDeque};

use journal::Record;
use protocol::ManagerId;

/// How many identities are remembered; the oldest is forgotten first. A forgotten manager that
/// still speaks is treated as unknown, and ends by its own heartbeat threshold.
const REMEMBERED_MAX: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Departed {
    set: HashSet<ManagerId>,
    /// The identities, oldest first, each with its journal record if a journal is kept.
    order: VecDeque<(ManagerId, Option<Record>)>,
}

impl Departed {
    pub(super) fn contains(&self, id: &ManagerId) -> bool {
        self.set.contains(id)
    }

    pub(super) fn remember(&mut self, id: &ManagerId, record: Option<Record>) {
        if !self.set.insert(id.clone()) {
            return;
        }
        self.order.push_back((id.clone(), record));
        if self.order.len() > REMEMBERED_MAX
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }

    /// Forgets an identity that registers again.
    pub(super) fn forget(&mut self, id: &ManagerId) {
        if self.set.remove(id) {
            self.order.retain(|(other, _)| other != id);
        }
    }
}
