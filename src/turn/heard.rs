//! The time up to which all messages of managers have been read.
//!
//! An empty worker socket does not prove that no message has arrived in the last moment. libzmq's
//! own thread fetches messages from the kernel. After a stop of the whole process, or on a busy
//! machine, that thread may not have run yet. So an empty socket counts for a given time only if
//! several later checks find it empty too. If one of these checks is late, the process may have
//! been stopped in between, and the checks restart.
//!
//! (Shorter stops look like a running process. Several of them, each just before a check, may hide
//! a message in the kernel: no clock shows whether the other thread ran between two checks.)

use std::time::Duration;

use broker::Now;

/// Number of further checks after which libzmq's thread must have run.
const LOOKS: u32 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A check that is later than this proves nothing.
const LATE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The checks that found the socket empty and may prove silence up to the first of them: the
    /// time of the first and of the last check (monotonic clock), and the number of checks after
    /// the first.
    first: Duration,
    last: Option<Duration>,
    more: u32,
    until: Duration,
}

impl Heard {
    /// Notes that the socket was found empty. Returns the time (monotonic clock) up to which
    /// everything was read.
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

    /// Returns when to check again, if a manager's silence is not certain yet.
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
    fn empty_socket_proves_silence_only_up_to_an_earlier_check() {
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
            // No check was made for an hour.
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
