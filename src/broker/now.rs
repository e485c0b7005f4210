//! The time of a turn.

use std::time::Duration;

/// The time of one turn of the loop, captured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Time since some fixed point in the past. It never goes back, whatever happens to the wall
    /// clock.
    pub monotonic: Duration,
    /// Seconds since the epoch, for reports and for times that managers send.
    pub wall_s: f64,
}

impl Now {
    /// Returns the monotonic time in half the memory: 64 bits of nanoseconds last for five hundred
    /// years.
    pub fn monotonic_ns(self) -> u64 {
        nanoseconds(self.monotonic)
    }
}

/// Returns the nanoseconds, limited to five hundred years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(time.subsec_nanos().into())
}
