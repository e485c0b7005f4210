//! Wakes the loop for its next deadline.
//!
//! A wait with a timeout sets and cancels a kernel timer every time. Deadlines are far away and
//! rarely change, but tasks arrive all the time. So the timer is a separate descriptor (timerfd).
//! It is set only if it would fire too late or has fired.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

const NEVER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// The shortest time: a timer that is set to zero never fires.
const AT_ONCE: Duration = Duration::from_nanos(1);

pub(super) struct DeadlineTimer {
    descriptor: OwnedFd,
    /// When the timer fires, on the loop's clock.
    fires_at: Option<Duration>,
}

impl DeadlineTimer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            descriptor: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            fires_at: None,
        })
    }

    /// Returns the descriptor, which is readable from when the timer fires until it is set again.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Makes the timer fire by the deadline. If it fires earlier, it has to be set again.
    ///
    /// # Errors
    /// None on a system that supports timers.
    pub(super) fn set(&mut self, deadline: Option<Duration>, now: Duration) -> io::Result<()> {
        let is_to_come = self.fires_at.is_some_and(|at| at > now);
        match deadline {
            Some(deadline) if is_to_come && self.fires_at <= Some(deadline) => return Ok(()),
            None if is_to_come || self.fires_at.is_none() => return Ok(()),
            _ => {}
        }
        let fires_in = deadline.map(|deadline| deadline.saturating_sub(now).max(AT_ONCE));
        // A time that the kernel cannot represent counts as never.
        let fires_in = fires_in.and_then(|time| Timespec::try_from(time).ok());
        let setting = Itimerspec {
            it_interval: NEVER,
            it_value: fires_in.unwrap_or(NEVER),
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        self.fires_at = fires_in.and(deadline);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const PATIENCE: Timespec = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };

    fn fires(timer: &DeadlineTimer, within: &Timespec) -> bool {
        let mut items = [PollFd::new(&timer.descriptor, PollFlags::IN)];
        poll(&mut items, Some(within)).unwrap() == 1
    }

    #[test]
    fn timer_fires_by_the_deadline_and_is_quiet_when_set_again() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(now + SOON), now).unwrap();
        assert!(fires(&timer, &PATIENCE));
        let later = now + 2 * SOON;
        timer
            .set(Some(later + Duration::from_secs(1000)), later)
            .unwrap();
        assert!(!fires(&timer, &NEVER));
        // A deadline earlier than the one that the timer is set to.
        timer.set(Some(later + SOON), later).unwrap();
        assert!(fires(&timer, &PATIENCE));
        timer.set(None, later + 2 * SOON).unwrap();
        assert!(!fires(&timer, &NEVER));
    }

    #[test]
    fn past_deadline_fires_at_once_and_infinite_deadline_never() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(Duration::ZERO), now).unwrap();
        assert!(fires(&timer, &PATIENCE));
        timer.set(Some(Duration::MAX), now).unwrap();
        assert!(!fires(&timer, &NEVER));
    }

    /// The timer fires for the earlier deadline, which is withdrawn by then; the caller then sets
    /// the next one.
    #[test]
    fn later_deadline_does_not_change_the_timer() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(now + SOON), now).unwrap();
        timer
            .set(Some(now + Duration::from_secs(1000)), now)
            .unwrap();
        assert!(fires(&timer, &PATIENCE));
    }
}
