//! Closes the worker port while descriptors run out, so that connected managers are still served.
//!
//! When a process has no descriptor left, libzmq's listener retries accept() for ever and uses a
//! whole processor. Unbinding it does not help: libzmq then also closes the connections that the
//! listener has accepted. So the listening socket stays open, but libzmq's thread no longer waits
//! for it, and nothing accepts connections.
//!
//! Connections that the kernel has already accepted are closed, with the help of one of the
//! reserved descriptors. A socket filter drops later SYN packets. The peer's own kernel repeats
//! them after 1, 2, 4 … seconds, at no cost to this process. Open connections are not touched.
//!
//! The other reserved descriptors are free for use while the port is closed: for a helper process
//! or for files.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::listener_wait::ListenerWait;
use crate::system_calls::{self, lent};
use submit_side::config::DescriptorBudget;

/// How long the port stays closed after a failed accept() although descriptors should be left.
/// Either this process uses descriptors that are not counted here, or another process took them.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Minimum time between two log lines about a closed port, however often the port closes and opens.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of connections closed at once, which takes some milliseconds. The others stay in
/// the kernel's queue and are accepted when the port opens.
const TURNED_AWAY_MAX: usize = 512;
/// Number and interval of lookups of the listener's epoll entry. Several may be needed, because
/// libzmq's thread adds the entry a moment after it listens. They are limited, because some systems
/// do not expose the entry at all.
const LOOKS_MAX: u8 = 20;
const LOOKS_EVERY: Duration = Duration::from_millis(1);

pub(super) struct DescriptorGuard {
    listener: Option<RawFd>,
    /// How libzmq waits for the listener, once found.
    wait: Option<ListenerWait>,
    /// How many lookups of `wait` are left, and when the next one is due.
    looks_left: u8,
    looks_at: Duration,
    budget: DescriptorBudget,
    /// Descriptors that are open from start to end: sockets, files and libzmq's own.
    fixed: usize,
    kept_back: Vec<File>,
    is_shut: bool,
    is_filtered: bool,
    /// Earliest time at which the port opens after a failed accept().
    opens_at: Duration,
    /// When the log last reported that the port is closed.
    said_at: Option<Duration>,
    /// Whether the current closing was logged; only then is the reopening logged too.
    is_said: bool,
    has_warned: bool,
}

