//! A descriptor that outlives the broker: it lies in a socket that nobody reads for good. The
//! kernel keeps alive what is on its way, as long as the way is there.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// Made before the first fork, and inherited.
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

    /// Whatever was left before stays the one that is found.
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

    /// Another descriptor of what was left, which stays: whoever is killed now has taken nothing.
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
        // SAFETY: the kernel has just made it, for us, and nobody else has its number.
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
    fn what_was_left_is_found_again_and_again() {
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
        // Nobody writes any more.
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "xxx");
    }
}
