//! The entry of the worker port's listener in the epoll set of libzmq's own thread.
//!
//! libzmq accepts when this set says that somebody waits, and has no way to be told to leave it for
//! a while. So the entry itself is told to ask for nothing, and later for what it asked for before.
//! The kernel names the entry, with the word that libzmq has put into it, to the process itself
//! (proc_pid_fdinfo(5), since Linux 3.8); it stays there as long as the listener does.

use std::os::fd::RawFd;
use std::{fs, io};

use rustix::event::epoll;

use crate::system_calls::lent;

#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerWait {
    set: RawFd,
    listener: RawFd,
    /// libzmq's own, which it is given back with every event.
    data: u64,
}

impl ListenerWait {
    /// None before libzmq's thread has begun to wait, or where the system does not tell. It takes a
    /// descriptor or two while it looks.
    pub(super) fn find(listener: RawFd) -> Option<Self> {
        let entries = fs::read_dir("/proc/self/fdinfo").ok()?;
        entries.flatten().find_map(|entry| {
            let data = data_of(&fs::read_to_string(entry.path()).ok()?, listener)?;
            let set = entry.file_name().to_str()?.parse().ok()?;
            Some(Self {
                set,
                listener,
                data,
            })
        })
    }

    /// libzmq hears no more of those who wait.
    pub(super) fn suspend(self) -> io::Result<()> {
        self.ask_for(epoll::EventFlags::empty())
    }

    /// It does again, also of those who came meanwhile.
    pub(super) fn resume(self) -> io::Result<()> {
        self.ask_for(epoll::EventFlags::IN)
    }

    fn ask_for(self, events: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.data);
        Ok(epoll::modify(
            lent(self.set),
            lent(self.listener),
            data,
            events,
        )?)
    }
}

/// The word in the entry of a descriptor, if this is a set that has one:
/// `tfd:        7 events:       19 data:     7f5e6c000c80  pos:0 ino:5d2b sdev:8`
fn data_of(fdinfo: &str, descriptor: RawFd) -> Option<u64> {
    fdinfo.lines().find_map(|line| {
        let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
        if words.next()?.parse() != Ok(descriptor) {
            return None;
        }
        words.find(|word| *word == "data:")?;
        u64::from_str_radix(words.next()?, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_found_among_others() {
        let old = "pos:\t0\nflags:\t02000002\n\
                   tfd:       12 events:       1d data: 7f0000000001\n\
                   tfd:        5 events:       19 data: ffffffffffffffff\n";
        assert_eq!(data_of(old, 5), Some(u64::MAX));
        assert_eq!(data_of(old, 12), Some(0x7f00_0000_0001));
        assert_eq!(data_of(old, 2), None);
        let new = "pos:\t0\nmnt_id:\t15\nino:\t1057\n\
                   tfd:        7 events:       19 data:     7f5e6c000c80  pos:0 ino:5d2b sdev:8\n";
        assert_eq!(data_of(new, 7), Some(0x7f5e_6c00_0c80));
        assert_eq!(data_of("pos:\t0\nflags:\t02\n", 7), None);
    }
}
