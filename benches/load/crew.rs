//! All managers, in one thread with one epoll over the descriptors of their sockets.
//!
//! Polling thousands of sockets through libzmq would check each of them every time. A socket's
//! descriptor becomes readable when the socket has an event. The thread then reads the socket until
//! it is empty, also after sending, because sending may consume the event of a received message.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use zmq::{Message, Socket};

use super::batch_reader::BatchReader;
use super::certificates::Certificates;
use super::checker::Checker;
use super::churn::Churn;
use super::manager::{Manager, Received};
use super::shared::Shared;
use super::trouble::{Outcome, failure};
use super::words::Registration;

/// Largest number of events that epoll returns at once.
const EVENTS_MAX: usize = 1024;
/// How many managers connect from one local address.
const MANAGERS_PER_SOURCE: usize = 16_384;
/// How long a manager waits for the answer to its probe.
const PROBE_AGAIN: Duration = Duration::from_secs(20);
/// The number of the wake-up event in epoll; managers are numbered from 0.
const WAKE: u64 = u64::MAX;

pub(crate) enum Order {
    /// Connect this many managers at once.
    Enlist { count: usize, endpoint: String },
    /// From now on managers come and go.
    Churn { seed: u64 },
    /// Drain the manager of this name and replace it, because the interchange holds it.
    Retire { name: String },
    /// No further manager goes.
    Calm,
    /// Hold tasks that arrive, without answering them.
    Hold,
    /// Answer held tasks, and others as they arrive.
    Release,
}

/// What the thread needs at its start.
pub(crate) struct Setup {
    pub slots: usize,
    pub heartbeat_period: Duration,
    pub io_threads: u32,
    pub sockets_max: usize,
    pub registration: Registration,
    pub certificates: Option<Arc<Certificates>>,
    pub checker: Checker,
    pub shared: Arc<Shared>,
    pub orders: Receiver<Order>,
    /// An eventfd that is written to after each order.
    pub wake: Arc<OwnedFd>,
}

pub(crate) struct Crew {
    pub(crate) setup: Setup,
    context: Context,
    epoll: OwnedFd,
    pub(crate) managers: Vec<Manager>,
    /// Managers that come and go; None as long as all stay.
    churn: Option<Churn>,
    /// The address to which all managers connect.
    pub(crate) endpoint: String,
    /// The times of the next heartbeats, with the managers. The period is the same
    /// for all, so the queue is in order.
    beats: VecDeque<(Instant, usize, u64)>,
    /// The times at which managers probe again, with the managers, in order.
    probes: VecDeque<(Instant, usize, u64)>,
    /// How many managers there have been.
    born: u64,
    is_holding: bool,
    results_sent: u64,
    reader: BatchReader,
    message: Message,
    buffer: Vec<u8>,
}

