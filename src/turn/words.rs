//! The few control messages ("words") that managers receive besides tasks. They are the only
//! messages ever kept for a manager. At most one of each kind is kept per manager, so nothing
//! accumulates for a manager that does not read.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::debug;

use super::RETRY_EVERY;
use super::transport::{NotTaken, Outgoing, Transport};
use broker::Now;
use interchange::Interchange;
use protocol::{ManagerId, ToManager};

#[derive(Debug, Default)]
pub(super) struct Words {
    /// Control messages that have not been tried yet, in their order.
    fresh: Vec<(ManagerId, ToManager)>,
    /// Control messages that full connections did not take.
    waiting: BTreeMap<ManagerId, Vec<ToManager>>,
    retry_at: Duration,
}

impl Words {
    pub(super) fn add(&mut self, to: ManagerId, word: ToManager) {
        self.fresh.push((to, word));
    }

    pub(super) fn is_any_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// When the kept messages are tried again.
    pub(super) fn next_try(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.retry_at)
    }

    /// Notes that the manager is no longer registered, and keeps only its shutdown message.
    pub(super) fn forget(&mut self, manager: &ManagerId) {
        if let Some(words) = self.waiting.get_mut(manager) {
            words.retain(|word| *word == ToManager::Shutdown);
            if words.is_empty() {
                self.waiting.remove(manager);
            }
        }
    }

    /// Sends what can be sent, and reports to the broker which managers are reachable.
    pub(super) fn flush<T: Transport>(
        &mut self,
        transport: &mut T,
        interchange: &mut Interchange<T::Frame>,
        now: Now,
    ) {
        if !self.waiting.is_empty() && self.retry_at <= now.monotonic {
            for (manager, words) in std::mem::take(&mut self.waiting) {
                for word in words {
                    self.send(manager.clone(), word, transport, interchange, now);
                }
            }
        }
        for (manager, word) in std::mem::take(&mut self.fresh) {
            self.send(manager, word, transport, interchange, now);
        }
    }

    fn send<T: Transport>(
        &mut self,
        to: ManagerId,
        word: ToManager,
        transport: &mut T,
        interchange: &mut Interchange<T::Frame>,
        now: Now,
    ) {
        if let Some(before) = self.waiting.get_mut(&to) {
            if !before.contains(&word) {
                before.push(word);
            }
            return;
        }
        let broker = interchange.broker_mut();
        match transport.address(&to) {
            Ok(()) => {
                transport.send(&to, Outgoing::Word(word));
                broker.handle_reachable(&to, now);
            }
            Err(NotTaken::Full) => {
                broker.handle_reachable(&to, now);
                if self.waiting.is_empty() {
                    self.retry_at = now.monotonic + RETRY_EVERY;
                }
                self.waiting.insert(to, vec![word]);
            }
            Err(NotTaken::NoConnection) => {
                debug!("{word:?} for {to} has no connection to leave by");
                broker.handle_unreachable(&to, now);
            }
        }
    }
}
