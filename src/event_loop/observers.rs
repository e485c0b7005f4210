//! Those who ask how things are: by the status socket, and for metrics.
//!
//! They are served from the loop, out of what is known there, and cost it nothing that grows: a few
//! guests at a time, each for a few seconds, a few visits a second, and one look at the broker for
//! all who come within a while. The descriptors stand in a set of their own, of which the loop sees
//! one.

mod guest;
mod http;
mod place;

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use slab::Slab;
use tracing::{info, warn};

use super::EventLoop;
use super::facts::{BoundPort, Observing};
use super::wait::lent;
use broker::{Histogram, Now};
use interchange::{document, timings};
use protocol::ManagerId;
use status::asking::{Held, Refusal, Request};
use status::document::Traffic;
use status::open_metrics;

use guest::{Guest, Next, Wish};
use place::Place;

/// Who comes when so many are there takes the place of the one who came first.
const GUESTS_MAX: usize = 16;
/// How long a guest may take to ask and to read.
const GUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Guests are seen no more often than this, however many knock.
const VISIT_EVERY: Duration = Duration::from_millis(20);
const ACCEPTED_A_VISIT: usize = 8;
/// A look at the broker is good for so long, and for so many times as long as it took.
const LOOK_LASTS: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 20;

/// What a descriptor of the set stands for; guests stand behind these.
const STATUS: u64 = 0;
const METRICS: u64 = 1;
const GUESTS: u64 = 2;

pub(super) struct Observers {
    set: OwnedFd,
    status: Option<Place>,
    metrics: Option<TcpListener>,
    guests: Slab<Guest>,
    /// The set is left alone until then.
    rests_until: Option<Duration>,
    looks: Looks,
    pub(super) telling: Observing,
    pub(super) port: BoundPort,
    /// From a turn's beginning to its batches' handing over.
    pub(super) dispatch_latency: Histogram,
    pub(super) traffic: Traffic,
}

/// What can be made of a look at the broker.
#[derive(Clone, Copy)]
enum Told {
    Status,
    Metrics,
}

/// What was made of the last one, by [`Told`].
type Looks = [Option<Look>; 2];

struct Look {
    bytes: Rc<[u8]>,
    good_until: Duration,
}

impl Observers {
    /// Opens both doors. Without the one for `status` a run goes on, and says why; metrics that
    /// were asked for and cannot be had are an error.
    ///
    /// # Errors
    /// The metrics' address cannot be listened at.
    pub(super) fn open(
        telling: Observing,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<Self, String> {
        let trouble = |error| format!("cannot wait for those who ask: {error}");
        let set = epoll::create(epoll::CreateFlags::CLOEXEC);
        let set = set.map_err(|error| trouble(error.into()))?;
        let metrics = telling.metrics_at.map(listen_for_metrics).transpose()?;
        let status = match Place::open() {
            Ok(place) => {
                info!("Status is told at {}", place.path().display());
                Some(place)
            }
            Err(reasons) => {
                warn!("There is no place for the status socket: {reasons}");
                None
            }
        };
        let status_listener = status.as_ref().map(|place| place.listener.as_raw_fd());
        let metrics_listener = metrics.as_ref().map(|listener| listener.as_raw_fd());
        for (listener, meaning) in [(status_listener, STATUS), (metrics_listener, METRICS)] {
            if let Some(listener) = listener {
                add(&set, listener, meaning, epoll::EventFlags::IN).map_err(trouble)?;
            }
        }
        Ok(Self {
            set,
            status,
            metrics,
            guests: Slab::new(),
            rests_until: None,
            looks: Looks::default(),
            telling,
            port: BoundPort { address, port },
            dispatch_latency: Histogram::default(),
            traffic: Traffic::default(),
        })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.set.as_raw_fd()
    }

    /// Another process than before is the submit process.
    pub(super) fn watches(&mut self, process: Pid) {
        self.telling.about.submit_pid = u32::try_from(process.as_raw_nonzero().get()).ok();
    }

    /// When it is to be visited though nobody came: to let somebody go, or to look again.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let leaving = self.guests.iter().map(|(_, guest)| guest.leaves_at).min();
        [leaving, self.rests_until].into_iter().flatten().min()
    }

    /// Lets everybody in who stands at the doors, up to a number.
    fn accept(&mut self, now: Now) {
        let leaves_at = now.monotonic + GUEST_PATIENCE;
        for _ in 0..ACCEPTED_A_VISIT {
            let guest = self.status.as_ref().and_then(|place| {
                let (stream, _) = place.listener.accept().ok()?;
                let is_ours = socket_peercred(&stream)
                    .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::getuid());
                is_ours.then(|| Guest::at_status(stream, leaves_at).ok())?
            });
            let other = self.metrics.as_ref().and_then(|listener| {
                let (stream, _) = listener.accept().ok()?;
                Guest::at_metrics(stream, leaves_at).ok()
            });
            if guest.is_none() && other.is_none() {
                return;
            }
            for guest in [guest, other].into_iter().flatten() {
                self.seat(guest);
            }
        }
    }

    fn seat(&mut self, guest: Guest) {
        if self.guests.len() >= GUESTS_MAX {
            let first = self.guests.iter().min_by_key(|(_, guest)| guest.leaves_at);
            if let Some(key) = first.map(|(key, _)| key) {
                self.guests.remove(key);
            }
        }
        let descriptor = guest.descriptor();
        let key = self.guests.insert(guest);
        let meaning = GUESTS + key as u64;
        if add(&self.set, descriptor, meaning, epoll::EventFlags::IN).is_err() {
            self.guests.remove(key);
        }
    }

    /// Who can go on: those that have said or taken something, and who has just come.
    fn visitors(&mut self, now: Now) -> Vec<usize> {
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; GUESTS_MAX + 2];
        const AT_ONCE: &Timespec = &Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let found = epoll::wait(&self.set, &mut room, Some(AT_ONCE));
        let found = found.map_or(&mut [][..], |(found, _)| found);
        let meanings: Vec<u64> = found.iter().map(|event| event.data.u64()).collect();
        let mut visitors: Vec<usize> = meanings
            .iter()
            .filter_map(|meaning| meaning.checked_sub(GUESTS))
            .map(|key| key as usize)
            .collect();
        if meanings.iter().any(|meaning| *meaning < GUESTS) {
            let before: Vec<usize> = self.guests.iter().map(|(key, _)| key).collect();
            self.accept(now);
            let new = self.guests.iter().map(|(key, _)| key);
            visitors.extend(new.filter(|key| !before.contains(key)));
        }
        visitors
    }

    /// Waits for a guest to take more of its answer.
    fn await_reader(&mut self, key: usize) {
        let Some(guest) = self.guests.get(key).filter(|guest| guest.is_answered()) else {
            return;
        };
        let descriptor = lent(guest.descriptor());
        let meaning = epoll::EventData::new_u64(GUESTS + key as u64);
        if epoll::modify(&self.set, descriptor, meaning, epoll::EventFlags::OUT).is_err() {
            self.guests.remove(key);
        }
    }
}

