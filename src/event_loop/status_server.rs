//! Serves the status document at the status socket, and metrics over HTTP. A run continues without
//! either, unless `--strict` is set.
//!
//! The loop itself serves the clients from its own data, at a bounded cost: a few clients at a
//! time, each for a few seconds, with a limited rate of visits. One snapshot of the broker serves
//! all clients that connect within a short time. The descriptors are in a separate epoll set, of
//! which the loop sees one descriptor.

mod client;
mod http;
mod metrics;
mod page_cache;
mod request;
mod status_socket;
mod surroundings;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use slab::Slab;
use tracing::info;

use super::EventLoop;
use super::restart::Restarted;
use super::side_service::SideServiceError;
use super::system_calls::{lent, peer_uid};
use super::telemetry::Telemetry;
use broker::{Histogram, Now};
use interchange::{document, timings};
use keeper::Kept;
use protocol::ManagerId;
use status::asking::{Held, Request};
use status::open_metrics;
use submit_side::address::Address;

use client::{Client, Progress};
use metrics::Metrics;
use page_cache::{Page, PageCache};
use request::{ClientRequest, json};
use status_socket::StatusSocket;

pub use status_socket::{NoStatusSocket, remove_status_socket_of};

/// Maximum number of clients. A further client replaces the oldest one.
const CLIENTS_MAX: usize = 16;
/// How long a client may take to send its request and read the answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
/// Minimum time between two visits to the clients, however many connect.
const VISIT_EVERY: Duration = Duration::from_millis(20);
const ACCEPTED_A_VISIT: usize = 8;

/// What a descriptor of the set stands for; clients have the numbers from `CLIENTS` on.
const STATUS: u64 = 0;
const METRICS: u64 = 1;
const CLIENTS: u64 = 2;

pub(super) struct StatusServer {
    set: OwnedFd,
    status: Option<StatusSocket>,
    metrics: Metrics,
    clients: Slab<Client>,
    /// The loop does not wait for the set before this time.
    rests_until: Option<Duration>,
    pages: PageCache,
    pub(super) telemetry: Telemetry,
    /// The restart after which this broker took over, if any.
    pub(super) restarted: Option<Restarted>,
    port: BoundPort,
    /// Time from the start of a turn until its batches are handed over.
    pub(super) dispatch_latency: Histogram,
}

/// The address and port that managers connect to.
struct BoundPort {
    /// The address; None for every address of the machine.
    address: Option<Address>,
    port: u16,
}

impl StatusServer {
    /// Listens at the status socket and for metrics, as far as possible.
    ///
    /// # Errors
    /// One of them failed, and the start is to be refused for that.
    pub(super) fn open(
        set: OwnedFd,
        telemetry: Telemetry,
        kept: Option<&Kept>,
        address: Option<Address>,
        port: u16,
    ) -> Result<Self, SideServiceError> {
        let before = kept.and_then(|kept| kept.restart());
        let status = StatusSocket::open(before.map(|before| before.fallen.process), |listener| {
            await_clients(&set, listener, STATUS)
        });
        let status = status.map_err(SideServiceError::Status);
        let status = telemetry.on_failure.settle(status)?.ok();
        if let Some(socket) = &status {
            codes::log!(
                STATUS_SERVED,
                "Serving status at {}",
                socket.path().display()
            );
        }
        let notes = kept.map(|kept| &**kept.notes());
        let metrics = Metrics::open(&telemetry, notes, |listener| {
            await_clients(&set, listener, METRICS)
        })?;
        Ok(Self {
            set,
            status,
            metrics,
            clients: Slab::new(),
            rests_until: None,
            pages: PageCache::default(),
            telemetry,
            restarted: None,
            port: BoundPort { address, port },
            dispatch_latency: Histogram::default(),
        })
    }

    /// Returns the descriptor to wait for, except during the pause after a visit.
    pub(super) fn waits_on(&self) -> Option<(RawFd, epoll::EventFlags)> {
        let rests = self.rests_until.is_some();
        (!rests).then(|| (self.set.as_raw_fd(), epoll::EventFlags::IN))
    }

