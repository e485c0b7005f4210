//! Batches that managers have not taken yet, counted in bytes: here or in libzmq's hands.
//!
//! libzmq's own limit counts messages, and a manager's capacity counts tasks; neither says what a
//! manager that does not read costs. Above a bound it gets no more until it has taken what it is
//! owed, and its share of the work goes to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use super::frame::Frame;
use crate::protocol::ManagerId;

/// Smaller batches are not followed: of them libzmq holds a thousand for a manager.
const LARGE_BATCH_BYTES: usize = 16 * 1024;
/// What is owed to one manager before it gets no more. A single batch may be larger.
const OWED_BYTES_MAX: usize = 16 << 20;
/// A network is slow at times; who takes nothing for so long is named.
const NAMED_AFTER: Duration = Duration::from_secs(1);
/// So many managers are remembered before those who are owed nothing are forgotten.
const REMEMBERED_MIN: usize = 256;

#[derive(Default)]
pub(super) struct UnsentBatches {
    by_manager: BTreeMap<ManagerId, Owed>,
    clogged: BTreeSet<ManagerId>,
    /// Owed to all of them.
    alive: Arc<AtomicUsize>,
    forget_above: usize,
}

#[derive(Default)]
struct Owed {
    alive: Arc<AtomicUsize>,
    /// Since when it has been too much, on the monotonic clock.
    clogged_since: Option<Duration>,
    is_named: bool,
}

impl UnsentBatches {
    /// The batch, which counts until it has left.
    pub(super) fn count(&mut self, to: &ManagerId, batch: Frame) -> Frame {
        if batch.len() < LARGE_BATCH_BYTES {
            return batch;
        }
        self.forget();
        let owed = self.by_manager.entry(to.clone()).or_default();
        batch.counted(&owed.alive).counted(&self.alive)
    }

    pub(super) fn bytes(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn is_clogged(&self, manager: &ManagerId) -> bool {
        self.clogged.contains(manager)
    }

    /// Whether what was sent just now made it too much for this manager.
    pub(super) fn has_become_clogged(&mut self, manager: &ManagerId, now: Duration) -> bool {
        let Some(owed) = self.by_manager.get_mut(manager) else {
            return false;
        };
        let is_news = owed.clogged_since.is_none() && owed.bytes() >= OWED_BYTES_MAX;
        if is_news {
            owed.clogged_since = Some(now);
            self.clogged.insert(manager.clone());
        }
        is_news
    }

    /// Nobody tells when libzmq has done with a batch: while somebody is clogged it is asked.
    pub(super) fn is_anybody_clogged(&self) -> bool {
        !self.clogged.is_empty()
    }

    /// Those who may have more again.
    pub(super) fn unclogged(&mut self, now: Duration) -> Vec<ManagerId> {
        let by_manager = &mut self.by_manager;
        let is_free = |manager: &&ManagerId| {
            let owed = by_manager.get_mut(*manager);
            owed.is_none_or(|owed| owed.look(manager, now))
        };
        let free: Vec<ManagerId> = self.clogged.iter().filter(is_free).cloned().collect();
        for manager in &free {
            self.clogged.remove(manager);
        }
        free
    }

    fn forget(&mut self) {
        if self.by_manager.len() > self.forget_above {
            let is_of_use = |owed: &Owed| owed.bytes() > 0 || owed.clogged_since.is_some();
            self.by_manager.retain(|_, owed| is_of_use(owed));
            self.forget_above = REMEMBERED_MIN.max(2 * self.by_manager.len());
        }
    }
}

impl Owed {
    fn bytes(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Whether a manager that was clogged is so no longer. The log is told who stays so.
    fn look(&mut self, manager: &ManagerId, now: Duration) -> bool {
        let bytes = self.bytes();
        let is_free = bytes < OWED_BYTES_MAX / 2;
        if is_free {
            self.clogged_since = None;
            if std::mem::take(&mut self.is_named) {
                info!("Manager {manager} takes tasks again");
            }
        } else if !self.is_named && self.is_due(now) {
            self.is_named = true;
            warn!(
                "Manager {manager} does not take the tasks that it was sent: {:.1} MB wait for it, \
                 and it gets no more until it does. It is stopped, or the network to its node is \
                 slow",
                bytes as f64 / 1e6
            );
        }
        is_free
    }

    fn is_due(&self, now: Duration) -> bool {
        let since = self.clogged_since.unwrap_or(now);
        now.saturating_sub(since) >= NAMED_AFTER
    }
}
