//! The one time that a turn knows.

use std::time::Duration;

/// The time of one turn of the loop, captured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Since some fixed point in the past; never goes back, whatever happens to the wall clock.
    pub monotonic: Duration,
    /// Seconds since the epoch: for reports, and for times that managers tell in it.
    pub wall_s: f64,
}

impl Now {
    /// The monotonic clock in half of the room: 64 bits of nanoseconds are five hundred years.
    pub fn monotonic_ns(self) -> u64 {
        nanoseconds(self.monotonic)
    }
}

/// Clipped, if it is longer than five hundred years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(time.subsec_nanos().into())
}
