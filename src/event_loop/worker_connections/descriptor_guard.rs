//! Shuts the worker port while descriptors run out, so that connected managers are served.
//!
//! When a process has no descriptor left, libzmq's listener tries to accept for ever and takes a
//! whole processor. Unbinding it is no way out: libzmq closes what a listener has accepted with it.
//! So the listening socket stays, and is given a filter that drops whatever comes to it: who
//! connects waits in its kernel's hands (a SYN is sent again after 1, 2, 4 … seconds), and nobody
//! pays for it. Connections that are open are not touched.
//!
//! Some descriptors are kept back and given free while the port is shut: for a helper process, for
//! files.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};

use tracing::{error, info, warn};

use crate::system_calls;
use submit_side::config::DescriptorBudget;

pub(super) struct DescriptorGuard {
    listener: Option<RawFd>,
    budget: DescriptorBudget,
    /// Open from the start to the end: sockets, files, libzmq's own.
    fixed: usize,
    kept_back: Vec<File>,
    is_shut: bool,
    has_warned: bool,
}

impl DescriptorGuard {
    /// Call it when everything else is open.
    pub(super) fn new() -> Self {
        let mut guard = Self {
            listener: None,
            budget: DescriptorBudget {
                limit: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                    .current
                    .map_or(usize::MAX, |limit| {
                        usize::try_from(limit).unwrap_or(usize::MAX)
                    }),
            },
            fixed: open_descriptors(),
            kept_back: Vec::new(),
            is_shut: false,
            has_warned: false,
        };
        guard.keep_back();
        guard
    }

    /// libzmq listens, with this descriptor.
    pub(super) fn handle_listening(&mut self, listener: RawFd) {
        // libzmq's is a blocking one, and accepting is tried here as well.
        // SAFETY: the descriptor is open until the end of the process, and only lent for the call.
        let lent = unsafe { BorrowedFd::borrow_raw(listener) };
        if let Err(error) = rustix::io::ioctl_fionbio(lent, true) {
            warn!("The worker port's descriptors are not watched: {error}");
            return;
        }
        self.listener = Some(listener);
    }

    /// A connection could not be accepted. True if that was for want of descriptors.
    pub(super) fn handle_accept_failed(&mut self, errno: i32) -> bool {
        let exhausted = is_exhaustion(&io::Error::from_raw_os_error(errno));
        if exhausted {
            self.shut("none is left");
        }
        exhausted
    }

    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// How many descriptors may be open.
    pub(super) fn limit(&self) -> usize {
        self.budget.limit
    }

    /// How many are in use with so many connections. What is kept back counts while it is given
    /// free too, or the port would open and shut in turns.
    pub(super) fn used(&self, open: usize) -> usize {
        self.fixed + self.budget.kept_back() + open
    }

    /// So many connections are open now.
    pub(super) fn handle_connections(&mut self, open: usize) {
        let used = self.used(open);
        let budget = self.budget;
        if used >= budget.shut_at() {
            self.shut(&format!("{used} of {} are in use", budget.limit));
        } else if used < budget.open_below() {
            self.open(used);
        }
        if used < budget.warn_at() {
            self.has_warned = false;
        } else if !self.has_warned {
            self.has_warned = true;
            warn!(
                "{used} of {} descriptors are in use. Each manager needs one: raise the limit \
                 (ulimit -n) before more of them come",
                budget.limit
            );
        }
    }

    fn shut(&mut self, why: &str) {
        let Some(listener) = self.listener else {
            return;
        };
        if !self.is_shut {
            self.is_shut = true;
            error!(
                "No more workers are let in until some leave, because descriptors run out ({why}). \
                 Those that are connected are served. Remedy: a higher limit (ulimit -n, now {}) \
                 where Parsl is started",
                self.budget.limit
            );
            if let Err(error) = system_calls::drop_all_that_comes(listener) {
                warn!("The worker port could not be shut: {error}");
            }
        }
        turn_away(listener);
        // Nobody comes who could take them.
        self.kept_back.clear();
    }

