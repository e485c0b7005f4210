//! Carries out what the interchange wants sent, without ever blocking.
//!
//! What a socket does not take now waits here, counted, in its order: results for the executor,
//! and per manager what its own connection does not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::EventLoop;
use super::frame::Frame;
use super::frame_socket::{FrameSocket, NotSent, Part};
use super::outbox::{ManagerOutboxes, Outbox};
use super::unsent_batches::UnsentBatches;
use broker::{Now, Shipment, StopReason};
use interchange::{Parcel, Transmit};
use protocol::{Failure, ManagerId, Opaque, ToManager};

/// How long the last words to managers may take: they are to be gone soon after the submit side.
pub(super) const LAST_WORDS_TO_WORKERS_WITHIN: Duration = Duration::from_millis(500);
/// How long the last words to the executor may take.
pub(super) const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// A connection that took nothing is tried again after this long: libzmq tells when any manager of
/// a ROUTER can be written to, not which.
pub(super) const RETRY_EVERY: Duration = Duration::from_millis(10);

/// Results from this size on are followed until libzmq has done with them. Smaller ones it counts
/// well enough by itself.
const LARGE_RESULT_BYTES: usize = 64 * 1024;
/// What libzmq may hold of large ones: its own limit counts messages.
const LARGE_RESULTS_IN_TRANSIT_MAX: usize = 64 << 20;

pub(super) struct Sending {
    results: Outbox<Frame>,
    /// Bytes of large results, here or in libzmq's hands.
    large_alive: Arc<AtomicUsize>,
    /// Those of them that are here.
    large_held: usize,
    managers: ManagerOutboxes<Outgoing>,
    /// Batches, here or in libzmq's hands.
    batches: UnsentBatches,
    retry_at: Duration,
    /// Why results wait, as found when they were last looked at: for libzmq to be done with others,
    /// of which nobody tells, not for their socket.
    wait_for_release: bool,
    /// When waiting results were last looked at.
    flushed_at: Duration,
    /// Whether anything went out by the worker socket in this turn.
    sent_to_workers: bool,
}

/// What waits for a manager's connection.
enum Outgoing {
    Word(ToManager),
    Batch {
        frame: Frame,
        shipment: Shipment<Opaque<Frame>>,
    },
}

/// Why something did not leave.
enum NotTaken {
    Later(Outgoing),
    /// No such connection.
    Never(Outgoing),
}

impl Sending {
    pub(super) fn new() -> Self {
        Self {
            results: Outbox::new(),
            large_alive: Arc::default(),
            large_held: 0,
            managers: ManagerOutboxes::new(),
            batches: UnsentBatches::default(),
            retry_at: Duration::ZERO,
            wait_for_release: false,
            flushed_at: Duration::ZERO,
            sent_to_workers: false,
        }
    }

    /// What libzmq holds of small ones is left out: some hundred kilobytes as a rule.
    pub(super) fn unsent_results_bytes(&self) -> usize {
        self.results.bytes() + self.large_in_transit()
    }

    /// Of batches that managers have not taken; small ones are left out.
    pub(super) fn unsent_batches_bytes(&self) -> usize {
        self.batches.bytes()
    }

    /// Whether results wait for their socket to have room.
    pub(super) fn results_wait(&self) -> bool {
        !self.results.is_empty() && !self.wait_for_release
    }

    fn is_transit_full(&self) -> bool {
        self.large_in_transit() >= LARGE_RESULTS_IN_TRANSIT_MAX
    }

    /// Bytes of which nobody tells when libzmq has done with them.
    pub(super) fn in_transit(&self) -> usize {
        self.large_in_transit() + self.batches.bytes()
    }

    /// Bytes of large results that libzmq has not done with.
    fn large_in_transit(&self) -> usize {
        let alive = self.large_alive.load(Ordering::Relaxed);
        alive.saturating_sub(self.large_held)
    }

    /// Whether anything was sent to workers since this was asked last.
    pub(super) fn take_sent_to_workers(&mut self) -> bool {
        std::mem::take(&mut self.sent_to_workers)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let managers = (!self.managers.is_empty()).then_some(self.retry_at);
        // Nobody tells when libzmq has done with a result.
        let results = (!self.results.is_empty() && self.wait_for_release)
            .then_some(self.flushed_at + RETRY_EVERY);
        let batches = (self.batches.is_anybody_clogged()).then_some(self.flushed_at + RETRY_EVERY);
        [managers, results, batches].into_iter().flatten().min()
    }

