//! Runs child processes with a time limit.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Interval between two checks whether the child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for the child, and returns its exit status. Kills the child and returns None if it does
/// not end within `limit`.
///
/// # Errors
/// The system's.
pub(crate) fn ended_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}
