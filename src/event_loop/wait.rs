//! The one place where the process rests: one wait for all descriptors, until the next deadline.
//!
//! A ZeroMQ socket has a descriptor that becomes readable when there is something for the socket to
//! look at. It tells that once: who has begun to read must go on until nothing is left, and who has
//! sent must ask before resting, because sending looks at what came as well. libzmq's own poll asks
//! every socket twice each time, which costs a system call each; here only those are asked that
//! something was done to.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use zmq::Socket;

use super::EventLoop;
use super::sending::RETRY_EVERY;
use super::submit_watch::ProcessWatch;
use super::system_calls::lent;
use super::timer::DeadlineTimer;
use super::zmq_calls;
use broker::Now;

/// Which channels may have something to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) connections: bool,
    pub(super) submit_connections: bool,
    pub(super) commands: bool,
    pub(super) tasks: bool,
    pub(super) workers: bool,
    pub(super) key_check: bool,
    pub(super) signals: bool,
    pub(super) process: bool,
    pub(super) status_clients: bool,
}

impl Ready {
    /// Nothing is known: look everywhere.
    pub(super) fn everywhere() -> Self {
        Self {
            connections: true,
            submit_connections: true,
            commands: true,
            tasks: true,
            workers: true,
            key_check: true,
            signals: true,
            process: false,
            status_clients: false,
        }
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What was left unread in the last turn is ready whatever the descriptors say.
    fn and(self, left: Self) -> Self {
        Self {
            connections: self.connections || left.connections,
            submit_connections: self.submit_connections || left.submit_connections,
            commands: self.commands || left.commands,
            tasks: self.tasks || left.tasks,
            workers: self.workers || left.workers,
            key_check: self.key_check || left.key_check,
            signals: self.signals || left.signals,
            process: self.process || left.process,
            status_clients: self.status_clients || left.status_clients,
        }
    }
}

/// Whether a wait may last.
#[derive(Debug, Clone, Copy)]
enum Rest {
    No,
    UntilSomethingComes,
}

impl Rest {
    fn timeout(self) -> Option<&'static Timespec> {
        const AT_ONCE: &Timespec = &Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match self {
            Self::No => Some(AT_ONCE),
            Self::UntilSomethingComes => None,
        }
    }
}

/// The descriptors that are there from the start to the end, in one set that the kernel keeps: what
/// is waited for is not told anew each time, which is a good part of the price of a short task.
pub(super) struct Descriptors {
    set: OwnedFd,
    timer: DeadlineTimer,
    /// Waited for only while results wait.
    results: RawFd,
}

/// The sockets and files whose descriptors are asked for.
pub(super) struct Sources<'a> {
    pub(super) commands: &'a Socket,
    pub(super) tasks: &'a Socket,
    pub(super) workers: &'a Socket,
    pub(super) results: &'a Socket,
    pub(super) connections: &'a Socket,
    pub(super) submit_connections: [&'a Socket; 3],
    pub(super) key_check: Option<&'a Socket>,
    pub(super) signals: RawFd,
    pub(super) process: Option<RawFd>,
    pub(super) status_clients: RawFd,
}

/// What a descriptor of the set stands for.
const COMMANDS: u64 = 0;
const TASKS: u64 = 1;
const WORKERS: u64 = 2;
const CONNECTIONS: u64 = 3;
const SUBMIT_CONNECTIONS: u64 = 4;
const KEY_CHECK: u64 = 5;
const SIGNALS: u64 = 6;
const PROCESS: u64 = 7;
const TIMER: u64 = 8;
const STATUS_CLIENTS: u64 = 9;
/// The most that one look can find; there are twelve at most.
const FOUND_MAX: usize = 16;
/// The set, results, the hub's, and two of the helper's.
const AT_TIMES_MAX: usize = 5;

impl Descriptors {
    pub(super) fn of(sources: &Sources<'_>) -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = DeadlineTimer::new()?;
        add(&set, timer.descriptor(), TIMER)?;
        let [one, two, three] = sources.submit_connections;
        let sockets = [
            (COMMANDS, Some(sources.commands)),
            (TASKS, Some(sources.tasks)),
            (WORKERS, Some(sources.workers)),
            (CONNECTIONS, Some(sources.connections)),
            (SUBMIT_CONNECTIONS, Some(one)),
            (SUBMIT_CONNECTIONS, Some(two)),
            (SUBMIT_CONNECTIONS, Some(three)),
            (KEY_CHECK, sources.key_check),
        ];
        for (meaning, socket) in sockets {
            if let Some(socket) = socket {
                add(&set, socket.get_fd()?, meaning)?;
            }
        }
        add(&set, sources.signals, SIGNALS)?;
        add(&set, sources.status_clients, STATUS_CLIENTS)?;
        if let Some(process) = sources.process {
            add(&set, process, PROCESS)?;
        }
        Ok(Self {
            set,
            timer,
            results: sources.results.get_fd()?,
        })
    }

    /// Tasks are not taken for now.
    pub(super) fn disregard_tasks(&self, tasks: &Socket) -> io::Result<()> {
        remove(&self.set, tasks.get_fd()?)
    }

