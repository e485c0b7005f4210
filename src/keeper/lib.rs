//! The process that HTEX starts is a *keeper*: it starts the broker as its child and waits for the
//! child's end. Whatever ends a process from outside (the OOM killer, `kill -9`) or from inside (an
//! assertion of a library) takes the broker then, and somebody is left to go on.
//!
//! A broker that can be gone on from ([`Notes::set_survives`]) is followed by another one: [`keep`]
//! returns once more, in a new child. Else, and if one broker after the other ends, the keeper
//! starts a child that speaks the last words, and ends as the broker ended.
//!
//! The keeper has no thread, no socket of its own and no memory beyond what it had at the fork. It
//! does nothing but wait for signals, so that nothing can go wrong in it. What HTEX sees of it is
//! what it saw of the broker: the process id that it signals, the exit status, the end by a signal.
//!
//! When the keeper ends first, the kernel sends the broker a SIGCONT: that goes through to a
//! process that is stopped as well, and [`Kept::is_kept`] tells then.
//!
//! | file | what it does |
//! | --- | --- |
//! | `waiting` | waits for a signal or a child's end |
//! | `ended` | how a process ended, in words, and once more |
//! | `restarts` | whether there is another broker |
//! | `message` | the message that the broker has in hand, as far as it is known again |
//! | `notes` | what outlives the broker, in shared memory |
//! | `deposit` | a descriptor that outlives it |

mod deposit;
mod ended;
mod message;
mod notes;
mod restarts;
mod waiting;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

pub use ended::Ended;
pub use message::{Message, MessageKind};
pub use notes::Notes;
pub use restarts::NoRestart;

use restarts::{End, Restarts, Verdict};
use waiting::{News, news_of, next_signal, signals_of_the_keeper};

/// SIGTERM is answered within 50 ms. A broker that does not answer in this time is stopped or
/// hangs. HTEX waits 10 s and then kills the keeper, which could not end its child any more.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What the broker knows of its keeper.
#[derive(Debug, Clone)]
pub struct Kept {
    keeper: Pid,
    notes: Arc<Notes>,
    restart: Option<Restart>,
}

/// That this broker follows another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// 1 for the first.
    pub number: u32,
    /// The broker before.
    pub fallen: Fallen,
    /// When its end was seen.
    pub at: Instant,
    /// For how long it had been stopped by then.
    pub stopped: Duration,
}

/// A broker that has ended without words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallen {
    /// How it ended.
    pub ended: Ended,
    /// The number of its process.
    pub process: u32,
    /// What it had in hand.
    pub message: Option<Message>,
}

/// An end that no broker follows.
#[derive(Debug)]
pub struct Loss {
    /// The last broker.
    pub fallen: Fallen,
    /// Of one that survives: why it was not started again. None for all others.
    pub why_no_restart: Option<NoRestart>,
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

    /// None for the first broker of a run.
    pub fn restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    /// What outlives this process.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }
}

/// Goes on in a child of this process, the broker, and returns there; and once more in another
/// child for each broker that is followed by one. This process itself stays behind as its keeper.
/// `last_words` is called in one more child when the last broker has ended without words of its
/// own, and `clear` here when it was told to end and could not clear up: the number is its own.
///
/// To be called while there is one thread; signals are blocked when it returns.
///
/// # Errors
/// The system refuses memory or a process. Then there is no keeper, and this process goes on.
pub fn keep(last_words: impl FnOnce(&Loss, &Notes), clear: impl Fn(u32)) -> io::Result<Kept> {
    let notes = Arc::new(Notes::open()?);
    // A parent that ignores its children's ends hands that on, and they could not be waited for.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    // Rust's handlers, which look for overflows of a stack, swallow the first of these signals that
    // somebody sends. Without them a stack that overflows ends the process all the same.
    for fault in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: as above.
        unsafe { signal(fault, SigHandler::SigDfl) }?;
    }
    let (keeper, name) = (getpid(), prctl::get_name()?);
    let before = blocked(&signals_of_the_keeper())?;
    let mut restarts = Restarts::default();
    let mut restart = None;
    loop {
        // SAFETY: there is one thread, so the child may do whatever this process may.
        let next = match (unsafe { fork() }, restart) {
            (Ok(ForkResult::Child), _) => {
                let kept = Kept {
                    keeper,
                    notes,
                    restart,
                };
                return begin(kept, &name);
            }
            (Ok(ForkResult::Parent { child }), _) => {
                attend(child, &notes, &mut restarts, restart.as_ref())
            }
            (Err(error), None) => {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
                return Err(error.into());
            }
            (Err(error), Some(last)) => Next::Loss(Loss {
                fallen: last.fallen,
                why_no_restart: Some(NoRestart::NoProcess(error.into())),
            }),
        };
        match next {
            Next::Restart(next) => restart = Some(next),
            Next::Loss(loss) => speak(&loss, &notes, last_words),
            Next::End(fallen) => {
                if fallen.ended.needs_words() {
                    clear(fallen.process);
                }
                fallen.ended.end_alike()
            }
        }
    }
}

