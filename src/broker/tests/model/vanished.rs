//! Blocks of which several managers vanish together.

use std::time::Duration;

use super::{Manager, Model};

/// Within so much of each other, on the awake clock.
const TOGETHER: Duration = Duration::from_secs(10);

impl Model {
    /// It has no connection any more, or is given up. If another one of its block vanished shortly
    /// before, those that are left get nothing until they have spoken.
    pub(super) fn vanish(&mut self, name: &str) {
        let awake = self.awake();
        let Manager {
            account,
            held,
            draining,
            ..
        } = &self.managers[name];
        // It was to go.
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

    /// A manager has left its block. A block without managers has no past.
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
