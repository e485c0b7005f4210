//! The exit statuses of the process, and the last lines that it writes.

use std::time::{Duration, Instant};

use event_loop::End;
use logging::LogGuard;

use super::telemetry::Events;

/// The interchange was told to end, or the submit side has ended.
pub(crate) const DONE: u8 = 0;
/// The start was refused, and the submit side was notified if possible.
pub(crate) const REFUSED: u8 = 1;
/// The arguments are wrong, or the program was started by hand.
pub(crate) const BY_HAND: u8 = 2;
const VERSION_MISMATCH: u8 = 3;
/// An internal error (EX_SOFTWARE of sysexits.h).
pub(crate) const BROKEN: u8 = 70;

/// Time to write a backlog of log lines after SIGTERM, which is answered within 50 ms. If only a
/// few lines are left, they get as much time as at any other end, in case the disk is busy.
const FLUSH_ON_SIGTERM: Duration = Duration::from_millis(30);

/// Writes the remaining lines and ends the process with the status that belongs to the loop's end.
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
        // Another broker continues the run, so the events file gets no end.
        End::GoneOnFrom => (BROKEN, logging::EXIT_FLUSH, None),
        End::KeeperGone => (BROKEN, logging::EXIT_FLUSH, Some("killed")),
    };
    let begin = Instant::now();
    // The writer of the events works while this thread waits for the log's writer.
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

/// Ends the process without the exit handlers of libraries, because libzmq's threads may still be
/// at work.
pub(crate) fn exit_at_once(status: u8) -> ! {
    // SAFETY: _exit has no preconditions, and does not return.
    unsafe { nix::libc::_exit(status.into()) }
}
