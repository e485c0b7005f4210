//! libzmq's socket monitor: the events of a socket's connections.

use std::io;
use std::os::fd::RawFd;

use zmq::{Context, Socket};

/// Event numbers of zmq.h. The `zmq` crate panics on numbers that it does not list, so its decoder
/// is not used.
const CONNECTED: u16 = 0x0001;
const LISTENING: u16 = 0x0008;
const ACCEPTED: u16 = 0x0020;
const ACCEPT_FAILED: u16 = 0x0040;
const CLOSED: u16 = 0x0080;
const DISCONNECTED: u16 = 0x0200;
const HANDSHAKE_FAILED_NO_DETAIL: u16 = 0x0800;
const HANDSHAKE_SUCCEEDED: u16 = 0x1000;
const HANDSHAKE_FAILED_PROTOCOL: u16 = 0x2000;
const HANDSHAKE_FAILED_AUTH: u16 = 0x4000;

/// One thing that happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketEvent {
    Connected,
    Listening(RawFd),
    Accepted(RawFd),
    AcceptFailed(i32),
    /// An attempt to connect was refused, or a listener was closed.
    Closed,
    Disconnected(RawFd),
    HandshakeSucceeded,
    HandshakeFailed(HandshakeFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFault {
    /// The connection broke; with the errno.
    Broken(i32),
    /// The peer violated the protocol; with libzmq's number of the broken rule.
    Protocol(u32),
    /// The ZAP handler refused the peer; with its status.
    Refused(u32),
}

/// The stream of a socket's events.
pub(super) struct SocketMonitor {
    events: Socket,
}

impl SocketMonitor {
    /// Opens a monitor of all events. `name` must be unique in the context.
    pub(super) fn of(socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        let mask = CONNECTED
            | LISTENING
            | ACCEPTED
            | ACCEPT_FAILED
            | CLOSED
            | DISCONNECTED
            | HANDSHAKE_FAILED_NO_DETAIL
            | HANDSHAKE_SUCCEEDED
            | HANDSHAKE_FAILED_PROTOCOL
            | HANDSHAKE_FAILED_AUTH;
        Self::of_these(mask, socket, context, name)
    }

    /// Opens a monitor of established and ended connections only. libzmq also reports the end of a
    /// connection that failed in its handshake, so the events must be read from time to time.
    pub(super) fn of_successes(socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        Self::of_these(HANDSHAKE_SUCCEEDED | DISCONNECTED, socket, context, name)
    }

    fn of_these(mask: u16, socket: &Socket, context: &Context, name: &str) -> io::Result<Self> {
        let endpoint = format!("inproc://monitor.{name}");
        socket.monitor(&endpoint, i32::from(mask))?;
        let events = context.socket(zmq::PAIR)?;
        events.set_linger(0)?;
        // At the default of 1,000, unread events would block libzmq's I/O thread.
        events.set_rcvhwm(0)?;
        events.connect(&endpoint)?;
        Ok(Self { events })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.events
    }

    pub(super) fn next(&self) -> Option<SocketEvent> {
        loop {
            let head = self.events.recv_msg(zmq::DONTWAIT).ok()?;
            // The second frame is the socket's own endpoint.
            while self.events.get_rcvmore().unwrap_or(false) {
                self.events.recv_msg(zmq::DONTWAIT).ok()?;
            }
            if let Some(event) = parse(&head) {
                return Some(event);
            }
        }
    }
}

/// Parses an event of format version 1: a number of 16 bits and a value of 32 bits, both in the
/// byte order of this machine.
fn parse(head: &[u8]) -> Option<SocketEvent> {
    let (number, value) = head.split_first_chunk::<2>()?;
    let value = u32::from_ne_bytes(*value.first_chunk::<4>()?);
    Some(match u16::from_ne_bytes(*number) {
        CONNECTED => SocketEvent::Connected,
        LISTENING => SocketEvent::Listening(value as RawFd),
        ACCEPTED => SocketEvent::Accepted(value as RawFd),
        ACCEPT_FAILED => SocketEvent::AcceptFailed(value as i32),
        CLOSED => SocketEvent::Closed,
        DISCONNECTED => SocketEvent::Disconnected(value as RawFd),
        HANDSHAKE_SUCCEEDED => SocketEvent::HandshakeSucceeded,
        HANDSHAKE_FAILED_NO_DETAIL => {
            SocketEvent::HandshakeFailed(HandshakeFault::Broken(value as i32))
        }
        HANDSHAKE_FAILED_PROTOCOL => SocketEvent::HandshakeFailed(HandshakeFault::Protocol(value)),
        HANDSHAKE_FAILED_AUTH => SocketEvent::HandshakeFailed(HandshakeFault::Refused(value)),
        _ => return None,
    })
}
