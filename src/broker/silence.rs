//! What a manager's record says of its silence.

use std::time::Duration;

/// What is known of a manager's silence, on the awake clock.
#[derive(Clone, Copy)]
pub(super) struct Silence {
    pub(super) last_heard: Duration,
    /// Since when it has had no connection, if it has none.
    pub(super) suspect_since: Option<Duration>,
    pub(super) doubts_watched: Option<Duration>,
}
