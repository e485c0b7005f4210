//! That another broker can go on from this one, and that this one follows another.

use std::time::Duration;

use journal::{Journal, Memory};
use keeper::Kept;

use super::clock::Clock;
use super::frame::Frame;
use super::opening::OpenError;
use broker::Death;
use interchange::Interchange;
use status::document::Restart;

/// Has what must outlive this process kept in this memory, and takes over what is there. From now
/// on it can be gone on from here.
///
/// # Errors
/// Something is there, and cannot be read. Where nothing can be, the run goes on without.
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
                "--survive: this run does not survive the end of its broker: {error}"
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

/// The last restart, and when this broker was ready.
pub(super) struct Restarted {
    pub(super) restart: Restart,
    ready: Duration,
}

impl Restarted {
    /// None for the first broker of a run. To be asked when this one is ready.
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

    /// As it is at this time.
    pub(super) fn at(&self, monotonic: Duration) -> Restart {
        Restart {
            ago_s: monotonic.saturating_sub(self.ready).as_secs_f64(),
            ..self.restart.clone()
        }
    }
}
