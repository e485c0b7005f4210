//! What the process ends with, and the last lines that it writes.

use std::time::{Duration, Instant};

use event_loop::End;
use logging::LogGuard;

use super::telemetry::Events;

/// Told to end, or nobody is left to serve.
pub(crate) const DONE: u8 = 0;
/// The start was refused, and the submit side was told if that could be.
pub(crate) const REFUSED: u8 = 1;
/// Wrong arguments, or started by hand.
pub(crate) const BY_HAND: u8 = 2;
const VERSION_MISMATCH: u8 = 3;
/// EX_SOFTWARE of sysexits.h.
pub(crate) const BROKEN: u8 = 70;

/// SIGTERM is answered within 50 ms, and a backlog of log lines has this much of it. The last few
/// have as long as at any other end, if the disk is busy.
const FLUSH_ON_SIGTERM: Duration = Duration::from_millis(30);

/// Ends the process as the loop ended, with what is still to be written.
pub(crate) fn exit(end: End, log: &LogGuard, events: Option<&Events>) -> ! {
    let (status, patience, why) = match end {
        End::Terminated => (DONE, FLUSH_ON_SIGTERM, Some("told to end")),
        End::SubmitSideGone => (DONE, logging::EXIT_FLUSH, Some("submit side gone")),
        End::VersionMismatch => (
            VERSION_MISMATCH,
            logging::EXIT_FLUSH,
            Some("version mismatch"),
        ),
        End::Broken => (BROKEN, logging::EXIT_FLUSH, Some("internal error")),
        // The run does not end.
        End::GoneOnFrom => (BROKEN, logging::EXIT_FLUSH, None),
        End::KeeperGone => (BROKEN, logging::EXIT_FLUSH, Some("killed")),
    };
    let begin = Instant::now();
    // Its writer is at work while we wait for the log's.
    if let (Some(events), Some(why)) = (events, why) {
        events.end(why);
    }
    log.flush_last_lines(patience, logging::EXIT_FLUSH);
    if let Some(events) = events {
        let left = |limit: Duration| limit.saturating_sub(begin.elapsed());
        events.flush_last_lines(left(patience), left(logging::EXIT_FLUSH));
    }
    exit_at_once(status)
}

/// Without running what libraries have registered for the end: libzmq's threads may still be at
/// work.
pub(crate) fn exit_at_once(status: u8) -> ! {
    // SAFETY: _exit has no preconditions, and does not return.
    unsafe { nix::libc::_exit(status.into()) }
}