    fn open(&mut self, used: usize) {
        let (true, Some(listener)) = (self.is_shut, self.listener) else {
            return;
        };
        self.keep_back();
        match system_calls::let_come_again(listener) {
            Ok(()) => {
                self.is_shut = false;
                info!(
                    "Workers are let in again: {used} of {} descriptors are in use",
                    self.budget.limit
                );
            }
            Err(error) => warn!("The worker port could not be opened again: {error}"),
        }
    }

    /// Opens what is to be kept back, as far as the system gives it.
    fn keep_back(&mut self) {
        while self.kept_back.len() < self.budget.kept_back() {
            match spare() {
                Ok(spare) => self.kept_back.push(spare),
                Err(_) => return,
            }
        }
    }
}

/// Those that the kernel has accepted for us are closed: they come again.
///
/// Accepting needs a descriptor, and one that is given free here is taken by libzmq's listener, in
/// its own thread, until none is left. So it is done by a thread with a table of descriptors of its
/// own, in which nothing but the listener is open.
fn turn_away(listener: RawFd) {
    let accepting = std::thread::Builder::new()
        .name("htex-door".to_owned())
        .spawn(move || {
            system_calls::keep_only(listener)?;
            // SAFETY: the descriptor is open in this thread's own table, and only this thread's
            // entry is closed in the end.
            let lent = unsafe { TcpListener::from_raw_fd(listener) };
            while lent.accept().is_ok() {}
            Ok(())
        });
    let ended = accepting.map(std::thread::JoinHandle::join);
    match ended {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) | Err(error) => {
            let error: io::Error = error;
            warn!("Those who wait at the worker port could not be turned away: {error}");
        }
        Ok(Err(_)) => warn!("Those who wait at the worker port could not be turned away"),
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    [Some(libc::EMFILE), Some(libc::ENFILE)].contains(&error.raw_os_error())
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// How many descriptors this process has open.
fn open_descriptors() -> usize {
    // The directory itself is one of them while it is read.
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;

    /// Long enough for a connection on this machine, short of the first repeated SYN.
    const AT_ONCE: Duration = Duration::from_millis(500);
    const AFTER_REPEATS: Duration = Duration::from_secs(30);

    fn guard(limit: usize, listener: &TcpListener) -> DescriptorGuard {
        DescriptorGuard {
            listener: Some(listener.as_raw_fd()),
            budget: DescriptorBudget { limit },
            fixed: 10,
            kept_back: Vec::new(),
            is_shut: false,
            has_warned: false,
        }
    }

    fn knock(listener: &TcpListener, patience: Duration) -> io::Result<TcpStream> {
        let address: SocketAddr = listener.local_addr()?;
        TcpStream::connect_timeout(&address, patience)
    }

    #[test]
    fn shut_at_95_percent_and_open_again_below_90() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut guard = guard(100, &listener);
        let inside = knock(&listener, AT_ONCE).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        guard.handle_connections(81);
        assert!(knock(&listener, AT_ONCE).is_ok());

        // 10 from the start and 3 kept back.
        guard.handle_connections(82);
        assert!(guard.is_shut);
        // The one that was not accepted yet was turned away with it, the one inside was not.
        assert!(listener.accept().is_err());
        io::Write::write_all(&mut &inside, b"here").unwrap();
        let mut heard = [0; 4];
        io::Read::read_exact(&mut served, &mut heard).unwrap();
        let shut = knock(&listener, AT_ONCE).unwrap_err();
        assert_eq!(shut.kind(), io::ErrorKind::TimedOut);

        guard.handle_connections(77);
        assert!(guard.is_shut, "not at once, or it would swing");
        let address = listener.local_addr().unwrap();
        let waiting =
            std::thread::spawn(move || TcpStream::connect_timeout(&address, AFTER_REPEATS));
        guard.handle_connections(76);
        assert!(!guard.is_shut);
        assert!(waiting.join().unwrap().is_ok());
    }

    #[test]
    fn shut_when_accepting_fails_for_want_of_descriptors_only() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut guard = guard(1000, &listener);
        assert!(!guard.handle_accept_failed(libc::ECONNABORTED));
        assert!(!guard.is_shut);
        assert!(guard.handle_accept_failed(libc::EMFILE));
        assert!(guard.is_shut);
        assert!(guard.handle_accept_failed(libc::ENFILE));
        guard.handle_connections(5);
        assert!(!guard.is_shut);
    }
}
