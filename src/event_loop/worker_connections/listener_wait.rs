//! The entry of the worker port's listener in the epoll set of libzmq's own thread.
//!
//! libzmq calls accept() when this epoll set reports a waiting connection, and has no option to
//! pause that. So this module changes the entry in the set: to no events, and later back to the
//! original events. `/proc/self/fdinfo` shows the entry together with the data word that libzmq
//! stored in it (proc_pid_fdinfo(5), since Linux 3.8). The entry exists as long as the listener
//! does.

use std::os::fd::RawFd;
use std::{fs, io};

use rustix::event::epoll;

use crate::system_calls::lent;

#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerWait {
    set: RawFd,
    listener: RawFd,
    /// The data word that libzmq stored in the entry and receives with every event.
    data: u64,
}

impl ListenerWait {
    /// Finds the entry. None before libzmq's thread has begun to wait, or on a system that does not
    /// expose the entry. The lookup needs one or two free descriptors.
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

    /// Stops libzmq from being notified of waiting connections.
    pub(super) fn suspend(self) -> io::Result<()> {
        self.ask_for(epoll::EventFlags::empty())
    }

    /// Notifies libzmq of waiting connections again, including those that arrived meanwhile.
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

/// Returns the data word in the entry of this descriptor, if the text describes an epoll set with
/// such an entry: `tfd:        7 events:       19 data:     7f5e6c000c80  pos:0 ino:5d2b sdev:8`
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
    fn epoll_entry_is_found_among_others() {
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