impl DescriptorGuard {
    /// Creates the guard. Call this when all other descriptors are open.
    pub(super) fn new() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let mut guard = Self::of(DescriptorBudget { limit }, open_descriptors());
        guard.keep_back();
        guard
    }

    fn of(budget: DescriptorBudget, fixed: usize) -> Self {
        Self {
            listener: None,
            wait: None,
            looks_left: LOOKS_MAX,
            looks_at: Duration::ZERO,
            budget,
            fixed,
            kept_back: Vec::new(),
            is_shut: false,
            is_filtered: false,
            opens_at: Duration::ZERO,
            said_at: None,
            is_said: false,
            has_warned: false,
        }
    }

    /// Notes that libzmq listens with this descriptor.
    pub(super) fn handle_listening(&mut self, listener: RawFd) {
        // libzmq's listener is a blocking socket, but this module also calls accept() on it.
        if let Err(error) = rustix::io::ioctl_fionbio(lent(listener), true) {
            codes::log!(
                DESCRIPTORS_UNWATCHED,
                "The worker port's descriptors are not watched: {error}"
            );
            return;
        }
        self.listener = Some(listener);
    }

    /// Handles a failed accept(). Returns true if descriptors or memory were exhausted.
    pub(super) fn handle_accept_failed(&mut self, errno: i32, now: Duration) -> bool {
        let exhausted = is_exhaustion(errno);
        if exhausted {
            self.opens_at = now + TRIED_AGAIN_AFTER;
            self.shut(&io::Error::from_raw_os_error(errno).to_string(), now);
        }
        exhausted
    }

    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Returns how many descriptors may be open.
    pub(super) fn limit(&self) -> usize {
        self.budget.limit
    }

    /// Returns how many descriptors are in use with this many connections. Reserved descriptors
    /// always count, even while they are free: otherwise the port would open and close in turns.
    pub(super) fn used(&self, open: usize) -> usize {
        self.fixed + self.budget.kept_back() + open
    }

    /// When [`Self::handle_connections`] is due even if no connection opens or closes.
    pub(super) fn next_deadline(&self, open: usize) -> Option<Duration> {
        let may_open = self.is_shut && self.used(open) < self.budget.open_below();
        let opens_at = may_open.then_some(self.opens_at);
        let looks_at = self.is_looking().then_some(self.looks_at);
        [opens_at, looks_at].into_iter().flatten().min()
    }

    /// Opens or closes the port for this number of open connections.
    pub(super) fn handle_connections(&mut self, open: usize, now: Duration) {
        if self.is_looking() && now >= self.looks_at {
            self.looks_at = now + LOOKS_EVERY;
            self.look_for_wait();
        }
        let used = self.used(open);
        let budget = self.budget;
        if used >= budget.shut_at() {
            self.shut(&format!("{used} of {} are in use", budget.limit), now);
        } else if used < budget.open_below() && now >= self.opens_at {
            self.open(used);
        }
        if used < budget.warn_at() {
            self.has_warned = false;
        } else if !self.has_warned {
            self.has_warned = true;
            codes::log!(
                DESCRIPTORS_SCARCE,
                "{used} of {} descriptors are in use. Each manager needs one: raise the limit \
                 (ulimit -n) before more managers connect",
                budget.limit
            );
        }
    }

    fn is_looking(&self) -> bool {
        self.listener.is_some() && self.wait.is_none() && self.looks_left > 0
    }

    fn look_for_wait(&mut self) {
        self.looks_left = self.looks_left.saturating_sub(1);
        self.wait = self.listener.and_then(ListenerWait::find);
    }

    fn shut(&mut self, why: &str, now: Duration) {
        let (false, Some(listener)) = (self.is_shut, self.listener) else {
            return;
        };
        self.is_shut = true;
        self.is_said = self.said_at.is_none_or(|at| now >= at + SAID_EVERY);
        if self.is_said {
            self.said_at = Some(now);
            codes::log!(
                DESCRIPTORS_RAN_OUT,
                "Out of descriptors ({why}): refusing new connections. Connected managers are \
                 still served. Remedy: a higher limit (ulimit -n, now {}) \
                 where Parsl is started",
                self.budget.limit
            );
        }
        if self.wait.is_none() {
            // The last chance to find the entry: the reserved descriptors are freed for the lookup.
            self.kept_back.clear();
            self.look_for_wait();
        }
        let suspended = self.wait.map(ListenerWait::suspend);
        let filtered = system_calls::drop_all_that_comes(listener);
        self.is_filtered = filtered.is_ok();
        self.kept_back.clear();
        if let Some(Ok(())) = suspended {
            turn_away(listener);
        }
        // If libzmq still waits for the listener, it accepts as many connections as there are freed
        // descriptors.
        let faults = [suspended.and_then(Result::err), filtered.err()];
        for error in faults.into_iter().flatten().filter(|_| self.is_said) {
            codes::log!(
                WORKER_PORT_STUCK,
                "Could not close the worker port: {error}"
            );
        }
    }

    fn open(&mut self, used: usize) {
        let (true, Some(listener)) = (self.is_shut, self.listener) else {
            return;
        };
        self.is_shut = false;
        self.keep_back();
        let unfiltered = self
            .is_filtered
            .then(|| system_calls::let_come_again(listener));
        let resumed = self.wait.map(ListenerWait::resume);
        for error in [unfiltered, resumed]
            .into_iter()
            .flatten()
            .filter_map(Result::err)
        {
            codes::log!(
                WORKER_PORT_STUCK,
                "Could not reopen the worker port: {error}"
            );
        }
        if self.is_said {
            codes::log!(
                DESCRIPTORS_FREE,
                "Accepting new connections again: {used} of {} descriptors are in use",
                self.budget.limit
            );
        }
    }

    /// Opens the reserved descriptors, as many as the system allows.
    fn keep_back(&mut self) {
        while self.kept_back.len() < self.budget.kept_back() {
            match spare() {
                Ok(spare) => self.kept_back.push(spare),
                Err(_) => return,
            }
        }
    }
}

/// Closes the connections that the kernel has already accepted; the peers connect again. One free
/// descriptor is enough while libzmq does not wait for the listener.
fn turn_away(listener: RawFd) {
    for _ in 0..TURNED_AWAY_MAX {
        if rustix::net::accept(lent(listener)).is_err() {
            return;
        }
    }
}

