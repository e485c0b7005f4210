//! Asks a ZeroMQ port whether it wants CURVE, by the first 64 bytes that it says.
//!
//! Nothing in the start-up config tells whether the monitoring hub is encrypted: it is from
//! 2026.8.10 on, and a wrong guess is silence. Every ZMTP 3 peer names its mechanism in its
//! greeting (ZMTP 3.1, section "The greeting"): the signature, the version, then the name.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// What we say: the signature and the version, as far as a peer needs them to go on. The rest of a
/// greeting names a mechanism; one that the peer does not share makes it close before it has said
/// its own.
const OUR_WORDS: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];
const GREETING_BYTES: usize = 64;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;

/// What the port wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Curve,
}

/// A question under way, on a connection of its own that never blocks.
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

    /// What to wait for on the descriptor: until it takes our greeting, then until it answers.
    pub(super) fn waits_to_write(&self) -> bool {
        !self.asked
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn advance(&mut self) -> io::Result<Option<Mechanism>> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.write(&OUR_WORDS) {
                Ok(count) if count == OUR_WORDS.len() => self.asked = true,
                // A fresh connection takes so few bytes at once, or is broken.
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

/// A connection under way says "not connected" to the first write on some kernels.
fn would_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}
