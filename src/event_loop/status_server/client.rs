//! One client of status or metrics. Reading its request and writing its answer never blocks.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use super::http;
use super::request::{self, ClientRequest};
use status::asking::REQUEST_BYTES_MAX;

/// The state of a client after a visit.
pub(super) enum Progress {
    Requested(ClientRequest),
    /// The client has to send more, or to take more of the answer.
    Waiting,
    Finished,
}

enum Stream {
    Status(UnixStream),
    Metrics(TcpStream),
}

enum Phase {
    Asking(Vec<u8>),
    Answering { bytes: Rc<[u8]>, sent: usize },
}

pub(super) struct Client {
    stream: Stream,
    phase: Phase,
    /// When the client is dropped, on the monotonic clock.
    pub(super) leaves_at: Duration,
}

impl Client {
    pub(super) fn at_status(stream: UnixStream, leaves_at: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::new(Stream::Status(stream), leaves_at))
    }

    pub(super) fn at_metrics(stream: TcpStream, leaves_at: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::new(Stream::Metrics(stream), leaves_at))
    }

    fn new(stream: Stream, leaves_at: Duration) -> Self {
        Self {
            stream,
            phase: Phase::Asking(Vec::new()),
            leaves_at,
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        match &self.stream {
            Stream::Status(stream) => stream.as_raw_fd(),
            Stream::Metrics(stream) => stream.as_raw_fd(),
        }
    }

    /// Whether the client has to take more of its answer, rather than to send more of its request.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answering { .. })
    }

    /// Begins the answer, and sends as much as the client takes at once.
    pub(super) fn answer(&mut self, bytes: Rc<[u8]>) -> Progress {
        self.phase = Phase::Answering { bytes, sent: 0 };
        self.advance()
    }

    /// Reads or writes as far as possible without waiting.
    pub(super) fn advance(&mut self) -> Progress {
        let outcome = match &mut self.phase {
            Phase::Asking(said) => listen(&mut self.stream, said),
            Phase::Answering { bytes, sent } => speak(&mut self.stream, bytes, sent),
        };
        match outcome {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Waiting,
            Err(_) => Progress::Finished,
        }
    }
}

/// Reads from a client, with one read per visit: a request is short, and a visit must be short too.
fn listen(stream: &mut Stream, said: &mut Vec<u8>) -> io::Result<Progress> {
    let mut room = [0; REQUEST_BYTES_MAX];
    let count = match stream {
        Stream::Status(stream) => stream.read(&mut room),
        Stream::Metrics(stream) => stream.read(&mut room),
    }?;
    if count == 0 {
        return Ok(Progress::Finished);
    }
    said.extend_from_slice(&room[..count]);
    let request = match stream {
        Stream::Status(_) => request::read_line(said),
        Stream::Metrics(_) => http::read_request(said),
    };
    match request {
        Some(request) => Ok(Progress::Requested(request)),
        None if said.len() > REQUEST_BYTES_MAX => Ok(Progress::Finished),
        None => Ok(Progress::Waiting),
    }
}

fn speak(stream: &mut Stream, bytes: &[u8], sent: &mut usize) -> io::Result<Progress> {
    while *sent < bytes.len() {
        let count = match stream {
            Stream::Status(stream) => stream.write(&bytes[*sent..]),
            Stream::Metrics(stream) => stream.write(&bytes[*sent..]),
        }?;
        if count == 0 {
            return Ok(Progress::Finished);
        }
        *sent += count;
    }
    Ok(Progress::Finished)
}
