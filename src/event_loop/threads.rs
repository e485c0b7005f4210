//! Checks whether enough threads are available, because libzmq aborts without them.
//!
//! libzmq creates its threads when the first socket is opened. It aborts if the system refuses one,
//! at a limit of processes or of address space. So this check creates as many threads before, all
//! at once, and lets them end again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Resource, getrlimit};

/// How long to wait until the threads no longer count against the limit. The kernel releases a
/// thread a moment after its end.
const GONE_WITHIN: Duration = Duration::from_secs(1);
const LOOKED_FOR_EVERY: Duration = Duration::from_micros(50);
/// Stack size of a thread of the C library if `ulimit -s` sets none.
const STACK_BYTES: u64 = 8 << 20;

/// The system does not provide the needed threads.
#[derive(Debug, thiserror::Error)]
#[error(
    "{needed} more threads are needed, but only {given} can be started: {error}. See the limits of \
     processes and address space (ulimit -u, -v)"
)]
pub struct ThreadShortage {
    needed: usize,
    given: usize,
    error: io::Error,
}

/// Checks whether this many more threads are available.
///
/// # Errors
/// How many threads are available, and why no more.
pub fn check_threads(needed: usize) -> Result<(), ThreadShortage> {
    let before = threads();
    let stack = getrlimit(Resource::Stack).current.unwrap_or(STACK_BYTES);
    let stack = usize::try_from(stack).unwrap_or(usize::MAX);
    let door = Arc::new(Mutex::new(()));
    let shut = door.lock().unwrap_or_else(PoisonError::into_inner);
    let mut made = Vec::with_capacity(needed);
    let mut failed = None;
    while made.len() < needed && failed.is_none() {
        let door = Arc::clone(&door);
        let wait = move || drop(door.lock());
        match thread::Builder::new().stack_size(stack).spawn(wait) {
            Ok(thread) => made.push(thread),
            Err(error) => failed = Some(error),
        }
    }
    drop(shut);
    let given = made.len();
    for thread in made {
        let _ = thread.join();
    }
    let give_up = Instant::now() + GONE_WITHIN;
    while threads() > before && Instant::now() < give_up {
        thread::sleep(LOOKED_FOR_EVERY);
    }
    failed.map_or(Ok(()), |error| {
        Err(ThreadShortage {
            needed,
            given,
            error,
        })
    })
}

/// Returns the number of threads of this process; 0 if the system does not expose it.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_threads_are_found_and_the_shortage_text_is_short() {
        assert!(check_threads(20).is_ok());
        let error = io::Error::from_raw_os_error(libc::EAGAIN);
        let shortage = ThreadShortage {
            needed: 2,
            given: 1,
            error,
        };
        // `int()`, which fails on this text in parsl.load(), quotes only 200 characters.
        assert!(shortage.to_string().len() < 165, "{shortage}");
    }
}
