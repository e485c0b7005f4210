//! Blocks of which several managers vanish together.

use std::time::Duration;

use super::{Manager, Model};

/// The longest time between two managers that vanish together (awake clock).
const TOGETHER: Duration = Duration::from_secs(10);

impl Model {
    /// Notes that a manager has no connection any more, or is given up. If another one of its block
    /// vanished shortly before, the rest of the block gets nothing until it has spoken.
    pub(super) fn vanish(&mut self, name: &str) {
        let awake = self.awake();
        let Manager {
            account,
            held,
            draining,
            ..
        } = &self.managers[name];
        // A held or draining manager was to leave.
        if *held || *draining {
            return;
        }
        let block = account.block.clone();
        let mut before = self.vanished.iter();
        let is_together = before.any(|(of, other, at)| {
            *of == block && other != name && awake.saturating_sub(*at) <= TOGETHER
        });
        self.vanished.push((block.clone(), name.to_owned(), awake));
        let others = self.managers.iter_mut().filter(|(other, _)| *other != name);
        for (_, manager) in others.filter(|_| is_together) {
            manager.awaited |= manager.account.block == block && manager.suspect.is_none();
        }
    }

    /// Notes that a manager has left its block. The history of a block without managers is dropped.
    pub(super) fn forget_block(&mut self, block: &str) {
        if !self
            .managers
            .values()
            .any(|manager| manager.account.block == block)
        {
            self.vanished.retain(|(of, ..)| of != block);
        }
    }
}
