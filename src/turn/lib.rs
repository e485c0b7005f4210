//! The turn: the work that the loop does each time it wakes up. The turn accesses sockets only
//! through the [`Transport`], and gets the time as an argument. In this order ([`Turn::take`]):
//!
//! 1. **Receive** (`learning`): closed connections; commands, each answered at once; tasks, while
//!    the `intake` is open; messages of managers, and the time up to which all of these have been
//!    `heard`; releases of batches that are `owed` to managers; and the passage of time.
//! 2. **Decide and send** (`sending`): `results` first, then batch by batch. The broker names the
//!    manager for the next batch. The module `owed` limits the bytes for that manager, and the
//!    transport accepts the address or not. Only then tasks leave the queue and are encoded. Tasks
//!    that do not fit stay in the queue. Of all messages to managers, only control messages
//!    (`words`) are ever kept for later.
//! 3. **Wait** ([`Turn::rest`]): the turn asks each part whether it could do something now: a
//!    channel that may have more messages, tasks for a manager with room, an effect that has not
//!    been sent. If not, the turn computes the next deadline. Some states only the other side can
//!    end (a full socket, bytes not taken). Those are checked again after a short time in any case,
//!    so no part has to wake another one.
//!
//! Each step is bounded, in messages and in bytes. Work beyond the bound is left to the next turn,
//! so that no channel delays the others for longer.

// .cargo/clippy.toml lists the items that only code with I/O may use.
#![forbid(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    unsafe_code
)]

mod heard;
mod intake;
mod learning;
mod outbox;
mod owed;
mod results;
mod sending;
mod transport;
mod words;

use std::time::Duration;

use broker::{Now, StopReason};
use interchange::Interchange;
use status::document::Traffic;

pub use intake::{HeldBytes, read_ahead_tasks};
pub use outbox::Outbox;
pub use transport::{Arrived, Channel, NotTaken, Outgoing, Transport};

use heard::Heard;
use intake::Intake;
use owed::Owed;
use results::Results;
use words::Words;

/// Delay before another attempt to send what the other side has not taken.
pub const RETRY_EVERY: Duration = Duration::from_millis(10);

/// The loop's state of tasks, managers and pending messages.
pub struct Turn<F> {
    interchange: Interchange<F>,
    intake: Intake,
    results: Results<F>,
    owed: Owed,
    words: Words,
    heard: Heard,
    inbox: Vec<Arrived<F>>,
    traffic: Traffic,
    batches: u64,
    /// Number of effects that may still be carried out in this turn.
    effects_left: usize,
}

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Outlook {
    /// Whether the loop may wait.
    pub rest: Rest,
    /// Whether to wait for tasks; false while no tasks would be taken.
    pub awaits_tasks: bool,
    /// Whether to wait until the socket of results has room.
    pub awaits_results_socket: bool,
}

/// Whether work is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Work is left.
    No,
    /// No work is left before a message arrives or this time (monotonic clock) is reached.
    Until(Option<Duration>),
}

impl<F: AsRef<[u8]>> Turn<F> {
    /// Creates a turn for an interchange. The turn holds tasks and unsent results of up to
    /// `bound_bytes`; this includes the `read_ahead_tasks` that the transport may hold before they
    /// are read.
    pub fn new(interchange: Interchange<F>, bound_bytes: usize, read_ahead_tasks: usize) -> Self {
        let intake = Intake::new(bound_bytes, read_ahead_tasks);
        let traffic = interchange.kept_traffic();
        Self {
            interchange,
            owed: Owed::new(intake.unsent_batches_bytes_max()),
            intake,
            results: Results::new(),
            words: Words::default(),
            heard: Heard::default(),
            inbox: Vec::new(),
            traffic,
            batches: 0,
            effects_left: 0,
        }
    }

    /// Receives, decides and sends. Returns a reason to stop, if there is one.
    pub fn take<T: Transport<Frame = F>>(
        &mut self,
        transport: &mut T,
        now: Now,
    ) -> Option<StopReason> {
        self.learn(transport, now);
        let stop = self.send(transport, now);
        self.interchange.keep_traffic(self.traffic);
        stop
    }