impl Crew {
    pub(crate) fn new(setup: Setup) -> Outcome<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = epoll::EventData::new_u64(WAKE);
        epoll::add(&epoll, &setup.wake, wake, epoll::EventFlags::IN)?;
        Ok(Self {
            context: Context::new(setup.io_threads, setup.sockets_max)?,
            setup,
            epoll,
            managers: Vec::new(),
            churn: None,
            endpoint: String::new(),
            probes: VecDeque::new(),
            born: 0,
            beats: VecDeque::new(),
            is_holding: false,
            results_sent: 0,
            reader: BatchReader::default(),
            message: Message::new(),
            buffer: Vec::new(),
        })
    }

    /// Works until there is an error, or until the program ends.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.setup.shared);
        let Err(trouble) = self.work();
        shared.set_trouble(trouble);
        // Closing thousands of sockets takes time and is not needed.
        std::mem::forget(self);
    }

    fn work(&mut self) -> Result<std::convert::Infallible, super::trouble::Trouble> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let beat = self.beats.front().map(|(due, ..)| *due);
            let tick = self.churn.as_ref().map(Churn::next_tick);
            let probe = self.probes.front().map(|(due, ..)| *due);
            let patience = beat.into_iter().chain(tick).chain(probe).min().map(|due| {
                let left = due.saturating_duration_since(Instant::now());
                Timespec::try_from(left).unwrap_or_default()
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), patience.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => self.obey()?,
                    number => self.serve(number as usize)?,
                }
            }
            self.beat_all_due()?;
            self.probe_all_due()?;
            self.churn(Churn::tick)?;
        }
    }

    /// Does something with the managers that come and go, if any do.
    fn churn(&mut self, step: impl FnOnce(&mut Churn, &mut Self) -> Outcome<()>) -> Outcome<()> {
        let Some(mut churn) = self.churn.take() else {
            return Ok(());
        };
        let outcome = step(&mut churn, self);
        self.churn = Some(churn);
        outcome
    }

    fn obey(&mut self) -> Outcome<()> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.setup.wake, &mut count);
        while let Ok(order) = self.setup.orders.try_recv() {
            match order {
                Order::Enlist { count, endpoint } => self.enlist(count, &endpoint)?,
                Order::Churn { seed } => self.churn = Some(Churn::new(seed, self.managers.len())),
                Order::Retire { name } => self.churn(|churn, _| {
                    churn.retire(&name);
                    Ok(())
                })?,
                Order::Calm => self.churn(|churn, _| {
                    churn.calm();
                    Ok(())
                })?,
                Order::Hold => self.is_holding = true,
                Order::Release => {
                    self.is_holding = false;
                    for number in 0..self.managers.len() {
                        self.serve(number)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Connects managers. All sockets are made first, so that they connect in the shortest possible
    /// time.
    fn enlist(&mut self, count: usize, endpoint: &str) -> Outcome<()> {
        let first = self.managers.len();
        endpoint.clone_into(&mut self.endpoint);
        let mut sockets = Vec::with_capacity(count);
        for number in first..first + count {
            let name = name_of(number as u64);
            sockets.push((self.open(&name)?, name));
        }
        self.setup.shared.set_first_connect();
        for (number, (socket, name)) in (first..).zip(sockets) {
            self.born += 1;
            self.managers.push(Manager::new(socket, name, self.born));
            self.connect(number)?;
        }
        Ok(())
    }

    /// Connects a manager for the first time, and probes.
    pub(crate) fn connect(&mut self, number: usize) -> Outcome<()> {
        let manager = &mut self.managers[number];
        manager
            .socket()
            .connect(&source_of(&self.endpoint, number))?;
        // SAFETY: the descriptor belongs to the socket, and `replace` takes it out of epoll.
        let descriptor = unsafe { BorrowedFd::borrow_raw(manager.socket().get_fd()?) };
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, descriptor, data, epoll::EventFlags::IN)?;
        self.probe(number)
    }

    /// Probes, now and until there is an answer.
    fn probe(&mut self, number: usize) -> Outcome<()> {
        let manager = &mut self.managers[number];
        manager.probe()?;
        let again = Instant::now() + PROBE_AGAIN;
        self.probes.push_back((again, number, manager.born));
        // The descriptor shows only events after the socket was found empty.
        self.serve(number)
    }

    /// Closes a manager's socket, with all tasks that it holds, and puts another manager in its
    /// place, which is not connected yet.
    pub(crate) fn replace(&mut self, number: usize, name: String) -> Outcome<()> {
        let socket = self.managers[number].socket();
        // SAFETY: the descriptor belongs to the socket, which is still open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(socket.get_fd()?) };
        epoll::delete(&self.epoll, descriptor)?;
        self.born += 1;
        self.managers[number] = Manager::new(self.open(&name)?, name, self.born);
        Ok(())
    }

    fn open(&self, name: &str) -> Outcome<Socket> {
        let socket = self.context.dealer()?;
        socket.set_linger(0)?;
        socket.set_identity(name.as_bytes())?;
        if let Some(certificates) = &self.setup.certificates {
            certificates.make_client(&socket)?;
        }
        Ok(socket)
    }

    /// Reads and answers messages until none is left.
    pub(crate) fn serve(&mut self, number: usize) -> Outcome<()> {
        loop {
            if self.managers[number].is_unconnected() {
                return Ok(());
            }
            while self.managers[number].receive(&mut self.message)? {
                self.take(number)?;
            }
            self.setup
                .shared
                .set_received(self.setup.checker.received());
            if self.is_holding || self.managers[number].silent_until.is_some() {
                return Ok(());
            }
            let pattern = &self.setup.checker.pattern;
            let answered = self.managers[number].answer(pattern, &mut self.buffer)?;
            if answered == 0 {
                return Ok(());
            }
            self.results_sent += answered as u64;
            self.setup.shared.set_results_sent(self.results_sent);
        }
    }

    fn take(&mut self, number: usize) -> Outcome<()> {
        let slots = self.setup.slots;
        let room = (slots, (slots * self.managers.len()) as u64);
        let manager = &mut self.managers[number];
        let news = manager.take(
            &self.message,
            &mut self.reader,
            &mut self.setup.checker,
            room,
        )?;
        match news {
            // Managers that come and go look after the drained ones.
            Received::Tasks | Received::Drained => {}
            Received::Answered => {
                let registration = self.setup.registration.encode(&manager.name, number);
                manager.register(&registration)?;
            }
            Received::Registered => {
                // The first heartbeat is after half a period, so that a phase of whole periods has
                // whole rounds of heartbeats.
                let next = Instant::now() + self.setup.heartbeat_period / 2;
                self.add_beat(next, number);
                self.setup.shared.add_registered();
                self.setup.shared.add_echo();
            }
            Received::Echo => self.setup.shared.add_echo(),
        }
        Ok(())
    }

    /// Adds a heartbeat to the end of the queue. A manager that has just registered may be due
    /// before the others; it waits for them.
    fn add_beat(&mut self, due: Instant, number: usize) {
        let last = self.beats.back().map_or(due, |(last, ..)| *last);
        let born = self.managers[number].born;
        self.beats.push_back((due.max(last), number, born));
    }

    /// Probes again where an answer does not come. A probe is lost with its connection, and libzmq
    /// closes one whose handshake takes 30 s, as when thousands connect to a busy machine at once.
    fn probe_all_due(&mut self) -> Outcome<()> {
        let now = Instant::now();
        while let Some(&(due, number, born)) = self.probes.front()
            && due <= now
        {
            self.probes.pop_front();
            let manager = &self.managers[number];
            if manager.born == born && manager.is_probing() {
                self.probe(number)?;
            }
        }
        Ok(())
    }

    fn beat_all_due(&mut self) -> Outcome<()> {
        let now = Instant::now();
        while let Some(&(due, number, born)) = self.beats.front()
            && due <= now
        {
            self.beats.pop_front();
            let manager = &self.managers[number];
            if manager.born != born || !manager.is_registered() {
                // Another manager has taken the place, or will take it.
                continue;
            }
            self.managers[number].beat()?;
            self.add_beat(due + self.setup.heartbeat_period, number);
            // Sending may have consumed an event, which the descriptor then does not show.
            self.serve(number)?;
        }
        Ok(())
    }
}

/// Returns the address to which the manager with this number connects, with the local address from
/// which it does. One local address has 28,232 ports for connections to one port.
pub(crate) fn source_of(endpoint: &str, number: usize) -> String {
    match (
        number / MANAGERS_PER_SOURCE,
        endpoint.strip_prefix("tcp://"),
    ) {
        (source @ 1.., Some(address)) => format!("tcp://127.0.0.{}:0;{address}", source + 1),
        _ => endpoint.to_owned(),
    }
}

/// Returns the identity of the manager with this number, as HTEX makes it.
pub(crate) fn name_of(number: u64) -> String {
    format!("{:012x}", 0x10_0000_0000 + number)
}

/// A context that allows more sockets than libzmq's default, which the `zmq` crate cannot set. It
/// is never closed.
struct Context(*mut std::ffi::c_void);

// SAFETY: a context of libzmq may be used from any thread.
unsafe impl Send for Context {}

impl Context {
    fn new(io_threads: u32, sockets_max: usize) -> Outcome<Self> {
        // SAFETY: this call has no preconditions.
        let context = unsafe { zmq_sys::zmq_ctx_new() };
        let options = [
            (zmq_sys::ZMQ_IO_THREADS, io_threads as c_int),
            (zmq_sys::ZMQ_MAX_SOCKETS, sockets_max as c_int),
        ];
        for (option, value) in options {
            // SAFETY: the context is open, and the options are those of zmq.h.
            if unsafe { zmq_sys::zmq_ctx_set(context, option as c_int, value) } != 0 {
                return failure(format!("libzmq rejects {value} for option {option}"));
            }
        }
        Ok(Self(context))
    }

    fn dealer(&self) -> Outcome<Socket> {
        // SAFETY: the context is open.
        let socket = unsafe { zmq_sys::zmq_socket(self.0, zmq_sys::ZMQ_DEALER as c_int) };
        if socket.is_null() {
            let error = std::io::Error::last_os_error();
            return failure(format!("a manager's socket cannot be opened: {error}"));
        }
        // SAFETY: the socket is new, and no other code has it.
        Ok(unsafe { Socket::from_raw(socket) })
    }
}