/// Whether accept() failed for a lack of resources that does not end at once.
fn is_exhaustion(errno: i32) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&errno)
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Returns how many descriptors this process has open.
fn open_descriptors() -> usize {
    // One of the entries is the descriptor of the directory that is being read.
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::event::{Timespec, epoll};

    use super::*;

    /// Long enough for a local connection, but shorter than the delay of the first repeated SYN.
    const AT_ONCE: Duration = Duration::from_millis(500);
    const AFTER_REPEATS: Duration = Duration::from_secs(30);
    const START: Duration = Duration::from_secs(1);

    /// A listener in an epoll set, as libzmq's thread waits for it.
    struct Waiting {
        listener: TcpListener,
        set: OwnedFd,
    }

    impl Waiting {
        fn new() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let data = epoll::EventData::new_u64(0x7f00_dead_beef);
            epoll::add(&set, &listener, data, epoll::EventFlags::IN).unwrap();
            Self { listener, set }
        }

        fn guard(&self, limit: usize) -> DescriptorGuard {
            let mut guard = DescriptorGuard::of(DescriptorBudget { limit }, 10);
            guard.handle_listening(self.listener.as_raw_fd());
            guard
        }

        fn knock(&self, patience: Duration) -> io::Result<TcpStream> {
            let address: SocketAddr = self.listener.local_addr()?;
            TcpStream::connect_timeout(&address, patience)
        }

        /// Returns the data word of the event that would wake libzmq; None if nothing would.
        fn wakes(&self) -> Option<u64> {
            let mut room = Vec::with_capacity(1);
            let at_once = Timespec::default();
            let filled = rustix::buffer::spare_capacity(&mut room);
            epoll::wait(&self.set, filled, Some(&at_once)).unwrap();
            room.first().map(|event: &epoll::Event| event.data.u64())
        }
    }

    #[test]
    fn port_closes_at_95_percent_and_reopens_below_90() {
        let port = Waiting::new();
        let mut guard = port.guard(100);
        let inside = port.knock(AT_ONCE).unwrap();
        let (mut served, _) = port.listener.accept().unwrap();
        guard.handle_connections(81, START);
        let _outside = port.knock(AT_ONCE).unwrap();
        assert_eq!(port.wakes(), Some(0x7f00_dead_beef));

        // 10 descriptors are open from the start, and 3 are reserved.
        guard.handle_connections(82, START);
        assert!(guard.is_shut);
        // The connection that was not yet accepted was closed; the accepted connection was not.
        assert!(port.listener.accept().is_err());
        io::Write::write_all(&mut &inside, b"here").unwrap();
        let mut heard = [0; 4];
        io::Read::read_exact(&mut served, &mut heard).unwrap();
        let shut = port.knock(AT_ONCE).unwrap_err();
        assert_eq!(shut.kind(), io::ErrorKind::TimedOut);

        guard.handle_connections(77, START);
        assert!(guard.is_shut, "not at once, or it would swing");
        let address = port.listener.local_addr().unwrap();
        let waiting =
            std::thread::spawn(move || TcpStream::connect_timeout(&address, AFTER_REPEATS));
        guard.handle_connections(76, START);
        assert!(!guard.is_shut);
        assert!(waiting.join().unwrap().is_ok());
        assert_eq!(port.wakes(), Some(0x7f00_dead_beef));
    }

    #[test]
    fn waiting_connections_do_not_wake_libzmq_while_the_port_is_closed() {
        let port = Waiting::new();
        let mut guard = port.guard(100);
        guard.handle_connections(82, START);
        assert!(guard.is_shut);
        // The same state as on a kernel that supports no socket filter.
        system_calls::let_come_again(port.listener.as_raw_fd()).unwrap();
        let _waits = port.knock(AT_ONCE).unwrap();
        assert_eq!(port.wakes(), None);
    }

    #[test]
    fn port_closes_after_a_failed_accept_only_if_descriptors_ran_out() {
        let port = Waiting::new();
        let mut guard = port.guard(1000);
        assert!(!guard.handle_accept_failed(libc::ECONNABORTED, START));
        assert!(!guard.is_shut);
        assert!(guard.handle_accept_failed(libc::EMFILE, START));
        assert!(guard.is_shut);
        assert!(guard.handle_accept_failed(libc::ENFILE, START));
    }

    #[test]
    fn port_reopens_some_seconds_after_a_failed_accept() {
        let port = Waiting::new();
        let mut guard = port.guard(1000);
        assert_eq!(
            guard.next_deadline(5),
            Some(Duration::ZERO),
            "to look how libzmq waits"
        );
        guard.handle_connections(5, START);
        assert_eq!(guard.next_deadline(5), None);
        guard.handle_accept_failed(libc::ENFILE, START);
        let later = START + TRIED_AGAIN_AFTER;
        assert_eq!(guard.next_deadline(5), Some(later));
        assert_eq!(guard.next_deadline(990), None, "those have to leave first");
        guard.handle_connections(5, later - Duration::from_millis(1));
        assert!(guard.is_shut);
        guard.handle_connections(5, later);
        assert!(!guard.is_shut);
        assert_eq!(guard.next_deadline(5), None);
    }

    #[test]
    fn repeated_closing_is_logged_once_a_minute() {
        let port = Waiting::new();
        let mut guard = port.guard(1000);
        let mut said = 0;
        for second in 1..=120 {
            let now = Duration::from_secs(second);
            let before = guard.said_at;
            guard.handle_accept_failed(libc::EMFILE, now);
            said += usize::from(guard.said_at != before);
            guard.handle_connections(5, now + TRIED_AGAIN_AFTER);
            assert!(!guard.is_shut);
        }
        assert_eq!(said, 2);
    }
}
