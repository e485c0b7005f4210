//! A socket for [`Frame`]s: the calls that are made for every task, which never block and lose
//! nothing; and whether there may be more to receive.
//!
//! A ZeroMQ socket has a descriptor that becomes readable when there is something for the socket to
//! look at. It tells that once: who has begun to read must go on until nothing is left, and who has
//! sent must ask before resting, because sending looks at what came as well.

use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::{fmt, io};

use zmq::Socket;

use super::frame::Frame;
use super::zmq_calls;

/// A ZeroMQ socket that frames go through.
pub(super) struct FrameSocket {
    socket: Socket,
    /// The same socket, as libzmq's own functions name it.
    raw: *mut c_void,
    descriptor: RawFd,
    more: Cell<More>,
}

/// What is known of messages to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// There was none, and nothing was done since.
    No,
    /// Something was sent since.
    Unknown,
    Maybe,
}

/// Why a frame did not leave.
pub(super) enum NotSent {
    /// There is no room now, or nobody is connected yet.
    Full(Frame),
    /// It will not go: a ROUTER has no such peer.
    Refused(io::Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("there is no room for it"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// Whether a frame ends its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Last,
    MoreFollows,
}

impl FrameSocket {
    /// # Errors
    /// None for a socket that is open.
    pub(super) fn of(mut socket: Socket) -> io::Result<Self> {
        let raw = socket.as_mut_ptr();
        Ok(Self {
            descriptor: socket.get_fd()?,
            socket,
            raw,
            more: Cell::new(More::Maybe),
        })
    }

    /// Readable when there is something for the socket to look at.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Its descriptor was readable.
    pub(super) fn note_wake_up(&self) {
        self.more.set(More::Maybe);
    }

    pub(super) fn may_have_more(&self) -> bool {
        if self.more.get() == More::Unknown {
            self.more.set(match zmq_calls::is_readable(&self.socket) {
                true => More::Maybe,
                false => More::No,
            });
        }
        self.more.get() == More::Maybe
    }

    /// The next frame, if there is one.
    pub(super) fn receive(&self) -> Option<Frame> {
        let mut frame = Frame::new();
        // SAFETY: the socket is open as long as `self` lives, and the message is initialised.
        let received =
            unsafe { zmq_sys::zmq_msg_recv(frame.as_mut_ptr(), self.raw, zmq::DONTWAIT) };
        if received < 0 {
            self.more.set(More::No);
            return None;
        }
        // Whoever read without having been woken must go on as well.
        self.more.set(More::Maybe);
        Some(frame)
    }

    /// Takes what follows a frame in its message, and drops it.
    pub(super) fn skip_rest(&self, first: &Frame) {
        let mut has_more = first.has_more();
        while has_more {
            has_more = self.receive().is_some_and(|frame| frame.has_more());
        }
    }

    /// Hands a frame to the socket.
    pub(super) fn send(&self, mut frame: Frame, part: Part) -> Result<(), NotSent> {
        let flags = match part {
            Part::Last => zmq::DONTWAIT,
            Part::MoreFollows => zmq::DONTWAIT | zmq::SNDMORE,
        };
        if self.more.get() == More::No {
            self.more.set(More::Unknown);
        }
        // SAFETY: as for receive. A message that was taken is an empty one afterwards.
        let sent = unsafe { zmq_sys::zmq_msg_send(frame.as_mut_ptr(), self.raw, flags) };
        if sent >= 0 {
            return Ok(());
        }
        let error = zmq_calls::last_error();
        if error.kind() == io::ErrorKind::WouldBlock {
            return Err(NotSent::Full(frame));
        }
        Err(NotSent::Refused(error))
    }

    /// For what is done once: binding, connecting.
    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

impl Deref for FrameSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}
