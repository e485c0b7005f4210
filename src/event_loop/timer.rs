//! Wakes the loop for its next deadline.
//!
//! A wait with a timeout sets a timer of the kernel's and takes it back, every time. Deadlines are
//! far away and rarely change; tasks come all the time. So the timer stands by itself, as one more
//! descriptor, and is set only when it would fire too late or has fired.

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
/// A timer set to nothing never fires.
const AT_ONCE: Duration = Duration::from_nanos(1);

pub(super) struct DeadlineTimer {
    descriptor: OwnedFd,
    /// On the loop's clock.
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

    /// Readable once it fires, until it is set again.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Sees to it that it fires by the deadline. It may fire before, and is to be set again then.
    ///
    /// # Errors
    /// None that a system with timers has.
    pub(super) fn set(&mut self, deadline: Option<Duration>, now: Duration) -> io::Result<()> {
        let is_to_come = self.fires_at.is_some_and(|at| at > now);
        match deadline {
            Some(deadline) if is_to_come && self.fires_at <= Some(deadline) => return Ok(()),
            None if is_to_come || self.fires_at.is_none() => return Ok(()),
            _ => {}
        }
        let fires_in = deadline.map(|deadline| deadline.saturating_sub(now).max(AT_ONCE));
        // Longer than the kernel can count is never.
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
    fn it_fires_by_the_deadline_and_is_quiet_when_set_again() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(now + SOON), now).unwrap();
        assert!(fires(&timer, &PATIENCE));
        let later = now + 2 * SOON;
        timer
            .set(Some(later + Duration::from_secs(1000)), later)
            .unwrap();
        assert!(!fires(&timer, &NEVER));
        // An earlier deadline than the one that it waits for.
        timer.set(Some(later + SOON), later).unwrap();
        assert!(fires(&timer, &PATIENCE));
        timer.set(None, later + 2 * SOON).unwrap();
        assert!(!fires(&timer, &NEVER));
    }

    #[test]
    fn a_deadline_that_has_passed_or_never_comes() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(Duration::ZERO), now).unwrap();
        assert!(fires(&timer, &PATIENCE));
        timer.set(Some(Duration::MAX), now).unwrap();
        assert!(!fires(&timer, &NEVER));
    }

    /// It fires for a deadline that was taken back; then it is set to the next one.
    #[test]
    fn a_later_deadline_leaves_it_as_it_is() {
        let mut timer = DeadlineTimer::new().unwrap();
        let now = Duration::from_secs(100);
        timer.set(Some(now + SOON), now).unwrap();
        timer
            .set(Some(now + Duration::from_secs(1000)), now)
            .unwrap();
        assert!(fires(&timer, &PATIENCE));
    }
}