    /// The process has ended, and would be ready all the time.
    pub(super) fn disregard_process(&self, process: &ProcessWatch) {
        if let Some(descriptor) = process.descriptor() {
            let _ = remove(&self.set, descriptor);
        }
    }

    /// Clients of status and metrics must wait for a moment.
    pub(super) fn disregard_status_clients(&self, status_clients: RawFd) {
        let _ = remove(&self.set, status_clients);
    }

    pub(super) fn regard_status_clients(&self, status_clients: RawFd) {
        let _ = add(&self.set, status_clients, STATUS_CLIENTS);
    }

    /// Tasks are taken again.
    pub(super) fn regard_tasks(&self, tasks: &Socket) -> io::Result<()> {
        add(&self.set, tasks.get_fd()?, TASKS)
    }

    /// What is ready. Rests until something is, if told so.
    fn wait(&self, rest: Rest) -> Ready {
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; FOUND_MAX];
        // An interrupted wait is one that found nothing.
        let found = epoll::wait(&self.set, &mut room, rest.timeout());
        let mut ready = Ready::default();
        for event in found.map_or(&mut [][..], |(found, _)| found) {
            match event.data.u64() {
                COMMANDS => ready.commands = true,
                TASKS => ready.tasks = true,
                WORKERS => ready.workers = true,
                CONNECTIONS => ready.connections = true,
                SUBMIT_CONNECTIONS => ready.submit_connections = true,
                KEY_CHECK => ready.key_check = true,
                SIGNALS => ready.signals = true,
                PROCESS => ready.process = true,
                STATUS_CLIENTS => ready.status_clients = true,
                TIMER => {}
                _ => debug_assert!(false, "nothing else is in the set"),
            }
        }
        ready
    }
}

impl EventLoop {
    /// Waits for something to do, and tells where. Does not rest while something is left unread.
    pub(super) fn wait(&mut self, left: Ready, now: Now) -> Ready {
        // Batches and echoes went out by the worker socket: did anything come in with that?
        let sent = self.sending.take_sent_to_workers();
        let workers = left.workers || sent && zmq_calls::is_readable(&self.workers);
        let left = Ready { workers, ..left };
        let mut rest = Rest::No;
        if left.is_nothing() && self.set_timer(now).is_ok() {
            rest = Rest::UntilSomethingComes;
        }
        let mut at_times = self.waited_for_at_times();
        if !at_times.is_empty() {
            at_times.push(item(self.descriptors.set.as_raw_fd(), PollFlags::IN));
            // An interrupted wait is one that found nothing.
            let _ = poll(&mut at_times, rest.timeout());
            rest = Rest::No;
        }
        self.descriptors.wait(rest).and(left)
    }

    /// What is waited for beside the set, if anything.
    fn waited_for_at_times(&self) -> ArrayVec<PollFd<'_>, AT_TIMES_MAX> {
        let mut items = ArrayVec::new();
        if self.sending.results_wait() {
            items.push(item(self.descriptors.results, PollFlags::IN));
        }
        let hub = self.hub.as_ref().and_then(|hub| hub.waits_on());
        let helper = self.helper.iter().flat_map(|helper| helper.waits_on());
        for (descriptor, events) in hub.into_iter().chain(helper.flatten()) {
            items.push(item(descriptor, events));
        }
        items
    }

    /// Something is to be done by then even if nothing comes.
    fn set_timer(&mut self, now: Now) -> io::Result<()> {
        // Once the submit side is gone it is not looked for.
        let is_watched = !self.is_leaving;
        let deadlines = [
            self.interchange.next_deadline(),
            self.sending.next_deadline(),
            self.awaits_release.then_some(now.monotonic + RETRY_EVERY),
            self.memory.next_deadline(),
            self.connections.next_deadline(),
            self.status_server.next_deadline(),
            self.hub.as_ref().and_then(|hub| hub.next_deadline()),
            self.process_watch.next_deadline().filter(|_| is_watched),
            self.submit_watch.next_deadline().filter(|_| is_watched),
        ];
        let next = deadlines.into_iter().flatten().min();
        self.descriptors.timer.set(next, now.monotonic)
    }
}

/// Whether something can be read from it now or within `patience`; its end counts.
pub fn is_readable_within(source: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    let mut items = [PollFd::new(&source, PollFlags::IN)];
    poll(&mut items, patience.as_ref()).is_ok_and(|found| found > 0)
}

fn add(set: &OwnedFd, descriptor: RawFd, meaning: u64) -> io::Result<()> {
    let meaning = epoll::EventData::new_u64(meaning);
    Ok(epoll::add(
        set,
        lent(descriptor),
        meaning,
        epoll::EventFlags::IN,
    )?)
}

fn remove(set: &OwnedFd, descriptor: RawFd) -> io::Result<()> {
    Ok(epoll::delete(set, lent(descriptor))?)
}

fn item<'a>(descriptor: RawFd, events: PollFlags) -> PollFd<'a> {
    PollFd::from_borrowed_fd(lent(descriptor), events)
}