/// How it ended, in words that go on from who did.
impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            None => write!(f, "{}", self.ended),
            Some(message) => write!(f, "{}, with {message} in hand", self.ended),
        }
    }
}

/// The broker's first steps.
fn begin(kept: Kept, name: &CString) -> io::Result<Kept> {
    ends_with(Signal::SIGCONT);
    if !kept.is_kept() {
        // It ended before the kernel knew what we want.
        raise(Signal::SIGCONT)?;
    }
    // That of the keeper is inherited.
    let _ = prctl::set_name(name);
    Ok(kept)
}

/// What follows a broker's end.
enum Next {
    Restart(Restart),
    Loss(Loss),
    /// Nothing: it was told to end, or has said its own last words.
    End(Fallen),
}

/// The keeper's life beside one broker.
fn attend(broker: Pid, notes: &Notes, restarts: &mut Restarts, before: Option<&Restart>) -> Next {
    // So that `ps` and `top` tell the two apart.
    let _ = prctl::set_name(c"htex-keeper");
    let began = Instant::now();
    let Life {
        ended,
        is_told_to_end,
        stopped,
    } = until_end(broker);
    let at = Instant::now();
    let stopped = stopped.map_or(Duration::ZERO, |since| at.duration_since(since));
    let fallen = Fallen {
        ended,
        process: broker.as_raw().unsigned_abs(),
        message: notes.message(),
    };
    if is_told_to_end || !ended.needs_words() {
        return Next::End(fallen);
    }
    // The next one has nothing in hand yet.
    notes.end_message();
    let loss = |why_no_restart| {
        Next::Loss(Loss {
            fallen,
            why_no_restart,
        })
    };
    if !notes.survives() {
        return loss(None);
    }
    let end = End {
        progress: notes.progress(),
        lived: at.saturating_duration_since(began),
        message: fallen.message,
        is_killed: ended == Ended::Signal(libc::SIGKILL),
    };
    match restarts.may_go_on(&end, at) {
        Verdict::Stop(why) => return loss(Some(why)),
        Verdict::GoOn(pause) if is_told_to_end_within(pause) => return Next::End(fallen),
        Verdict::GoOn(_) => {}
    }
    Next::Restart(Restart {
        number: before.map_or(1, |before| before.number.saturating_add(1)),
        fallen,
        at,
        stopped,
    })
}

/// Has the last words said, and ends.
fn speak(loss: &Loss, notes: &Notes, last_words: impl FnOnce(&Loss, &Notes)) -> ! {
    // SAFETY: as above.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            ends_with(Signal::SIGKILL);
            let _ = catch_unwind(AssertUnwindSafe(|| last_words(loss, notes)));
            Ended::Status(0).end_alike()
        }
        Ok(ForkResult::Parent { child }) => {
            until_end(child);
        }
        // There is no process for them: the keeper has nothing else to do any more.
        Err(_) => {
            let _ = catch_unwind(AssertUnwindSafe(|| last_words(loss, notes)));
        }
    }
    loss.fallen.ended.end_alike()
}

/// Waits for so long, unless SIGTERM comes or has come.
fn is_told_to_end_within(pause: Duration) -> bool {
    let end = Instant::now() + pause;
    while let Some(signal) = next_signal(Some(end)) {
        if signal == Signal::SIGTERM {
            return true;
        }
    }
    false
}

/// How a child's life was.
struct Life {
    ended: Ended,
    /// SIGTERM came, and was handed on.
    is_told_to_end: bool,
    /// It was stopped, and went on no more.
    stopped: Option<Instant>,
}

/// Waits for a child's end, and hands SIGTERM on.
fn until_end(child: Pid) -> Life {
    let (mut is_told_to_end, mut stopped) = (false, None);
    let mut killed_at = None;
    loop {
        match news_of(child) {
            News::Ended(ended) => {
                return Life {
                    ended,
                    is_told_to_end,
                    stopped,
                };
            }
            News::Stopped => {
                stopped.get_or_insert_with(Instant::now);
                continue;
            }
            News::Continued => {
                stopped = None;
                continue;
            }
            News::None => {}
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
