//! Up to which time everything was read that managers had said.
//!
//! That no message is left in the worker socket says nothing of the last moment: libzmq's own
//! thread fetches what has come from the kernel, and after a stop of the whole process, or on a
//! busy machine, it may not have run yet. So the socket has to be found empty a few times more, a
//! while after the time for which it is to speak; and if one of these looks comes late, the process
//! may have been stopped in between, and it is another beginning. (Stops that are shorter than that
//! look like a process that ran, and several of them, each just before a look, may hide a word in
//! the kernel: no clock tells whether the other thread had its turn between two of them.)

use std::time::Duration;

use broker::Now;

/// libzmq's thread has run after so many looks more.
const LOOKS: u32 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A look that is later than this proves nothing.
const LATE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The looks that found nothing left and may speak for the first of them: when it and the last
    /// one were (monotonic clock), and how many came after it.
    first: Duration,
    last: Option<Duration>,
    more: u32,
    until: Duration,
}

impl Heard {
    /// Nothing is left to read. Up to when everything was read: monotonic clock.
    pub(super) fn until(&mut self, now: Now) -> Duration {
        let due = self.next_look();
        if due.is_some_and(|due| now.monotonic < due) {
            return self.until;
        }
        self.more += 1;
        self.last = Some(now.monotonic);
        let is_late = due.is_none_or(|due| now.monotonic > due + LATE);
        if is_late || self.more == LOOKS {
            if !is_late {
                self.until = self.first;
            }
            self.first = now.monotonic;
            self.more = 0;
        }
        self.until
    }

    /// When to look again, for somebody about whom it is not certain yet.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.last.map(|at| at + LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_empty_socket_speaks_for_the_time_before_the_last_moment() {
        let mut heard = Heard::default();
        let mut until = |at| {
            heard.until(Now {
                monotonic: at,
                wall_s: 0.0,
            })
        };
        for (at, heard) in [
            (1000, 0),
            (1050, 0),
            (1100, 0),
            (1199, 0),
            (1248, 0),
            (1249, 1000),
            (1448, 1000),
            // The process was stopped for a moment.
            (1549, 1000),
            (1600, 1000),
            (1650, 1000),
            (1700, 1000),
            (1750, 1549),
            // Nobody looked for an hour.
            (3_600_000, 1549),
            (3_600_050, 1549),
            (3_600_100, 1549),
            (3_600_150, 1549),
            (3_600_200, 3_600_000),
        ] {
            assert_eq!(until(ms(at)), ms(heard), "at {at}");
        }
    }
}
