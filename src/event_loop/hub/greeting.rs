//! Finds out whether a ZeroMQ port uses CURVE, from the first 64 bytes that it sends.
//!
//! The start-up configuration does not say whether the monitoring hub is encrypted. It is from
//! 2026.8.10 on, and after a wrong guess nothing arrives. Every ZMTP 3 peer names its mechanism in
//! its greeting (ZMTP 3.1, section "The greeting"): the signature, the version, then the name.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// The bytes to send: the signature and the version, which are enough for a peer to continue. The
/// rest of a greeting would name a mechanism; a peer that does not share that mechanism closes the
/// connection before it sends its own.
const OUR_WORDS: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];
const GREETING_BYTES: usize = 64;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;

/// The mechanism that the port uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Curve,
}

/// A query in progress, on a separate connection that never blocks.
pub(super) struct MechanismQuery {
    stream: TcpStream,
    asked: bool,
    heard: Vec<u8>,
}

impl MechanismQuery {
    pub(super) fn ask(hub: SocketAddr) -> io::Result<Self> {
        let family = if hub.is_ipv6() {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &hub) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream: socket.into(),
            asked: false,
            heard: Vec::new(),
        })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Whether to wait until the descriptor is writable, to send the greeting; else until it is
    /// readable, for the answer.
    pub(super) fn waits_to_write(&self) -> bool {
        !self.asked
    }

    /// Writes and reads as far as possible without waiting. Returns the mechanism once it is known.
    pub(super) fn advance(&mut self) -> io::Result<Option<Mechanism>> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.write(&OUR_WORDS) {
                Ok(count) if count == OUR_WORDS.len() => self.asked = true,
                // A new connection takes this few bytes at once, or is broken.
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if would_wait(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; GREETING_BYTES];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.heard.extend_from_slice(&chunk[..count]),
            Err(error) if would_wait(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(name) = self.heard.get(MECHANISM_AT..MECHANISM_AT + MECHANISM_BYTES) else {
            return Ok(None);
        };
        Ok(Some(if name.starts_with(b"CURVE\0") {
            Mechanism::Curve
        } else {
            Mechanism::Plain
        }))
    }
}

/// Whether to try again later. On some kernels the first write to a connection in progress returns
/// "not connected".
fn would_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}
