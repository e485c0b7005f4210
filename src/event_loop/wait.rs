//! The only place where the loop waits: for all descriptors at once, until the next deadline.
//!
//! The descriptors are in one epoll set that the kernel keeps, so they are not passed again with
//! each wait; that saves a good part of the cost of a short task. Some sources are of interest only
//! at times. They are added and removed here before each wait, so no other module has to know the
//! content of the set. (libzmq's own poll queries every socket twice each time, at the cost of a
//! system call each.)

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

/// The sources that were ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready(u16);

impl Ready {
    /// Returns all sources as ready, for the first pass, when nothing is known yet.
    pub(super) fn everywhere() -> Self {
        // Except `Process`: only its descriptor shows that the process has ended.
        Self(!Source::Process.bit())
    }

    pub(super) fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }
}

/// Maximum number of events of one wait; `SubmitConnections` stands for three descriptors.
const FOUND_MAX: usize = Source::COUNT + 2;

pub(super) struct Descriptors {
    set: OwnedFd,
    timer: DeadlineTimer,
    /// The sources that are of interest only at times: their descriptors in the set now.
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

    /// Adds a descriptor to the set for good.
    pub(super) fn add(&self, source: Source, descriptor: RawFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source as u64);
        Ok(epoll::add(
            &self.set,
            lent(descriptor),
            data,
            EventFlags::IN,
        )?)
    }

    /// Adds a socket's descriptor, as [`Self::add`] does.
    pub(super) fn add_socket(&self, source: Source, socket: &Socket) -> io::Result<()> {
        self.add(source, socket.get_fd()?)
    }

    /// Sets what to wait for at a source that is of interest only at times. A descriptor that is
    /// ready when it is added is reported at once, so nothing that arrived meanwhile is missed.
    pub(super) fn wait_for(&mut self, source: Source, wanted: Option<(RawFd, EventFlags)>) {
        let present = &mut self.at_times[source as usize];
        if *present == wanted {
            return;
        }
        // The kernel removes a closed descriptor from the set itself.
        if let Some((descriptor, _)) = present.take() {
            let _ = epoll::delete(&self.set, lent(descriptor));
        }
        if let Some((descriptor, events)) = wanted {
            let data = epoll::EventData::new_u64(source as u64);
            let added = epoll::add(&self.set, lent(descriptor), data, events);
            *present = added.is_ok().then_some((descriptor, events));
        }
    }

    /// Returns the sources that are ready. Waits until one is ready, if `rest` allows it.
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
        // An interrupted wait counts as one that found nothing.
        let found = epoll::wait(&self.set, &mut room, timeout);
        let mut ready = Ready::default();
        for event in found.map_or(&mut [][..], |(found, _)| found) {
            ready.0 |= 1 << event.data.u64();
        }
        ready
    }
}

/// Whether something can be read from the source now or within `patience`; its end counts too.
pub fn is_readable_within(source: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    let mut items = [PollFd::new(&source, PollFlags::IN)];
    poll(&mut items, patience.as_ref()).is_ok_and(|found| found > 0)
}
