//! Wakes the loop for its next deadline.
//!
//! A wait with a timeout sets a timer of the kernel's and takes it back, every time. Deadlines are
//! far away and rarely change; tasks come all the time. So the timer stands by itself, as one more
//! descriptor, and is set only when it would ring too late or has rung.

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
/// A timer set to nothing never rings.
const AT_ONCE: Duration = Duration::from_nanos(1);

pub(super) struct Alarm {
    timer: OwnedFd,
    /// On the loop's clock.
    rings_at: Option<Duration>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            rings_at: None,
        })
    }

    /// Readable once it rings, until it is set again.
    pub(super) fn descriptor(&self) -> RawFd {
        self.timer.as_raw_fd()
    }

    /// Sees to it that it rings by the deadline. It may ring before, and is to be set again then.
    ///
    /// # Errors
    /// None that a system with timers has.
    pub(super) fn set(&mut self, deadline: Option<Duration>, now: Duration) -> io::Result<()> {
        let is_to_come = self.rings_at.is_some_and(|at| at > now);
        match deadline {
            Some(deadline) if is_to_come && self.rings_at <= Some(deadline) => return Ok(()),
            None if is_to_come || self.rings_at.is_none() => return Ok(()),
            _ => {}
        }
        let rings_in = deadline.map(|deadline| deadline.saturating_sub(now).max(AT_ONCE));
        // Longer than the kernel can count is never.
        let rings_in = rings_in.and_then(|time| Timespec::try_from(time).ok());
        let setting = Itimerspec {
            it_interval: NEVER,
            it_value: rings_in.unwrap_or(NEVER),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        self.rings_at = rings_in.and(deadline);
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

    fn rings(alarm: &Alarm, within: &Timespec) -> bool {
        let mut items = [PollFd::new(&alarm.timer, PollFlags::IN)];
        poll(&mut items, Some(within)).unwrap() == 1
    }

    #[test]
    fn it_rings_by_the_deadline_and_is_quiet_when_set_again() {
        let mut alarm = Alarm::new().unwrap();
        let now = Duration::from_secs(100);
        alarm.set(Some(now + SOON), now).unwrap();
        assert!(rings(&alarm, &PATIENCE));
        let later = now + 2 * SOON;
        alarm
            .set(Some(later + Duration::from_secs(1000)), later)
            .unwrap();
        assert!(!rings(&alarm, &NEVER));
        // An earlier deadline than the one that it waits for.
        alarm.set(Some(later + SOON), later).unwrap();
        assert!(rings(&alarm, &PATIENCE));
        alarm.set(None, later + 2 * SOON).unwrap();
        assert!(!rings(&alarm, &NEVER));
    }

    #[test]
    fn a_deadline_that_has_passed_or_never_comes() {
        let mut alarm = Alarm::new().unwrap();
        let now = Duration::from_secs(100);
        alarm.set(Some(Duration::ZERO), now).unwrap();
        assert!(rings(&alarm, &PATIENCE));
        alarm.set(Some(Duration::MAX), now).unwrap();
        assert!(!rings(&alarm, &NEVER));
    }

    /// It rings for a deadline that was taken back; then it is set to the next one.
    #[test]
    fn a_later_deadline_leaves_it_as_it_is() {
        let mut alarm = Alarm::new().unwrap();
        let now = Duration::from_secs(100);
        alarm.set(Some(now + SOON), now).unwrap();
        alarm
            .set(Some(now + Duration::from_secs(1000)), now)
            .unwrap();
        assert!(rings(&alarm, &PATIENCE));
    }
}
