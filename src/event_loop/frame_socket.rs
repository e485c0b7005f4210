//! A socket for [`Frame`]s: the calls made for every task, which never block and lose nothing. It
//! also tracks whether there may be more to receive.
//!
//! A ZeroMQ socket has a descriptor that becomes readable when the socket has events to process. It
//! reports this only once. So after a wake-up the caller must read until nothing is left. After a
//! send the caller must check for messages before it waits, because sending processes received
//! events too.

use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::{fmt, io};

use zmq::Socket;

use super::frame::Frame;
use super::zmq_calls;

/// A ZeroMQ socket that sends and receives frames.
pub(super) struct FrameSocket {
    socket: Socket,
    /// The same socket, as a pointer for libzmq's own functions.
    raw: *mut c_void,
    descriptor: RawFd,
    more: Cell<More>,
}

/// What is known about messages to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// There was no message, and the socket was not used since.
    No,
    /// There was no message, but something was sent since.
    Unknown,
    Maybe,
}

/// Why a frame was not sent.
pub(super) enum NotSent {
    /// There is no room now, or no peer is connected yet. The frame can be sent later.
    Full(Frame),
    /// The frame can never be sent: a ROUTER has no such peer.
    Refused(io::Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("its send queue is full"),
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
    /// Creates the socket.
    ///
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

    /// Returns the descriptor, which becomes readable when the socket has events to process.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Notes that the descriptor was readable.
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

    /// Receives the next frame, if there is one.
    pub(super) fn receive(&self) -> Option<Frame> {
        let mut frame = Frame::new();
        // SAFETY: the socket is open as long as `self` lives, and the message is initialised.
        let received =
            unsafe { zmq_sys::zmq_msg_recv(frame.as_mut_ptr(), self.raw, zmq::DONTWAIT) };
        if received < 0 {
            self.more.set(More::No);
            return None;
        }
        // A caller that read without a wake-up must continue to read too.
        self.more.set(More::Maybe);
        Some(frame)
    }

    /// Receives and drops the frames that follow in the same message.
    pub(super) fn skip_rest(&self, first: &Frame) {
        let mut has_more = first.has_more();
        while has_more {
            has_more = self.receive().is_some_and(|frame| frame.has_more());
        }
    }

    /// Sends a frame.
    pub(super) fn send(&self, mut frame: Frame, part: Part) -> Result<(), NotSent> {
        let flags = match part {
            Part::Last => zmq::DONTWAIT,
            Part::MoreFollows => zmq::DONTWAIT | zmq::SNDMORE,
        };
        if self.more.get() == More::No {
            self.more.set(More::Unknown);
        }
        // SAFETY: as for `receive`. After a successful send the message is an empty one.
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

    /// Returns the socket, for calls that are made once: binding, connecting.
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
