//! Up to which time everything was read that managers had said.
//!
//! That no message is left in the worker socket says nothing of the last moment: libzmq's own
//! thread fetches what has come from the kernel, and after a stop of the whole process, or on a
//! busy machine, it may not have run yet. So the socket has to be found empty once more, a while
//! after the time for which it is to speak; and if that look comes late, the process may have been
//! stopped again in between, and it is another beginning.

use std::time::Duration;

use broker::Now;

/// libzmq's thread has run by then.
const FETCHED_WITHIN: Duration = Duration::from_millis(200);
/// A second look that is later than this proves nothing.
const LATE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The last turn that found nothing left, of those that may speak for a later one: monotonic.
    emptied_at: Option<Duration>,
    until: Duration,
}

impl Heard {
    /// Nothing is left to read. Up to when everything was read: monotonic clock.
    pub(super) fn until(&mut self, now: Now) -> Duration {
        let due = self.next_look();
        if due.is_none_or(|due| now.monotonic >= due) {
            let is_late = due.is_none_or(|due| now.monotonic > due + LATE);
            if let Some(at) = self.emptied_at
                && !is_late
            {
                self.until = at;
            }
            self.emptied_at = Some(now.monotonic);
        }
        self.until
    }

    /// When to look again, for somebody about whom it is not certain yet.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.emptied_at.map(|at| at + FETCHED_WITHIN)
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
        assert_eq!(until(ms(1000)), ms(0));
        assert_eq!(until(ms(1100)), ms(0));
        assert_eq!(until(ms(1200)), ms(1000));
        assert_eq!(until(ms(1399)), ms(1000));
        assert_eq!(until(ms(1400)), ms(1200));
        // Nobody looked for an hour, or the process was stopped.
        assert_eq!(until(ms(3_600_000)), ms(1200));
        assert_eq!(until(ms(3_600_200)), ms(3_600_000));
        assert_eq!(until(ms(3_600_501)), ms(3_600_000));
        assert_eq!(until(ms(3_600_800)), ms(3_600_501));
    }
}
