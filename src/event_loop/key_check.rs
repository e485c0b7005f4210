//! Checks the keys of peers, as the ZAP handler of ZMQ RFC 27. libzmq asks over an inproc socket
//! whether a CURVE key is known, and continues the handshake when it has the answer.

use std::cell::Cell;
use std::io;

use tracing::debug;
use zmq::{Context, Socket};

use super::zmq_calls;
use submit_side::curve::{self, Certificates, Keyring, Verdict, ZapRequest};

/// The endpoint of the ZAP handler, fixed by ZMQ RFC 27.
const ENDPOINT: &str = "inproc://zeromq.zap.01";

pub(super) struct KeyCheck {
    socket: Socket,
    keyring: Keyring,
    /// False once no request was left, until the socket's descriptor is readable again.
    may_have_more: Cell<bool>,
}

impl KeyCheck {
    /// Opens the handler. Must be called before any CURVE socket is opened.
    pub(super) fn open(context: &Context, keyring: Keyring) -> io::Result<Self> {
        let mut socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        zmq_calls::bind(&mut socket, ENDPOINT)?;
        Ok(Self {
            socket,
            keyring,
            may_have_more: Cell::new(true),
        })
    }

    /// Opens the handler if there are certificates; without certificates no keys are in use.
    pub(super) fn open_if_encrypted(
        context: &Context,
        certificates: Option<&Certificates>,
    ) -> io::Result<Option<Self>> {
        certificates
            .map(|certificates| Self::open(context, certificates.keyring().clone()))
            .transpose()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Notes that the socket's descriptor was readable.
    pub(super) fn note_wake_up(&self) {
        self.may_have_more.set(true);
    }

    pub(super) fn may_have_more(&self) -> bool {
        self.may_have_more.get()
    }

    /// Answers one request; false if there was none. `may_say` decides, by the address of a refused
    /// peer, whether to log the refusal.
    pub(super) fn answer_one(&self, may_say: impl FnOnce(&[u8]) -> bool) -> bool {
        let Ok(frames) = self.socket.recv_multipart(zmq::DONTWAIT) else {
            self.may_have_more.set(false);
            return false;
        };
        let answer = match curve::parse(&frames) {
            Ok(request) => {
                let verdict = self.keyring.judge(&request);
                log(&request, &verdict, may_say);
                curve::reply(request.request_id, &verdict)
            }
            Err(error) => {
                codes::log!(
                    AUTH_MALFORMED,
                    "An authentication request is malformed: {error}"
                );
                let id = frames.get(1).map(Vec::as_slice).unwrap_or_default();
                curve::reply(
                    id,
                    &Verdict::Refuse {
                        reason: "Malformed request",
                    },
                )
            }
        };
        // Only a context that is being terminated refuses this.
        if let Err(error) = self.socket.send_multipart(answer, zmq::DONTWAIT) {
            debug!("Could not send the answer to an authentication request: {error}");
        }
        true
    }
}

fn log(request: &ZapRequest<'_>, verdict: &Verdict, may_say: impl FnOnce(&[u8]) -> bool) {
    match verdict {
        Verdict::Admit { .. } => debug!(
            "Admitted a peer at {}",
            String::from_utf8_lossy(request.address)
        ),
        Verdict::Refuse { .. } if !may_say(request.address) => {}
        Verdict::Refuse { reason } => {
            codes::log!(
                PEER_REFUSED,
                "Refused a peer at {}: {reason}",
                String::from_utf8_lossy(request.address)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::IpAddr;
    use std::os::unix::fs::PermissionsExt;

    use zmq::CurveKeyPair;

    use super::*;
    use crate::sockets;
    use submit_side::config::PortChoice;

    /// How long an admitted peer may take to connect, and how long a refused peer is allowed to
    /// try.
    const WITHIN_MS: i64 = 3_000;
    const IN_VAIN_MS: i64 = 700;

    struct Keys {
        directory: tempfile::TempDir,
        server: CurveKeyPair,
        client: CurveKeyPair,
    }

    #[test]
    fn without_a_zap_handler_no_peer_is_admitted() {
        let keys = make_keys();
        let context = Context::new();
        let certificates = Certificates::load(keys.directory.path()).unwrap();
        let mut workers = sockets::open_workers(&context, Some(&certificates)).unwrap();
        let port = bind(workers.socket_mut());
        let _peer = greet(&Context::new(), port, &keys.server, &keys.client);
        assert_eq!(
            workers.poll(zmq::POLLIN, IN_VAIN_MS),
            Ok(0),
            "an unasked peer got in"
        );
    }

    #[test]
    fn with_a_zap_handler_only_the_known_key_is_admitted() {
        let keys = make_keys();
        let context = Context::new();
        let certificates = Certificates::load(keys.directory.path()).unwrap();
        let key_check = KeyCheck::open(&context, certificates.keyring().clone()).unwrap();
        let mut workers = sockets::open_workers(&context, Some(&certificates)).unwrap();
        let port = bind(workers.socket_mut());
        let outside = Context::new();
        let stranger = CurveKeyPair::new().unwrap();
        let _stranger = greet(&outside, port, &keys.server, &stranger);
        assert_eq!(key_check.socket().poll(zmq::POLLIN, WITHIN_MS), Ok(1));
        assert!(key_check.answer_one(|_| true));
        assert_eq!(
            workers.poll(zmq::POLLIN, IN_VAIN_MS),
            Ok(0),
            "a stranger got in"
        );
        let _known = greet(&outside, port, &keys.server, &keys.client);
        while workers.poll(zmq::POLLIN, 20) == Ok(0) {
            key_check.answer_one(|_| true);
        }
        assert_eq!(workers.recv_multipart(0).unwrap()[1], b"hello");
    }

    fn make_keys() -> Keys {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let (server, client) = (CurveKeyPair::new().unwrap(), CurveKeyPair::new().unwrap());
        for (name, pair) in [("server", &server), ("client", &client)] {
            let public = zmq::z85_encode(&pair.public_key).unwrap();
            let secret = zmq::z85_encode(&pair.secret_key).unwrap();
            let public = format!("curve\n    public-key = \"{public}\"\n");
            let both = format!("{public}    secret-key = \"{secret}\"\n");
            fs::write(directory.path().join(format!("{name}.key")), public).unwrap();
            fs::write(directory.path().join(format!("{name}.key_secret")), both).unwrap();
        }
        Keys {
            directory,
            server,
            client,
        }
    }

    fn bind(workers: &mut Socket) -> u16 {
        let any = PortChoice::Range {
            first: 49_152,
            end: 65_536,
        };
        let address = IpAddr::from([127, 0, 0, 1]).into();
        sockets::bind_workers(workers, Some(&address), any, false)
            .unwrap()
            .0
    }

    fn greet(context: &Context, port: u16, server: &CurveKeyPair, client: &CurveKeyPair) -> Socket {
        let socket = context.socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_curve_serverkey(&server.public_key).unwrap();
        socket.set_curve_publickey(&client.public_key).unwrap();
        socket.set_curve_secretkey(&client.secret_key).unwrap();
        socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        socket.send("hello", 0).unwrap();
        socket
    }
}
