//! Who started us, and who stands behind: a parent that was only a wrapper (`setsid --fork`, a
//! shell that puts us into its background) may end while the submit process lives.

use std::fmt::Display;
use std::fs;
use std::iter;
use std::str::SplitAsciiWhitespace;

use rustix::process::{Pid, getppid};

use submit_side::config::SubmitSide;

/// More than any chain of wrappers has.
const ANCESTORS_MAX: usize = 16;

/// The processes above us, as they were when we began. To be read first of all: later the parent
/// may be another.
#[derive(Debug, Clone, Default)]
pub struct Ancestry {
    /// None where it is outside of this pid namespace.
    pub parent: Option<Pid>,
    /// Those above the parent, the nearest first.
    ancestors: Vec<Pid>,
}

impl Ancestry {
    /// As they are now, from `getppid` and `/proc/PID/stat`.
    pub fn read() -> Self {
        let parent = getppid();
        let above = iter::successors(parent, |process| parent_of(*process));
        Self {
            parent,
            ancestors: above.skip(1).take(ANCESTORS_MAX).collect(),
        }
    }

    /// The ancestor that listens as the submit side does. It is asked for when the parent has
    /// ended, whose own sockets are gone then.
    pub(super) fn submit_process(&self, side: &SubmitSide) -> Option<Pid> {
        // Asked of nobody where nobody is left: tables of sockets can be long.
        let mut ancestors = self.ancestors.iter().copied().peekable();
        ancestors.peek()?;
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let sockets: Vec<String> = tables
            .iter()
            .flatten()
            .flat_map(|table| listening(table, side.command_port))
            .collect();
        ancestors.find(|process| holds_one_of(&sockets, *process))
    }
}

fn parent_of(process: Pid) -> Option<Pid> {
    parent_in(&stat_of(process)?)
}

/// The process's line in `/proc/PID/stat`.
pub(super) fn stat_of(process: impl Display) -> Option<String> {
    let line = fs::read(format!("/proc/{process}/stat")).ok()?;
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// The fields of such a line from the third on; the second is a name that may hold anything.
pub(super) fn fields_behind_name(line: &str) -> Option<SplitAsciiWhitespace<'_>> {
    let (_, behind_name) = line.rsplit_once(')')?;
    Some(behind_name.split_ascii_whitespace())
}

fn parent_in(line: &str) -> Option<Pid> {
    let parent = fields_behind_name(line)?.nth(1)?;
    Pid::from_raw(parent.parse().ok()?)
}

/// What descriptors of the sockets that listen at a port are called.
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
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
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

    use super::*;

    #[test]
    fn a_name_with_brackets_is_passed_over() {
        let line = "17 (a) 1 (b) S 12 17 17 0 -1";
        assert_eq!(parent_in(line), Pid::from_raw(12));
        assert_eq!(parent_in("17 (a) S 0 17"), None);
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn a_listening_socket_is_found_with_its_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let table = || fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        let here = rustix::process::getpid();
        let sockets: Vec<String> = listening(&table(), port).collect();
        assert_eq!(sockets.len(), 1);
        assert!(holds_one_of(&sockets, here));
        drop(listener);
        assert!(!holds_one_of(&sockets, here));
        assert_eq!(listening(&table(), port).count(), 0);
    }
}
