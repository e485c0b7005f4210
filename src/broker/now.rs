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
