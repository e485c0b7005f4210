//! Whether threads can be had, asked before somebody needs them who ends the process without.
//!
//! libzmq makes its threads when the first socket is opened, and aborts where the system gives
//! none, at a limit of processes or of address space. So as many are made here before, all at once,
//! and end again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Resource, getrlimit};

/// A thread counts against a limit until the kernel has done with it, a moment after its end.
const GONE_WITHIN: Duration = Duration::from_secs(1);
const LOOKED_FOR_EVERY: Duration = Duration::from_micros(50);
/// What a thread of a C library has where `ulimit -s` names nothing.
const STACK_BYTES: u64 = 8 << 20;

/// The system does not give the threads that are needed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{needed} more threads are needed and {given} can be had: {error}. See the limits of processes \
     and address space (ulimit -u, -v)"
)]
pub struct ThreadShortage {
    needed: usize,
    given: usize,
    error: io::Error,
}

/// Whether so many more threads can be had.
///
/// # Errors
/// How many can, and why no more.
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

/// Those of this process; 0 where the system does not tell.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_can_be_had_and_more_than_there_are_numbers_cannot() {
        assert!(check_threads(20).is_ok());
        let error = io::Error::from_raw_os_error(libc::EAGAIN);
        let shortage = ThreadShortage {
            needed: 2,
            given: 1,
            error,
        };
        // `int()` quotes 200 characters in parsl.load().
        assert!(shortage.to_string().len() < 165, "{shortage}");
    }
}
