//! The turn: what the loop does each time that it is awake, as a machine that knows sockets only by
//! the [`Transport`] and time only as it is told. In this order ([`Turn::take`]):
//!
//! 1. **Learn** (`learning`): whose connections have closed; commands, each answered at once;
//!    tasks, while the `intake` is open; what managers say, and up to when all was `heard` that
//!    they had said; who has taken some of what it was `owed`; and what time has brought.
//! 2. **Decide and send** (`sending`): `results` first, then batch by batch: the broker names who
//!    gets the next one, what that manager is owed already says how much may go there, the
//!    transport takes the address or not, and only then tasks leave the queue and are encoded. What
//!    does not fit stays a set of queued tasks. Of all that managers are sent, only `words` wait.
//! 3. **Rest** ([`Turn::rest`]): one question to every part: is there anything that you could do
//!    now? A channel that may have more, tasks for somebody who has room, an effect that has not
//!    left. If not, until when? What only the other side can end (a full socket, bytes that it has
//!    not taken) is looked at again in a moment in any case, so nobody has to remember to wake
//!    anybody.
//!
//! Each step is bounded, in messages and in bytes: whoever has more is served in the next turn, and
//! no channel waits longer than that for the others.

// .cargo/clippy.toml lists what only a program with a world around it may name.
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

/// What the other side has not taken is tried again after this long.
pub const RETRY_EVERY: Duration = Duration::from_millis(10);

/// Everything that the loop knows of tasks, managers and what waits.
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
    /// In this turn.
    effects_left: usize,
}

/// What a turn ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Outlook {
    /// Whether the loop may rest.
    pub rest: Rest,
    /// Whether tasks are waited for: not while they would not be taken.
    pub awaits_tasks: bool,
    /// Whether it is waited for that the socket of results has room.
    pub awaits_results_socket: bool,
}

/// Whether there is something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// There is.
    No,
    /// Not before something comes, or this time (monotonic clock).
    Until(Option<Duration>),
}

impl<F: AsRef<[u8]>> Turn<F> {
    /// Around an interchange. Tasks and unsent results of up to `bound_bytes` are held, of which
    /// the transport may hold so many tasks before they are read.
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

    /// Learns, decides and sends. A reason to stop is the last word.
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

    /// The last word of a turn: whether something could be done now, until when nothing can, and
    /// what is waited for.
    pub fn rest<T: Transport<Frame = F>>(&mut self, transport: &mut T, now: Now) -> Outlook {
        // It shrinks at any time. What is done with after this look is looked for again; what was
        // before counts for the decisions that follow.
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

    /// The interchange, for its getters.
    pub fn interchange(&self) -> &Interchange<F> {
        &self.interchange
    }

    /// The interchange, for what the parts around the turn have learned.
    pub fn interchange_mut(&mut self) -> &mut Interchange<F> {
        &mut self.interchange
    }

    /// Whether tasks are taken from the executor.
    pub fn takes_tasks(&self) -> bool {
        self.intake.is_open()
    }

    /// What is held at the most.
    pub fn bound_bytes(&self) -> usize {
        self.intake.bound_bytes()
    }

    /// Whether tasks may leave: not while too many results cannot.
    pub fn may_dispatch<T: Transport<Frame = F>>(&self, transport: &T) -> bool {
        self.intake.may_dispatch(self.results.bytes(transport))
    }

    /// What is held, and counts.
    pub fn held_bytes<T: Transport<Frame = F>>(&self, transport: &T) -> HeldBytes {
        HeldBytes {
            queued: self.interchange.queued_bytes(),
            unsent_batches: self.owed.bytes(),
            unsent_results: self.results.bytes(transport),
        }
    }

    /// What has gone through so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many batches have left.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Sends waiting results as far as they can go, and tells how many are left, and whether they
    /// wait for their socket.
    pub fn flush_results<T: Transport<Frame = F>>(&mut self, transport: &mut T) -> (usize, bool) {
        self.results.flush(transport);
        (self.results.waiting(), self.results.wait_for_socket())
    }

    /// The last resort: every future of the executor fails with the reason.
    pub fn fail_everything<T: Transport<Frame = F>>(&mut self, transport: &mut T, reason: &str) {
        let failure = protocol::Failure::Broken {
            reason: reason.to_owned(),
        };
        self.results.send(transport, T::frame_of(failure.encode()));
    }

    /// For the end: walking a long queue to free it is time that nobody has.
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
