//! The only reader of clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker::Now;

pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    /// Counts from the start of the run: all its brokers have one time, whichever of them has
    /// noted it.
    pub(super) fn since(started: Instant) -> Self {
        Self { started }
    }

    /// What [`Now`] has of it, without the wall clock.
    pub(super) fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same at another time.
    pub(super) fn monotonic_at(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }

    pub(super) fn now(&self) -> Now {
        // A wall clock before 1970 is a machine without one.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            monotonic: self.monotonic(),
            wall_s: wall.as_secs_f64(),
        }
    }
}
