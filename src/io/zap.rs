//! ZAP's carrier: libzmq asks over an inproc socket whether a CURVE key may come in, and waits for
//! the answer before the handshake goes on.

use std::io;

use tracing::{debug, warn};
use zmq::{Context, Socket};

use super::raw;
use crate::curve::{self, Keyring, Verdict, ZapRequest};

/// The name is fixed by ZMQ RFC 27.
const ENDPOINT: &str = "inproc://zeromq.zap.01";

pub(super) struct Doorkeeper {
    socket: Socket,
    keyring: Keyring,
}

impl Doorkeeper {
    /// Must stand before any CURVE socket does.
    pub(super) fn open(context: &Context, keyring: Keyring) -> io::Result<Self> {
        let mut socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        raw::bind(&mut socket, ENDPOINT)?;
        Ok(Self { socket, keyring })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Answers one request; false if there was none.
    pub(super) fn answer_one(&self) -> bool {
        let Ok(frames) = self.socket.recv_multipart(zmq::DONTWAIT) else {
            return false;
        };
        let answer = match curve::parse(&frames) {
            Ok(request) => {
                let verdict = self.keyring.judge(&request);
                log(&request, &verdict);
                curve::reply(request.request_id, &verdict)
            }
            Err(error) => {
                warn!("An authentication request is malformed: {error}");
                let id = frames.get(1).map(Vec::as_slice).unwrap_or_default();
                curve::reply(
                    id,
                    &Verdict::Refuse {
                        reason: "Malformed request",
                    },
                )
            }
        };
        // Only a context that ends refuses this.
        if let Err(error) = self.socket.send_multipart(answer, zmq::DONTWAIT) {
            debug!("An authentication answer was not taken: {error}");
        }
        true
    }
}

fn log(request: &ZapRequest<'_>, verdict: &Verdict) {
    match verdict {
        Verdict::Admit { .. } => debug!(
            "Admitted a peer at {}",
            String::from_utf8_lossy(request.address)
        ),
        Verdict::Refuse { reason } => {
            warn!(
                "Refused a peer at {}: {reason}",
                String::from_utf8_lossy(request.address)
            );
        }
    }
}
