//! The parent process and its ancestors. The parent may be only a wrapper, such as `setsid --fork`
//! or a shell that starts the interchange in the background. A wrapper may end before the submit
//! process, or live on after it.

use std::fs;
use std::iter;

use rustix::process::{Pid, getppid};

use super::process::{Process, ProcessStat};

/// Maximum number of ancestors to read: more than any chain of wrappers has.
const ANCESTORS_MAX: usize = 16;

/// The ancestors of this process when it started. Read them before anything else: later the parent
/// may be another process.
#[derive(Debug, Clone, Default)]
pub struct Ancestry {
    /// The ancestors, nearest first. Empty if the parent is outside of this pid namespace.
    pub(super) processes: Vec<Process>,
}

impl Ancestry {
    /// Reads the current ancestors from `getppid` and `/proc/PID/stat`.
    pub fn read() -> Self {
        let above = iter::successors(getppid(), |process| parent_of(*process));
        Self {
            processes: above.take(ANCESTORS_MAX).map(Process::of).collect(),
        }
    }

    /// Returns the ancestor that holds the socket that listens on this port.
    pub(super) fn listener_at(&self, port: u16) -> Option<Process> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let sockets: Vec<String> = tables
            .iter()
            .flatten()
            .flat_map(|table| listening(table, port))
            .collect();
        let holds_it = |process: &&Process| {
            !sockets.is_empty() && holds_one_of(&sockets, process.pid) && process.is_alive()
        };
        // If several hold the socket, the topmost has opened it; the others are its forks and have
        // inherited it.
        self.processes.iter().rfind(holds_it).copied()
    }
}

fn parent_of(process: Pid) -> Option<Pid> {
    let number = process.as_raw_nonzero().get().unsigned_abs();
    ProcessStat::read(number).ok()?.parent
}

/// Returns the link targets in `/proc/PID/fd` of the sockets that listen on a port.
fn listening(table: &str, port: u16) -> impl Iterator<Item = String> {
    const LISTENING: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
        let inode = fields.get(9).filter(|_| is_it)?;
        Some(format!("socket:[{inode}]"))
    })
}

fn holds_one_of(sockets: &[String], process: Pid) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()));
    let mut links = descriptors
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| {
        sockets
            .iter()
            .any(|socket| link.as_os_str() == socket.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::OwnedFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_listening_socket_is_found_with_its_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let table = || fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        let here = rustix::process::getpid();
        let sockets: Vec<String> = listening(&table(), port).collect();
        assert_eq!(sockets.len(), 1);
        assert!(holds_one_of(&sockets, here));
        let ancestry = Ancestry {
            processes: vec![Process::of(here)],
        };
        assert_eq!(ancestry.listener_at(port), Some(Process::of(here)));
        drop(listener);
        assert!(!holds_one_of(&sockets, here));
        assert_eq!(listening(&table(), port).count(), 0);
        assert_eq!(ancestry.listener_at(port), None);
    }

    #[test]
    fn topmost_ancestor_with_the_socket_is_its_owner() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let inherited = OwnedFd::from(listener.try_clone().expect("a descriptor"));
        let mut sleep = Command::new("sleep");
        let mut heir = sleep
            .arg("600")
            .stdin(inherited)
            .spawn()
            .expect("a process");
        let here = Process::of(rustix::process::getpid());
        let ancestry = Ancestry {
            processes: vec![Process::of(Pid::from_child(&heir)), here],
        };
        assert_eq!(ancestry.listener_at(port), Some(here));
        heir.kill().expect("it runs");
        heir.wait().expect("it has ended");
    }
}
