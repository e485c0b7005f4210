//! `--survive`: whether another broker continues the run after this one ends, and with which state.

use std::fmt;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use htex_interchange::cli::Arguments;
use journal::Memory;
use keeper::Kept;
use status::document::Restart;
use submit_side::config::SubmitSide;

use super::last_words::executor_watches;

/// The start of the run, which all its brokers share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: Instant,
    pub(crate) wall_s: f64,
}

impl Began {
    pub(crate) fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at: Instant::now(),
            wall_s: wall.unwrap_or_default().as_secs_f64(),
        }
    }
}

/// Makes the memory in which the brokers of a run keep their state; None without `--survive`. Call
/// this before the first broker is forked.
pub(crate) fn memory(arguments: &Arguments) -> Option<io::Result<Memory>> {
    arguments.survive.then(Memory::create)
}

/// Returns the memory if this run can use it. If not, a WARNING gives the reason, and the run
/// continues without it.
pub(crate) fn settled(
    memory: Option<io::Result<Memory>>,
    side: &SubmitSide,
    kept: Option<&Kept>,
) -> Option<Memory> {
    let settled = match (memory?, kept) {
        // Any other executor would not send messages again that were in transit, nor notice which
        // were lost.
        _ if !executor_watches(side) => Err(Hindrance::Executor),
        (_, None) => Err(Hindrance::Keeper),
        (Ok(memory), Some(_)) => Ok(memory),
        (Err(error), Some(_)) => Err(Hindrance::Memory(error)),
    };
    settled
        .inspect(|_| {
            codes::log!(
                SURVIVE_ON,
                "If this process is killed, another process takes over"
            )
        })
        .inspect_err(|reason| {
            codes::log!(
                SURVIVE_OFF,
                "--survive is not in effect: this run ends when its interchange process ends: \
                 {reason}"
            );
        })
        .ok()
}

/// Logs a restart.
pub(crate) fn tell(restart: &Restart) {
    codes::log!(
        RESTARTED,
        "Restarted after the interchange {}, {:.0} ms after its end; restart number {}",
        restart.why,
        restart.down_s * 1000.0,
        restart.number
    );
}

/// Why a run does not survive the end of its broker.
#[derive(Debug)]
enum Hindrance {
    Executor,
    Keeper,
    Memory(io::Error),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor => f.write_str(
                "only the executor of the Python package htex_interchange can continue with \
                 another process",
            ),
            Self::Keeper => f.write_str("the interchange has no keeper process"),
            Self::Memory(error) => write!(
                f,
                "no memory can be allocated that outlives the process: {error}"
            ),
        }
    }
}
