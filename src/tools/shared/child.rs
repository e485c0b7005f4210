//! Programs that are run for what they say, and not waited for beyond that.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How it ended. None if it did not within `limit`: it is killed then.
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