    /// When to serve even if no client is ready: to drop a client, or to end the pause.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let leaving = self
            .clients
            .iter()
            .map(|(_, client)| client.leaves_at)
            .min();
        [leaving, self.rests_until].into_iter().flatten().min()
    }

    /// Accepts new connections, up to a number.
    fn accept(&mut self, now: Now) {
        let leaves_at = now.monotonic + CLIENT_PATIENCE;
        for _ in 0..ACCEPTED_A_VISIT {
            let client = self.status.as_ref().and_then(|socket| {
                let (stream, _) = socket.listener.accept().ok()?;
                let own = rustix::process::getuid().as_raw();
                let is_ours = peer_uid(stream.as_raw_fd()).is_ok_and(|uid| uid == 0 || uid == own);
                is_ours.then(|| Client::at_status(stream, leaves_at).ok())?
            });
            let other = self.metrics.listener().and_then(|listener| {
                let (stream, _) = listener.accept().ok()?;
                Client::at_metrics(stream, leaves_at).ok()
            });
            if client.is_none() && other.is_none() {
                return;
            }
            for client in [client, other].into_iter().flatten() {
                self.admit(client);
            }
        }
    }

    fn admit(&mut self, client: Client) {
        if self.clients.len() >= CLIENTS_MAX {
            let first = self
                .clients
                .iter()
                .min_by_key(|(_, client)| client.leaves_at);
            if let Some(key) = first.map(|(key, _)| key) {
                self.clients.remove(key);
            }
        }
        let descriptor = client.descriptor();
        let key = self.clients.insert(client);
        let meaning = CLIENTS + key as u64;
        if add(&self.set, descriptor, meaning, epoll::EventFlags::IN).is_err() {
            self.clients.remove(key);
        }
    }

    /// Returns the clients that can make progress: those whose socket is ready, and new ones.
    fn ready_clients(&mut self, now: Now) -> Vec<usize> {
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; CLIENTS_MAX + 2];
        const AT_ONCE: &Timespec = &Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let found = epoll::wait(&self.set, &mut room, Some(AT_ONCE));
        let found = found.map_or(&mut [][..], |(found, _)| found);
        let meanings: Vec<u64> = found.iter().map(|event| event.data.u64()).collect();
        let mut ready: Vec<usize> = meanings
            .iter()
            .filter_map(|meaning| meaning.checked_sub(CLIENTS))
            .map(|key| key as usize)
            .collect();
        if meanings.iter().any(|meaning| *meaning < CLIENTS) {
            let before: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
            self.accept(now);
            let new = self.clients.iter().map(|(key, _)| key);
            ready.extend(new.filter(|key| !before.contains(key)));
        }
        ready
    }

    /// Makes the set report when a client can take more of its answer.
    fn await_reader(&mut self, key: usize) {
        let Some(client) = self.clients.get(key).filter(|client| client.is_answered()) else {
            return;
        };
        let descriptor = lent(client.descriptor());
        let meaning = epoll::EventData::new_u64(CLIENTS + key as u64);
        if epoll::modify(&self.set, descriptor, meaning, epoll::EventFlags::OUT).is_err() {
            self.clients.remove(key);
        }
    }
}

impl EventLoop {
    /// Serves the clients that can make progress, if it is time.
    pub(super) fn serve_status_clients(&mut self, some_came: bool, now: Now) {
        let status_server = &mut self.status_server;
        status_server.rests_until = status_server
            .rests_until
            .filter(|until| *until > now.monotonic);
        status_server
            .clients
            .retain(|_, client| client.leaves_at > now.monotonic);
        if !some_came {
            return;
        }
        for key in self.status_server.ready_clients(now) {
            self.serve_client(key, now);
        }
        // After one visit the tasks have priority, however many clients connect.
        self.status_server.rests_until = Some(now.monotonic + VISIT_EVERY);
    }

    fn serve_client(&mut self, key: usize, now: Now) {
        let Some(client) = self.status_server.clients.get_mut(key) else {
            return;
        };
        let next = match client.advance() {
            Progress::Requested(request) => {
                let answer = self.answer_to(request, now);
                match self.status_server.clients.get_mut(key) {
                    Some(client) => client.answer(answer),
                    None => Progress::Finished,
                }
            }
            next @ (Progress::Waiting | Progress::Finished) => next,
        };
        match next {
            Progress::Waiting => self.status_server.await_reader(key),
            Progress::Finished | Progress::Requested(_) => {
                self.status_server.clients.try_remove(key);
            }
        }
    }

    fn answer_to(&mut self, request: ClientRequest, now: Now) -> Rc<[u8]> {
        match request {
            ClientRequest::StatusSocket(Request::Status) => self.page(Page::Status, now),
            ClientRequest::Metrics => self.page(Page::Metrics, now),
            ClientRequest::StatusSocket(Request::Hold { manager }) => {
                info!("Received a request through the status socket to hold manager {manager}");
                let id = ManagerId::new(manager.as_bytes());
                let broker = self.turn.interchange_mut().broker_mut();
                let held = broker.handle_hold(&id, now);
                self.status_server.pages.clear();
                json(&Held { held }).into()
            }
            ClientRequest::NotServed(answer) => answer.into(),
        }
    }

    /// Returns a page. One snapshot serves all clients that ask within a short time.
    fn page(&mut self, page: Page, now: Now) -> Rc<[u8]> {
        if let Some(bytes) = self.status_server.pages.get(page, now) {
            return bytes;
        }
        let begun = Instant::now();
        let snapshot = self.turn.interchange().broker().snapshot(now);
        let document = document(&snapshot, self.surroundings(now));
        let bytes = match page {
            Page::Status => {
                let mut line = json(&document);
                line.push(b'\n');
                line
            }
            Page::Metrics => {
                let timings = timings(&snapshot, &self.status_server.dispatch_latency);
                http::page(&open_metrics::page(document, timings))
            }
        };
        self.status_server.pages.keep(page, bytes, begun, now)
    }
}

/// Wakes the loop when a client connects to this listener.
fn await_clients(set: &OwnedFd, listener: RawFd, meaning: u64) -> io::Result<()> {
    add(set, listener, meaning, epoll::EventFlags::IN)
}

fn add(set: &OwnedFd, descriptor: RawFd, meaning: u64, on: epoll::EventFlags) -> io::Result<()> {
    let meaning = epoll::EventData::new_u64(meaning);
    Ok(epoll::add(set.as_fd(), lent(descriptor), meaning, on)?)
}
