//! The process that HTEX starts is a *keeper*: it starts the broker as its child and waits for the
//! child's end. A kill from outside (the OOM killer, `kill -9`) or an abort inside (an assertion of
//! a library) then ends only the broker, and the keeper can react.
//!
//! If the run can survive its broker ([`Notes::set_survives`]), another broker follows: [`keep`]
//! returns again, in a new child. If it cannot, or if brokers end one after the other, the keeper
//! starts a child that sends the last words: it notifies the executor and the managers. Then the
//! keeper ends as the broker ended.
//!
//! The keeper has no thread, no socket of its own and no memory beyond what it had at the fork. It
//! only waits for signals, so that little can go wrong in it. HTEX sees the keeper as it would see
//! the broker: the process id to signal, the exit status, and the end by a signal.
//!
//! If the keeper ends first, the kernel sends the broker a SIGCONT, which reaches a stopped
//! process, too. The broker then checks [`Kept::is_kept`].
//!
//! | file | what it does |
//! | --- | --- |
//! | `waiting` | waits for a signal or a child's end |
//! | `ended` | describes how a process ended, and ends in the same way |
//! | `restarts` | decides whether another broker follows |
//! | `message` | identifies the message that the broker is processing |
//! | `notes` | the broker's notes in shared memory, which outlive it |
//! | `deposit` | a descriptor that outlives the broker |

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

/// Time limit for the broker's end after SIGTERM. A broker ends within 50 ms; one that takes this
/// long is stopped or hangs. HTEX waits 10 s before it kills the keeper, which could then not end
/// the broker.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The broker's view of its keeper.
#[derive(Debug, Clone)]
pub struct Kept {
    keeper: Pid,
    notes: Arc<Notes>,
    restart: Option<Restart>,
}

/// Describes the restart that started this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The number of the restart; 1 for the first.
    pub number: u32,
    /// The broker that ended before this one.
    pub fallen: Fallen,
    /// When the keeper noticed the end of that broker.
    pub at: Instant,
    /// How long that broker had been stopped when it ended.
    pub stopped: Duration,
}

/// A broker that ended without notifying the executor and the managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallen {
    /// How the broker ended.
    pub ended: Ended,
    /// The broker's process id.
    pub process: u32,
    /// The message that the broker was processing.
    pub message: Option<Message>,
}

/// The end of a broker after which no other broker is started.
#[derive(Debug)]
pub struct Loss {
    /// The last broker.
    pub fallen: Fallen,
    /// Why a run that survives its broker was not continued; None for other runs.
    pub why_no_restart: Option<NoRestart>,
}

impl Kept {
    /// Whether the keeper is alive. Call this after each SIGCONT.
    pub fn is_kept(&self) -> bool {
        getppid() == self.keeper
    }

    /// The keeper's process id.
    pub fn keeper(&self) -> u32 {
        self.keeper.as_raw().unsigned_abs()
    }

    /// Makes this process end with its keeper. For a program that replaces this process by `exec`
    /// and does not know of keepers.
    pub fn hand_over(&self) {
        ends_with(Signal::SIGKILL);
    }

    /// Undoes [`Self::hand_over`], if the other program could not be started.
    pub fn take_back(&self) {
        ends_with(Signal::SIGCONT);
    }

    /// Returns the restart that started this broker; None for the first broker of a run.
    pub fn restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    /// Returns the notes, which outlive this process.
    pub fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }
}

