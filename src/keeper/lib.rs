//! The process that HTEX starts is a *keeper*: it starts the broker as its child and waits for the
//! child's end. Whatever ends a process from outside (the OOM killer, `kill -9`) or from inside (an
//! assertion of a library) takes the broker then, and somebody is left to say so: the keeper starts
//! one more child, which speaks the last words, and ends as the broker ended.
//!
//! The keeper has no thread, no socket and no memory of its own beyond what it had at the fork. It
//! does nothing but wait for signals, so that nothing can go wrong in it. What HTEX sees of it is
//! what it saw of the broker: the process id that it signals, the exit status, the end by a signal.
//!
//! When the keeper ends first, the kernel sends the broker a SIGCONT: that goes through to a
//! process that is stopped as well, and [`Kept::is_kept`] tells then.

mod ended;
mod notes;
mod waiting;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

pub use ended::Ended;
pub use notes::Notes;

use waiting::{end_of, next_signal, signals_of_the_keeper};

/// SIGTERM is answered within 50 ms. A broker that does not answer in this time is stopped or
/// hangs. HTEX waits 10 s and then kills the keeper, which could not end its child any more.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// The last words are spoken within less.
const WORDS_WITHIN: Duration = Duration::from_secs(15);

/// What the broker knows of its keeper.
#[derive(Debug, Clone)]
pub struct Kept {
    keeper: Pid,
    notes: Arc<Notes>,
}

impl Kept {
    /// Whether the keeper lives. To be asked when SIGCONT has come.
    pub fn is_kept(&self) -> bool {
        getppid() == self.keeper
    }

    /// The keeper's process id.
    pub fn keeper(&self) -> u32 {
        self.keeper.as_raw().unsigned_abs()
    }

    /// For a program that takes this process over and knows nothing of keepers: it ends with ours.
    pub fn hand_over(&self) {
        ends_with(Signal::SIGKILL);
    }

    /// It could not be started.
    pub fn take_back(&self) {
        ends_with(Signal::SIGCONT);
    }

    /// What outlives this process.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }
}

/// Goes on in a child of this process, the broker, and returns there. This process itself stays
/// behind as its keeper. `last_words` is called in another child when the broker has ended without
/// words of its own.
///
/// To be called while there is one thread; signals are blocked when it returns.
///
/// # Errors
/// The system refuses memory or a process. Then there is no keeper, and this process goes on.
pub fn keep(last_words: impl FnOnce(Ended, u32, &Notes)) -> io::Result<Kept> {
    let notes = Arc::new(Notes::open()?);
    // A parent that ignores its children's ends hands that on, and they could not be waited for.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let before = blocked(&signals_of_the_keeper())?;
    let keeper = getpid();
    // SAFETY: there is one thread, so the child may do whatever this process may.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            ends_with(Signal::SIGCONT);
            let kept = Kept { keeper, notes };
            if !kept.is_kept() {
                // It ended before the kernel knew what we want.
                raise(Signal::SIGCONT)?;
            }
            Ok(kept)
        }
        Ok(ForkResult::Parent { child }) => attend(child, &notes, last_words),
        Err(error) => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Err(error.into())
        }
    }
}

/// The keeper's whole life.
fn attend(broker: Pid, notes: &Notes, last_words: impl FnOnce(Ended, u32, &Notes)) -> ! {
    // So that `ps` and `top` tell the two apart.
    let _ = prctl::set_name(c"htex-keeper");
    let (ended, is_told_to_end) = until_end(broker, None);
    if is_told_to_end || !ended.needs_words() {
        ended.end_alike();
    }
    // SAFETY: as above.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            ends_with(Signal::SIGKILL);
            let number = broker.as_raw().unsigned_abs();
            let _ = catch_unwind(AssertUnwindSafe(|| last_words(ended, number, notes)));
            Ended::Status(0).end_alike()
        }
        Ok(ForkResult::Parent { child }) => {
            until_end(child, Some(WORDS_WITHIN));
        }
        Err(_) => {}
    }
    ended.end_alike()
}

/// Waits for a child's end, and hands SIGTERM on. Also whether there was one.
fn until_end(child: Pid, patience: Option<Duration>) -> (Ended, bool) {
    let mut is_told_to_end = false;
    let mut killed_at = patience.map(|patience| Instant::now() + patience);
    loop {
        if let Some(ended) = end_of(child) {
            return (ended, is_told_to_end);
        }
        match next_signal(killed_at) {
            Some(Signal::SIGTERM) => {
                is_told_to_end = true;
                let _ = kill(child, Signal::SIGTERM);
                killed_at.get_or_insert_with(|| Instant::now() + ENDS_WITHIN);
            }
            Some(_) => {}
            None => {
                let _ = kill(child, Signal::SIGKILL);
                killed_at = None;
            }
        }
    }
}

/// Returns what was blocked before.
fn blocked(signals: &SigSet) -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(signals), Some(&mut before))?;
    Ok(before)
}

/// The kernel sends us this one when our parent ends.
fn ends_with(signal: Signal) {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
}
