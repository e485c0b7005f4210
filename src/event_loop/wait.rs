//! The one place where the process rests: one wait for all descriptors, until the next deadline.
//!
//! The descriptors stand in one set that the kernel keeps: what is waited for is not told anew each
//! time, which is a good part of the price of a short task. Some are waited for at times only; they
//! are switched on and off here, by what each rest asks for, so that nobody else has to know which
//! are in the set. (libzmq's own poll asks every socket twice each time, which costs a system call
//! each.)

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use turn::Rest;
use zmq::Socket;

use super::system_calls::lent;
use super::timer::DeadlineTimer;

/// What a descriptor of the set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Commands,
    Tasks,
    Workers,
    Results,
    Connections,
    SubmitConnections,
    KeyCheck,
    Release,
    Hub,
    HelperAnswers,
    HelperQuestions,
    Signals,
    Process,
    StatusClients,
    Timer,
}

impl Source {
    const COUNT: usize = Self::Timer as usize + 1;

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which of them were ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready(u16);

impl Ready {
    /// Nothing is known of what there is to read: look everywhere.
    pub(super) fn everywhere() -> Self {
        // That a process has ended is said by its descriptor alone.
        Self(!Source::Process.bit())
    }

    pub(super) fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }
}

/// The most that one look can find; submit connections are three.
const FOUND_MAX: usize = Source::COUNT + 2;

pub(super) struct Descriptors {
    set: OwnedFd,
    timer: DeadlineTimer,
    /// Those that are waited for at times only, as they stand in the set now.
    at_times: [Option<(RawFd, EventFlags)>; Source::COUNT],
}

impl Descriptors {
    pub(super) fn new() -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = DeadlineTimer::new()?;
        let descriptors = Self {
            set,
            timer,
            at_times: [None; Source::COUNT],
        };
        descriptors.add(Source::Timer, descriptors.timer.descriptor())?;
        Ok(descriptors)
    }

    /// Waited for from now on.
    pub(super) fn add(&self, source: Source, descriptor: RawFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source as u64);
        Ok(epoll::add(
            &self.set,
            lent(descriptor),
            data,
            EventFlags::IN,
        )?)
    }

    /// As [`Self::add`].
    pub(super) fn add_socket(&self, source: Source, socket: &Socket) -> io::Result<()> {
        self.add(source, socket.get_fd()?)
    }

    /// What a source that is waited for at times asks for now. A descriptor is ready as soon as its
    /// source asks for it again, if it is then: nothing that came meanwhile is missed.
    pub(super) fn wait_for(&mut self, source: Source, wanted: Option<(RawFd, EventFlags)>) {
        let present = &mut self.at_times[source as usize];
        if *present == wanted {
            return;
        }
        // One that was closed has left the set by itself.
        if let Some((descriptor, _)) = present.take() {
            let _ = epoll::delete(&self.set, lent(descriptor));
        }
        if let Some((descriptor, events)) = wanted {
            let data = epoll::EventData::new_u64(source as u64);
            let added = epoll::add(&self.set, lent(descriptor), data, events);
            *present = added.is_ok().then_some((descriptor, events));
        }
    }

    /// What is ready. Rests until something is, if it may.
    pub(super) fn wait(&mut self, rest: Rest, now: Duration) -> Ready {
        const AT_ONCE: &Timespec = &Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let timeout = match rest {
            Rest::Until(deadline) if self.timer.set(deadline, now).is_ok() => None,
            Rest::Until(_) | Rest::No => Some(AT_ONCE),
        };
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; FOUND_MAX];
        // An interrupted wait is one that found nothing.
        let found = epoll::wait(&self.set, &mut room, timeout);
        let mut ready = Ready::default();
        for event in found.map_or(&mut [][..], |(found, _)| found) {
            ready.0 |= 1 << event.data.u64();
        }
        ready
    }
}

/// Whether something can be read from it now or within `patience`; its end counts.
pub fn is_readable_within(source: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    let mut items = [PollFd::new(&source, PollFlags::IN)];
    poll(&mut items, patience.as_ref()).is_ok_and(|found| found > 0)
}
