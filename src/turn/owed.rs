//! What managers are owed, in bytes of batches that they have not taken, and what they may be.
//!
//! libzmq's own limit counts messages, and a manager's capacity counts tasks; neither says what a
//! manager that does not read costs. So it is known before a batch is made how much may go to whom.
//! A manager that takes nothing gets no more, and its share of the work goes to others; and however
//! many of them there are, one that is owed nothing always gets a task.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::RETRY_EVERY;
use super::transport::Transport;
use broker::Now;
use interchange::Interchange;
use protocol::ManagerId;

/// What one manager may be owed at the most. A single task may be larger.
const EACH_BYTES_MAX: usize = 16 << 20;
/// And which part of what may be owed to all of them.
const SHARE_OF_EACH: usize = 8;
/// A network is slow at times; who takes nothing for so long is named.
const NAMED_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Owed {
    all_bytes_max: usize,
    each_bytes_max: usize,
    /// Those that get nothing until they have taken some of what they are owed.
    clogged: BTreeMap<ManagerId, Clogged>,
    look_at: Duration,
}

#[derive(Debug)]
struct Clogged {
    /// On the monotonic clock.
    since: Duration,
    owed: usize,
    is_named: bool,
}

impl Owed {
    /// With the most that may be owed to all managers together.
    pub(super) fn new(all_bytes_max: usize) -> Self {
        Self {
            all_bytes_max,
            each_bytes_max: EACH_BYTES_MAX.min(all_bytes_max / SHARE_OF_EACH),
            clogged: BTreeMap::new(),
            look_at: Duration::ZERO,
        }
    }

    /// How many bytes the next batch for this manager may have; of a single task, any number. None:
    /// it gets nothing now, because `next_bytes` more would be too much.
    pub(super) fn room<T: Transport>(
        &self,
        transport: &T,
        manager: &ManagerId,
        next_bytes: usize,
    ) -> Option<usize> {
        let owed = transport.owed_to(manager);
        let here = self.each_bytes_max.saturating_sub(owed);
        let everywhere = self.all_bytes_max.saturating_sub(transport.owed());
        let room = here.min(everywhere);
        (owed == 0 || next_bytes <= room).then_some(room)
    }

    /// When those who get nothing are looked at again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        (!self.clogged.is_empty()).then_some(self.look_at)
    }

    /// The manager gets nothing for now.
    pub(super) fn clog<T: Transport>(
        &mut self,
        transport: &T,
        interchange: &mut Interchange<T::Frame>,
        manager: &ManagerId,
        now: Now,
    ) {
        let owed = transport.owed_to(manager);
        if self.clogged.is_empty() {
            self.look_at = now.monotonic + RETRY_EVERY;
        }
        let clogged = self.clogged.entry(manager.clone()).or_insert(Clogged {
            since: now.monotonic,
            owed,
            is_named: false,
        });
        clogged.owed = owed;
        interchange.broker_mut().handle_clogged(manager, true, now);
    }

    /// Those who have taken something may have more again. The log is told who takes nothing.
    pub(super) fn look<T: Transport>(
        &mut self,
        transport: &T,
        interchange: &mut Interchange<T::Frame>,
        released: bool,
        now: Now,
    ) {
        if self.clogged.is_empty() || !released && now.monotonic < self.look_at {
            return;
        }
        self.look_at = now.monotonic + RETRY_EVERY;
        let half = self.each_bytes_max / 2;
        self.clogged.retain(|manager, clogged| {
            let owed = transport.owed_to(manager);
            let is_free = owed == 0 || owed <= half && owed < clogged.owed;
            if is_free {
                clogged.tell_the_end(manager);
                interchange.broker_mut().handle_clogged(manager, false, now);
            } else {
                clogged.name_when_due(manager, owed, now);
            }
            !is_free
        });
    }

    /// The manager is not registered any more.
    pub(super) fn forget<T: Transport>(&mut self, transport: &mut T, manager: &ManagerId) {
        self.clogged.remove(manager);
        transport.give_up_owed(manager);
    }
}

impl Clogged {
    fn name_when_due(&mut self, manager: &ManagerId, owed: usize, now: Now) {
        if self.is_named || now.monotonic.saturating_sub(self.since) < NAMED_AFTER {
            return;
        }
        self.is_named = true;
        warn!(
            "Manager {manager} does not take the tasks that it was sent: {:.1} MB wait for it, and \
             it gets no more until it does. It is stopped, or the network to its node is slow",
            owed as f64 / 1e6
        );
    }

    fn tell_the_end(&self, manager: &ManagerId) {
        if self.is_named {
            info!("Manager {manager} takes tasks again");
        }
    }
}
