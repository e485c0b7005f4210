//! `--survive`: whether another broker goes on where this one ends, and what it has of it.

use std::fmt;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use htex_interchange::cli::Arguments;
use journal::Memory;
use keeper::Kept;
use status::document::Restart;
use submit_side::config::SubmitSide;

use super::last_words::executor_watches;

/// When the run began: its brokers, one after the other, have one time.
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

/// Where the brokers of a run keep what they know; none if that is not wanted. To be called before
/// the first of them is forked.
pub(crate) fn memory(arguments: &Arguments) -> Option<io::Result<Memory>> {
    arguments.survive.then(Memory::create)
}

/// The memory, if this run may use it. A WARNING says why not, and the run goes on without.
pub(crate) fn settled(
    memory: Option<io::Result<Memory>>,
    side: &SubmitSide,
    kept: Option<&Kept>,
) -> Option<Memory> {
    let settled = match (memory?, kept) {
        // Any other executor would neither send again what was on its way nor see what was lost.
        _ if !executor_watches(side) => Err(Hindrance::Executor),
        (_, None) => Err(Hindrance::Keeper),
        (Ok(memory), Some(_)) => Ok(memory),
        (Err(error), Some(_)) => Err(Hindrance::Memory(error)),
    };
    settled
        .inspect(|_| {
            codes::log!(
                SURVIVE_ON,
                "If this process is killed, another one takes over"
            )
        })
        .inspect_err(|reason| {
            codes::log!(
                SURVIVE_OFF,
                "--survive: this run does not survive the end of its broker: {reason}"
            );
        })
        .ok()
}

/// For whoever reads the log.
pub(crate) fn tell(restart: &Restart) {
    codes::log!(
        RESTARTED,
        "Restarted after the interchange {}, {:.0} ms after its end; restart number {}",
        restart.why,
        restart.down_s * 1000.0,
        restart.number
    );
}

/// Why it is not done.
#[derive(Debug)]
enum Hindrance {
    Executor,
    Keeper,
    Memory(io::Error),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Executor => {
                f.write_str("only an executor of the Python package htex_interchange can go on")
            }
            Self::Keeper => f.write_str("it has no keeper"),
            Self::Memory(error) => write!(f, "there is no memory that outlives it: {error}"),
        }
    }
}
