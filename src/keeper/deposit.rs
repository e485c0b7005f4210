//! A descriptor that outlives the broker. It is sent to a socket from which it is never removed.
//! The kernel keeps a descriptor in transit open as long as the socket exists.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// A pair of sockets that is made before the first fork and inherited.
#[derive(Debug)]
pub(super) struct Deposit {
    into: OwnedFd,
    out_of: OwnedFd,
}

impl Deposit {
    pub(super) fn open() -> io::Result<Self> {
        let (into, out_of) = socketpair(
            AddressFamily::Unix,
            SockType::Datagram,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?;
        Ok(Self { into, out_of })
    }

    /// Leaves a descriptor. If one was left before, `find` keeps returning the older one.
    pub(super) fn leave(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let descriptors = [descriptor.as_raw_fd()];
        let with = [ControlMessage::ScmRights(&descriptors)];
        let bytes = [IoSlice::new(&[0])];
        sendmsg::<()>(
            self.into.as_raw_fd(),
            &bytes,
            &with,
            MsgFlags::empty(),
            None,
        )?;
        Ok(())
    }

    /// Returns a duplicate of the descriptor that was left. The original stays, even if the caller
    /// is killed now.
    pub(super) fn find(&self) -> Option<OwnedFd> {
        let mut bytes = [0];
        let mut bytes = [IoSliceMut::new(&mut bytes)];
        let mut room = nix::cmsg_space!([RawFd; 1]);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let found = recvmsg::<()>(self.out_of.as_raw_fd(), &mut bytes, Some(&mut room), flags);
        let messages = found.ok()?;
        let ControlMessageOwned::ScmRights(descriptors) = messages.cmsgs().ok()?.next()? else {
            return None;
        };
        let descriptor = *descriptors.first()?;
        // SAFETY: the kernel has just made this descriptor for this process, and no other code has
        // its number.
        Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_left_descriptor_is_found_repeatedly() {
        let deposit = Deposit::open().unwrap();
        assert!(deposit.find().is_none());
        let (mut read, write) = io::pipe().unwrap();
        deposit.leave(write.as_fd()).unwrap();
        drop(write);
        for _ in 0..3 {
            let mut found = File::from(deposit.find().unwrap());
            assert!(found.stream_position().is_err(), "it is the pipe");
            found.write_all(b"x").unwrap();
        }
        drop(deposit);
        // All copies of the pipe's writing end are closed now.
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "xxx");
    }
}