/// Forks and returns in the child, which becomes the broker. Returns again in another child for
/// each restart. The calling process stays behind as the keeper. When the last broker has ended
/// without notifying anybody, `last_words` runs in one more child. If a broker was told to end but
/// ended abnormally, `clear` runs in the keeper with the broker's process id.
///
/// Call this while the process has one thread. The keeper's signals are blocked when it returns.
///
/// # Errors
/// The system refuses memory or a process. Then there is no keeper, and the calling process
/// continues.
pub fn keep(last_words: impl FnOnce(&Loss, &Notes), clear: impl Fn(u32)) -> io::Result<Kept> {
    let notes = Arc::new(Notes::open()?);
    // A process that ignores SIGCHLD passes this on to the programs that it starts, and cannot wait
    // for its children.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    // Rust installs handlers for these signals to detect stack overflows. They ignore the first
    // such signal that another process sends. Without the handlers a stack overflow still ends the
    // process.
    for fault in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: no handler is installed.
        unsafe { signal(fault, SigHandler::SigDfl) }?;
    }
    let (keeper, name) = (getpid(), prctl::get_name()?);
    let before = blocked(&signals_of_the_keeper())?;
    let mut restarts = Restarts::default();
    let mut restart = None;
    loop {
        // SAFETY: there is one thread, so the child may run any code.
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

/// Describes the end in words that follow the name of the process.
impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            None => write!(f, "{}", self.ended),
            Some(message) => write!(f, "{}, while it processed {message}", self.ended),
        }
    }
}

/// Prepares a new broker: the kernel will send it a SIGCONT when the keeper ends.
fn begin(kept: Kept, name: &CString) -> io::Result<Kept> {
    ends_with(Signal::SIGCONT);
    if !kept.is_kept() {
        // The keeper ended before that setting took effect.
        raise(Signal::SIGCONT)?;
    }
    // The keeper's process name was inherited; the broker gets the original name back.
    let _ = prctl::set_name(name);
    Ok(kept)
}

/// The keeper's next step after a broker's end.
enum Next {
    Restart(Restart),
    Loss(Loss),
    /// No further broker or notification: the broker was told to end, or has notified everybody.
    End(Fallen),
}

/// Waits for the end of one broker and decides what follows.
fn attend(broker: Pid, notes: &Notes, restarts: &mut Restarts, before: Option<&Restart>) -> Next {
    // `ps` and `top` show the keeper under this name.
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
    // The next broker begins without a message.
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

/// Runs `last_words` in a child process, then ends this process.
fn speak(loss: &Loss, notes: &Notes, last_words: impl FnOnce(&Loss, &Notes)) -> ! {
    // SAFETY: there is one thread, so the child may run any code.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            ends_with(Signal::SIGKILL);
            let _ = catch_unwind(AssertUnwindSafe(|| last_words(loss, notes)));
            Ended::Status(0).end_alike()
        }
        Ok(ForkResult::Parent { child }) => {
            until_end(child);
        }
        // The system has no process for the last words, so the keeper sends them.
        Err(_) => {
            let _ = catch_unwind(AssertUnwindSafe(|| last_words(loss, notes)));
        }
    }
    loss.fallen.ended.end_alike()
}

/// Waits for `pause`. Returns true as soon as a SIGTERM arrives or if one is pending.
fn is_told_to_end_within(pause: Duration) -> bool {
    let end = Instant::now() + pause;
    while let Some(signal) = next_signal(Some(end)) {
        if signal == Signal::SIGTERM {
            return true;
        }
    }
    false
}

/// What the keeper has seen of a child's life.
struct Life {
    ended: Ended,
    /// Whether the child ended because of a SIGTERM, which was forwarded.
    is_told_to_end: bool,
    /// When the child was stopped, if it was not continued afterwards.
    stopped: Option<Instant>,
}

/// Waits for a child's end and forwards SIGTERM to it. A SIGTERM that came too late, because the
/// child had ended or was ended by another signal at the same time, is left for what follows.
fn until_end(child: Pid) -> Life {
    let (mut is_told_to_end, mut stopped) = (false, None);
    let mut killed_at = None;
    let mut is_killed_here = false;
    loop {
        match news_of(child) {
            News::Ended(ended) => {
                let obeyed = !ended.needs_words() || ended == Ended::Signal(libc::SIGTERM);
                if is_told_to_end && !obeyed && !is_killed_here {
                    is_told_to_end = false;
                    let _ = raise(Signal::SIGTERM);
                }
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
                is_killed_here = true;
                killed_at = None;
            }
        }
    }
}

/// Blocks signals and returns the previous mask.
fn blocked(signals: &SigSet) -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(signals), Some(&mut before))?;
    Ok(before)
}

/// Asks the kernel to send this process a signal when its parent ends.
fn ends_with(signal: Signal) {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
}