    /// Ends a turn: returns whether work is left, until when there is none, and what to wait for.
    pub fn rest<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) -> Outlook {
        // This value may shrink at any time, so it is read first. Bytes released before this read
        // count for the decisions below; later releases are noticed at the next attempt.
        let in_transit = self.owed.bytes() + transport.results_in_transit();
        self.regulate_dispatch(transport);
        self.intake.decide(self.held_bytes(transport));
        Outlook {
            rest: self.may_rest(transport, in_transit, now),
            awaits_tasks: self.intake.is_open(),
            awaits_results_socket: self.results.wait_for_socket(),
        }
    }

    fn may_rest<T: Transport<Frame = F>>(
        &self,
        transport: &mut T,
        in_transit: usize,
        now: Now,
    ) -> Rest {
        let broker = self.interchange.broker();
        let could_send = self.interchange.has_effects() || self.words.is_any_fresh();
        if could_send || broker.can_dispatch() || self.may_have_more(transport) {
            return Rest::No;
        }
        let is_listening = broker.is_listening();
        let is_held_up = !self.intake.is_open() || !broker.is_dispatching();
        let is_stuck = self.results.waiting() > 0 || is_held_up && in_transit > 0;
        let tries = [
            self.owed.next_look(),
            self.words.next_try(),
            is_stuck.then_some(now.monotonic + RETRY_EVERY),
        ];
        let next_try = tries.into_iter().flatten().min();
        if next_try.is_some() {
            transport.await_release();
        }
        let deadlines = [
            self.interchange.next_deadline(),
            next_try,
            self.heard.next_look().filter(|_| is_listening),
        ];
        Rest::Until(deadlines.into_iter().flatten().min())
    }

    /// Returns the interchange, for its getters.
    pub fn interchange(&self) -> &Interchange<F> {
        &self.interchange
    }

    /// Returns the interchange, so that the parts around the turn can report events to it.
    pub fn interchange_mut(&mut self) -> &mut Interchange<F> {
        &mut self.interchange
    }

    /// Whether tasks are taken from the executor.
    pub fn takes_tasks(&self) -> bool {
        self.intake.is_open()
    }

    /// Returns the bound on tasks and unsent results.
    pub fn bound_bytes(&self) -> usize {
        self.intake.bound_bytes()
    }

    /// Whether tasks may be dispatched; false while too many results are unsent.
    pub fn may_dispatch<T: Transport<Frame = F>>(&self, transport: &T) -> bool {
        self.intake.may_dispatch(self.results.bytes(transport))
    }

    /// Returns the sizes that count against the bound.
    pub fn held_bytes<T: Transport<Frame = F>>(&self, transport: &T) -> HeldBytes {
        HeldBytes {
            queued: self.interchange.queued_bytes(),
            unsent_batches: self.owed.bytes(),
            unsent_results: self.results.bytes(transport),
        }
    }

    /// Returns the traffic so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Returns the number of batches sent.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Returns the number of results that wait because the executor does not read.
    pub fn unsent_results(&self) -> usize {
        self.results.waiting()
    }

    /// Sends waiting results as far as possible. Returns how many are left, and whether they wait
    /// for their socket.
    pub fn flush_results<T: Transport<Frame = F>>(&mut self, transport: &mut T) -> (usize, bool) {
        self.results.flush(transport);
        (self.results.waiting(), self.results.wait_for_socket())
    }

    /// Fails every future of the executor with the reason, as the last resort.
    pub fn fail_everything<T: Transport<Frame = F>>(&mut self, transport: &mut T, reason: &str) {
        let failure = protocol::Failure::Broken {
            reason: reason.to_owned(),
        };
        self.results.send(transport, T::frame_of(failure.encode()));
    }

    /// Returns the interchange at the end of the process, so that the caller can leak it: freeing a
    /// long queue would only delay the exit.
    pub fn into_interchange(self) -> Interchange<F> {
        self.interchange
    }

    fn may_have_more<T: Transport<Frame = F>>(&self, transport: &mut T) -> bool {
        transport.may_have_more(Channel::Connections)
            || transport.may_have_more(Channel::Commands)
            || transport.may_have_more(Channel::Managers)
            || self.intake.is_open() && transport.may_have_more(Channel::Tasks)
    }
}