impl EventLoop {
    /// Sees those who ask, if any came and it is time.
    pub(super) fn see_observers(&mut self, some_came: bool, now: Now) {
        let observers = &mut self.observers;
        if observers
            .rests_until
            .is_some_and(|until| until <= now.monotonic)
        {
            observers.rests_until = None;
            self.descriptors.regard_observers(observers.descriptor());
        }
        observers
            .guests
            .retain(|_, guest| guest.leaves_at > now.monotonic);
        if !some_came {
            return;
        }
        for key in self.observers.visitors(now) {
            self.see(key, now);
        }
        // One visit, and then the tasks have their time, whoever else knocks.
        self.descriptors
            .disregard_observers(self.observers.descriptor());
        self.observers.rests_until = Some(now.monotonic + VISIT_EVERY);
    }

    fn see(&mut self, key: usize, now: Now) {
        let Some(guest) = self.observers.guests.get_mut(key) else {
            return;
        };
        let next = match guest.advance() {
            Next::Wish(wish) => {
                let answer = self.grant(wish, now);
                match self.observers.guests.get_mut(key) {
                    Some(guest) => guest.answer(answer),
                    None => Next::Gone,
                }
            }
            next => next,
        };
        match next {
            Next::Wait => self.observers.await_reader(key),
            Next::Gone | Next::Wish(_) => {
                self.observers.guests.try_remove(key);
            }
        }
    }

    fn grant(&mut self, wish: Wish, now: Now) -> Rc<[u8]> {
        match wish {
            Wish::Asked(Request::Status) => self.told(Told::Status, now),
            Wish::Metrics => self.told(Told::Metrics, now),
            Wish::Asked(Request::Hold { manager }) => {
                info!("Asked by the status socket to hold manager {manager}");
                let id = ManagerId::new(manager.as_bytes());
                let held = self.interchange.broker_mut().handle_hold(&id, now);
                self.observers.looks = Looks::default();
                json(&Held { held }).into()
            }
            Wish::Unserved(answer) => answer.into(),
        }
    }

    /// Out of one look for all who ask within a while.
    fn told(&mut self, what: Told, now: Now) -> Rc<[u8]> {
        if let Some(bytes) = still_good(&self.observers.looks[what as usize], now) {
            return bytes;
        }
        let begun = Instant::now();
        let snapshot = self.interchange.broker().snapshot(now);
        let document = document(&snapshot, self.surroundings(now));
        let bytes = match what {
            Told::Status => {
                let mut line = json(&document);
                line.push(b'\n');
                line
            }
            Told::Metrics => {
                let timings = timings(&snapshot, &self.observers.dispatch_latency);
                http::page(&open_metrics::page(document, timings))
            }
        };
        let look = Look::of(bytes, begun, now);
        let bytes = Rc::clone(&look.bytes);
        self.observers.looks[what as usize] = Some(look);
        bytes
    }
}

impl Look {
    fn of(bytes: Vec<u8>, begun: Instant, now: Now) -> Self {
        let lasts = LOOK_LASTS.max(begun.elapsed().saturating_mul(LOOK_SHARE));
        Self {
            bytes: bytes.into(),
            good_until: now.monotonic.saturating_add(lasts),
        }
    }
}

fn still_good(look: &Option<Look>, now: Now) -> Option<Rc<[u8]>> {
    let look = look
        .as_ref()
        .filter(|look| look.good_until > now.monotonic)?;
    Some(Rc::clone(&look.bytes))
}

fn listen_for_metrics(address: SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("cannot listen for metrics at {address}: {error}"))?;
    // The port may have been left to the system.
    let address = listener.local_addr().unwrap_or(address);
    info!("Metrics are told at {address}, path /metrics");
    Ok(listener)
}

fn refusal(reason: &str) -> Vec<u8> {
    json(&Refusal {
        error: reason.to_owned(),
    })
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        debug_assert!(false, "texts and numbers are always JSON: {error}");
        Vec::new()
    })
}

fn add(set: &OwnedFd, descriptor: RawFd, meaning: u64, on: epoll::EventFlags) -> io::Result<()> {
    let meaning = epoll::EventData::new_u64(meaning);
    Ok(epoll::add(set.as_fd(), lent(descriptor), meaning, on)?)
}
