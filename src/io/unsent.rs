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
use crate::protocol::ManagerId;

/// Smaller batches are not followed: of them libzmq holds a thousand for a manager.
const LARGE_BATCH_BYTES: usize = 16 * 1024;
/// What is owed to one manager before it gets no more. A single batch may be larger.
const OWED_BYTES_MAX: usize = 16 << 20;
/// A network is slow at times; who takes nothing for so long is named.
const NAMED_AFTER: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct UnsentBatches {
    by_manager: BTreeMap<ManagerId, Owed>,
}

#[derive(Default)]
struct Owed {
    alive: Arc<AtomicUsize>,
    /// Since when it has been too much, on the monotonic clock.
    clogged_since: Option<Duration>,
    is_named: bool,
}

impl Owed {
    fn bytes(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}

impl UnsentBatches {
    /// The batch, which counts until it has left.
    pub(super) fn count(&mut self, to: &ManagerId, batch: Frame) -> Frame {
        if batch.len() < LARGE_BATCH_BYTES {
            return batch;
        }
        let owed = self.by_manager.entry(to.clone()).or_default();
        batch.counted(&owed.alive)
    }

    pub(super) fn bytes(&self) -> usize {
        self.by_manager.values().map(Owed::bytes).sum()
    }

    pub(super) fn is_clogged(&self, manager: &ManagerId) -> bool {
        let owed = self.by_manager.get(manager);
        owed.is_some_and(|owed| owed.clogged_since.is_some())
    }

    /// Whether what was sent just now made it too much for this manager.
    pub(super) fn has_become_clogged(&mut self, manager: &ManagerId, now: Duration) -> bool {
        let Some(owed) = self.by_manager.get_mut(manager) else {
            return false;
        };
        let is_news = owed.clogged_since.is_none() && owed.bytes() >= OWED_BYTES_MAX;
        if is_news {
            owed.clogged_since = Some(now);
        }
        is_news
    }

    /// Nobody tells when libzmq has done with a batch: while somebody is clogged it is asked.
    pub(super) fn is_anybody_clogged(&self) -> bool {
        self.by_manager
            .values()
            .any(|owed| owed.clogged_since.is_some())
    }

    /// Those who may have more again.
    pub(super) fn unclogged(&mut self, now: Duration) -> Vec<ManagerId> {
        let mut free = Vec::new();
        self.by_manager.retain(|manager, owed| {
            let bytes = owed.bytes();
            if let Some(since) = owed.clogged_since {
                if bytes < OWED_BYTES_MAX / 2 {
                    owed.clogged_since = None;
                    free.push(manager.clone());
                    if std::mem::take(&mut owed.is_named) {
                        info!("Manager {manager} takes tasks again");
                    }
                } else if !owed.is_named && now.saturating_sub(since) >= NAMED_AFTER {
                    owed.is_named = true;
                    warn!(
                        "Manager {manager} does not take the tasks that it was sent: {:.1} MB \
                         wait for it, and it gets no more until it does. It is stopped, or the \
                         network to its node is slow",
                        bytes as f64 / 1e6
                    );
                }
            }
            bytes > 0 || owed.clogged_since.is_some()
        });
        free
    }
}
