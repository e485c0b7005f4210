//! The only reader of clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::Now;

pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    /// Creates a clock that counts from the start of the run. So all brokers of a run share one
    /// time, whichever of them noted it.
    pub(super) fn since(started: Instant) -> Self {
        Self { started }
    }

    /// Returns the monotonic part of [`Now`], without the wall clock.
    pub(super) fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the monotonic time of another instant.
    pub(super) fn monotonic_at(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    pub(super) fn now(&self) -> Now {
        // A wall clock before 1970 means a machine without a clock.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            monotonic: self.monotonic(),
            wall_s: wall.as_secs_f64(),
        }
    }
}
