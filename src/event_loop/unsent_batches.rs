//! Batches that managers have not taken yet, counted in bytes: here or in libzmq's hands.
//!
//! libzmq's own limit counts messages, and a manager's capacity counts tasks; neither says what a
//! manager that does not read costs. Above a bound it gets no more until it has taken what it is
//! owed, and its share of the work goes to others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use super::frame::Frame;
use protocol::ManagerId;

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
    /// Those to whom it has become too much.
    clogged: BTreeMap<ManagerId, Clogged>,
    /// Owed to all of them.
    alive: Arc<AtomicUsize>,
    forget_above: usize,
}

#[derive(Default)]
struct Owed {
    alive: Arc<AtomicUsize>,
}

struct Clogged {
    /// On the monotonic clock.
    since: Duration,
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
        self.clogged.contains_key(manager)
    }

    /// Whether what was sent just now made it too much for this manager.
    pub(super) fn has_become_clogged(&mut self, manager: &ManagerId, now: Duration) -> bool {
        let is_news = self.owed_to(manager) >= OWED_BYTES_MAX && !self.is_clogged(manager);
        if is_news {
            let clogged = Clogged {
                since: now,
                is_named: false,
            };
            self.clogged.insert(manager.clone(), clogged);
        }
        is_news
    }

    /// Nobody tells when libzmq has done with a batch: while somebody is clogged it is asked.
    pub(super) fn is_anybody_clogged(&self) -> bool {
        !self.clogged.is_empty()
    }

    /// Those who may have more again. The log is told who stays clogged.
    pub(super) fn unclogged(&mut self, now: Duration) -> Vec<ManagerId> {
        let mut free = Vec::new();
        for (manager, clogged) in std::mem::take(&mut self.clogged) {
            let bytes = self.owed_to(&manager);
            if bytes < OWED_BYTES_MAX / 2 {
                clogged.tell_the_end(&manager);
                free.push(manager);
            } else {
                let clogged = clogged.named_when_due(&manager, bytes, now);
                self.clogged.insert(manager, clogged);
            }
        }
        free
    }

    fn owed_to(&self, manager: &ManagerId) -> usize {
        self.by_manager.get(manager).map_or(0, Owed::bytes)
    }

    fn forget(&mut self) {
        if self.by_manager.len() > self.forget_above {
            self.by_manager.retain(|_, owed| owed.bytes() > 0);
            self.forget_above = REMEMBERED_MIN.max(2 * self.by_manager.len());
        }
    }
}

impl Owed {
    fn bytes(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}

impl Clogged {
    fn named_when_due(self, manager: &ManagerId, bytes: usize, now: Duration) -> Self {
        if self.is_named || now.saturating_sub(self.since) < NAMED_AFTER {
            return self;
        }
        warn!(
            "Manager {manager} does not take the tasks that it was sent: {:.1} MB wait for it, and \
             it gets no more until it does. It is stopped, or the network to its node is slow",
            bytes as f64 / 1e6
        );
        Self {
            is_named: true,
            ..self
        }
    }

    fn tell_the_end(&self, manager: &ManagerId) {
        if self.is_named {
            info!("Manager {manager} takes tasks again");
        }
    }
}