    /// Sends waiting results as far as the executor takes them.
    fn flush_results(&mut self, socket: &FrameSocket) {
        self.wait_for_release = false;
        while !self.results.is_empty() {
            if self.is_transit_full() {
                self.wait_for_release = true;
                return;
            }
            let Some(frame) = self.results.pop() else {
                return;
            };
            self.large_held -= large_part(&frame);
            if let Some(frame) = try_result(socket, frame) {
                self.large_held += large_part(&frame);
                return self.results.push_front(frame.len(), frame);
            }
        }
    }

    fn send_result(&mut self, socket: &FrameSocket, frame: Frame) {
        let frame = match large_part(&frame) {
            0 => frame,
            _ => frame.counted(&self.large_alive),
        };
        // Those that wait were tried at the beginning of the turn, and go first.
        let left = if !self.results.is_empty() {
            Some(frame)
        } else {
            self.wait_for_release = self.is_transit_full();
            match self.wait_for_release {
                true => Some(frame),
                false => try_result(socket, frame),
            }
        };
        if let Some(frame) = left {
            self.large_held += large_part(&frame);
            self.results.push(frame.len(), frame);
        }
    }

    /// Waits until all results have left, for a bounded time.
    pub(super) fn flush_for(&mut self, socket: &FrameSocket, patience: Duration) {
        let end = Instant::now() + patience;
        self.flush_results(socket);
        while !self.results.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let count = self.results.len();
                warn!("Ending with {count} results that the executor did not take");
                return;
            }
            if self.wait_for_release {
                std::thread::sleep(left.min(RETRY_EVERY));
            } else {
                let _ = socket.poll(zmq::POLLOUT, left.as_millis().max(1) as i64);
            }
            self.flush_results(socket);
        }
    }

    /// The last resort: every future fails with the reason.
    pub(super) fn fail_everything(&mut self, socket: &FrameSocket, reason: &str) {
        let failure = Failure::Broken {
            reason: reason.to_owned(),
        };
        self.send_result(socket, Frame::of_bytes(failure.encode()));
    }
}

impl EventLoop {
    /// Sends everything that the interchange has to say. A stop is its last word.
    pub(super) fn transmit(&mut self, now: Now) -> Option<StopReason> {
        self.retry_managers(now);
        for manager in self.sending.batches.unclogged(now.monotonic) {
            self.interchange
                .broker_mut()
                .handle_clogged(&manager, false, now);
        }
        self.sending.flush_results(&self.submit.results);
        self.sending.flushed_at = now.monotonic;
        let mut has_dispatched = false;
        while let Some(transmit) = self.interchange.poll_transmit() {
            match transmit {
                Transmit::Batch {
                    to,
                    bytes,
                    shipment,
                } => {
                    has_dispatched = true;
                    self.status_server.traffic.batches_bytes += bytes.len() as u64;
                    self.send_batch(&to, bytes, shipment, now);
                }
                Transmit::Manager { to, message } => {
                    self.send_to_manager(&to, Outgoing::Word(message), now);
                }
                Transmit::Result(parcel) => {
                    let frame = match parcel {
                        Parcel::Frame(frame) => frame,
                        Parcel::Bytes(bytes) => Frame::of_bytes(bytes),
                    };
                    self.status_server.traffic.results_bytes += frame.len() as u64;
                    self.sending.send_result(&self.submit.results, frame);
                }
                Transmit::Reply(bytes) => {
                    let reply = Frame::of_bytes(bytes);
                    if let Err(not_sent) = self.submit.commands.send(reply, Part::Last) {
                        warn!("The reply to a command was not taken: {not_sent}");
                    }
                }
                Transmit::Report(bytes) => {
                    if let Some(hub) = &mut self.hub {
                        hub.send(bytes);
                        hub.flush();
                    }
                }
                Transmit::Event(line) => {
                    if let Some(events) = &self.status_server.telemetry.events {
                        events.write(&line);
                    }
                }
                Transmit::Rank(question) => {
                    if let Some(helper) = &mut self.helper {
                        helper.ask(&question);
                    }
                }
                Transmit::Forget(manager) => self.sending.managers.forget_batches(&manager),
                Transmit::Stop(reason) => return Some(reason),
            }
        }
        if has_dispatched {
            let took = self.clock.monotonic().saturating_sub(now.monotonic);
            self.status_server.dispatch_latency.add(took);
        }
        None
    }

    /// Unless more is owed to the manager already than it takes.
    fn send_batch(
        &mut self,
        to: &ManagerId,
        bytes: Vec<u8>,
        shipment: Shipment<Opaque<Frame>>,
        now: Now,
    ) {
        if self.sending.batches.is_clogged(to) {
            return self
                .interchange
                .broker_mut()
                .handle_returned(to, shipment, now);
        }
        let frame = self.sending.batches.count(to, Frame::of_bytes(bytes));
        self.send_to_manager(to, Outgoing::Batch { frame, shipment }, now);
        if (self.sending.batches).has_become_clogged(to, now.monotonic) {
            self.interchange.broker_mut().handle_clogged(to, true, now);
        }
    }

