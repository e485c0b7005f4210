//! Takes over the state of the previous broker, and keeps a journal so that another broker can take
//! over later.

use std::time::Duration;

use journal::{Journal, Memory};
use keeper::Kept;

use super::clock::Clock;
use super::frame::Frame;
use super::opening::OpenError;
use broker::Death;
use interchange::Interchange;
use status::document::Restart;

/// Restores the state that the previous broker left in this memory, and keeps this broker's journal
/// there. From then on another broker can continue after this one.
///
/// # Errors
/// The memory holds a journal that cannot be read. If no journal can be opened in a first broker,
/// the run continues without `--survive`.
pub(super) fn keep_journal(
    mut interchange: Interchange<Frame>,
    memory: Option<&Memory>,
    kept: Option<&Kept>,
    clock: &Clock,
) -> Result<Interchange<Frame>, OpenError> {
    let Some(memory) = memory else {
        return Ok(interchange);
    };
    let restart = kept.and_then(Kept::restart);
    let (journal, left) = match Journal::open(memory) {
        Ok(opened) => opened,
        Err(error) if restart.is_some() => return Err(OpenError::Journal(error)),
        Err(error) => {
            codes::log!(
                SURVIVE_OFF,
                "--survive is not in effect: this run ends when its interchange process ends: \
                 {error}"
            );
            return Ok(interchange);
        }
    };
    let death = restart.map(|restart| Death {
        at: clock.monotonic_at(restart.at),
        stopped: restart.stopped,
    });
    let taken_over = interchange.take_over(journal, left, death, clock.now());
    if restart.is_some() {
        codes::log!(
            TAKEN_OVER,
            "Restored {} managers, {} tasks in flight and {} queued tasks",
            taken_over.managers,
            taken_over.in_flight,
            taken_over.queued
        );
    }
    if let Some(kept) = kept {
        kept.notes().set_survives(true);
    }
    Ok(interchange)
}

/// The last restart, and the time when this broker was ready.
pub(super) struct Restarted {
    pub(super) restart: Restart,
    ready: Duration,
}

impl Restarted {
    /// Returns the restart; None for the first broker of a run. Call this when the broker is ready.
    pub(super) fn of(kept: Option<&Kept>, clock: &Clock) -> Option<Self> {
        let restart = kept?.restart()?;
        let now = clock.now();
        Some(Self {
            restart: Restart {
                number: restart.number,
                why: restart.fallen.to_string(),
                down_s: restart.at.elapsed().as_secs_f64(),
                at_s: now.wall_s,
                ago_s: 0.0,
            },
            ready: now.monotonic,
        })
    }

    /// Returns the restart, with its age at this time.
    pub(super) fn at(&self, monotonic: Duration) -> Restart {
        Restart {
            ago_s: monotonic.saturating_sub(self.ready).as_secs_f64(),
            ..self.restart.clone()
        }
    }
}