    fn send_to_manager(&mut self, to: &ManagerId, item: Outgoing, now: Now) {
        if self.sending.managers.is_waiting(to) {
            self.sending.hold(to, item);
            return;
        }
        self.sending.sent_to_workers = true;
        if let Some(item) = self.try_manager(to, item, now) {
            self.sending.retry_at = now.monotonic + RETRY_EVERY;
            self.sending.hold(to, item);
        }
    }

    /// Gives the item back if the manager's connection does not take it now.
    fn try_manager(&mut self, to: &ManagerId, item: Outgoing, now: Now) -> Option<Outgoing> {
        let is_word = matches!(item, Outgoing::Word(_));
        let left = match try_send(&self.workers, to, item) {
            Ok(()) => None,
            Err(NotTaken::Later(item)) => Some(item),
            Err(NotTaken::Never(item)) => {
                self.give_back(to, item, now);
                return None;
            }
        };
        if is_word {
            self.interchange.broker_mut().handle_reachable(to, now);
        }
        left
    }

    fn retry_managers(&mut self, now: Now) {
        if self.sending.managers.is_empty() || now.monotonic < self.sending.retry_at {
            return;
        }
        self.sending.retry_at = now.monotonic + RETRY_EVERY;
        self.sending.sent_to_workers = true;
        for manager in self.sending.managers.managers() {
            let mut items = self.sending.managers.take(&manager);
            while let Some(item) = items.pop_front() {
                if let Some(item) = self.try_manager(&manager, item, now) {
                    items.push_front(item);
                    break;
                }
            }
            self.sending.managers.put_back(&manager, items);
        }
    }

    fn give_back(&mut self, to: &ManagerId, item: Outgoing, now: Now) {
        match item {
            Outgoing::Batch { shipment, .. } => self
                .interchange
                .broker_mut()
                .handle_refused(to, shipment, now),
            Outgoing::Word(word) => {
                debug!("{word:?} for {to} has no connection to go by");
                self.interchange.broker_mut().handle_unreachable(to, now);
            }
        }
    }
}

impl Sending {
    /// One echo is as good as many: a manager that does not read must not make them pile up.
    fn hold(&mut self, to: &ManagerId, item: Outgoing) {
        let repeated = |waiting: &Outgoing| match (waiting, &item) {
            (Outgoing::Word(waiting), Outgoing::Word(new)) => waiting == new,
            _ => false,
        };
        if !self.managers.any(to, repeated) {
            self.managers.push(to, item);
        }
    }
}

impl ManagerOutboxes<Outgoing> {
    /// The manager is not registered any more; its tasks are answered for already.
    fn forget_batches(&mut self, manager: &ManagerId) {
        if self.is_waiting(manager) {
            let mut items = self.take(manager);
            items.retain(|item| matches!(item, Outgoing::Word(ToManager::Shutdown)));
            self.put_back(manager, items);
        }
    }
}

fn large_part(frame: &Frame) -> usize {
    match frame.len() {
        len if len < LARGE_RESULT_BYTES => 0,
        len => len,
    }
}

/// Gives the result back if there is no room for it now.
fn try_result(socket: &FrameSocket, frame: Frame) -> Option<Frame> {
    match socket.send(frame, Part::Last) {
        Ok(()) => None,
        Err(NotSent::Full(frame)) => Some(frame),
        Err(NotSent::Refused(error)) => {
            warn!("A result was not taken by its socket: {error}");
            None
        }
    }
}

/// A ROUTER decides by the first frame whether a message can go; behind it the body always goes.
fn try_send(workers: &FrameSocket, to: &ManagerId, item: Outgoing) -> Result<(), NotTaken> {
    match workers.send(Frame::copy_of(to.as_bytes()), Part::MoreFollows) {
        Ok(()) => {}
        Err(NotSent::Full(_)) => return Err(NotTaken::Later(item)),
        Err(NotSent::Refused(_)) => return Err(NotTaken::Never(item)),
    }
    let body = match item {
        Outgoing::Word(word) => Frame::copy_of(word.encode()),
        Outgoing::Batch { frame, .. } => frame,
    };
    if let Err(not_sent) = workers.send(body, Part::Last) {
        warn!("A message for {to} was cut off by its connection: {not_sent}");
    }
    Ok(())
}
