//! ZAP (ZMQ RFC 27): libzmq asks whether a peer may connect, and waits for the reply.
//!
//! The frames here begin with the version. The code around the socket handles the envelope before
//! them.

use super::keys::{Keyring, PublicKey};

const VERSION: &[u8] = b"1.0";

/// libzmq's description of a peer during the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZapRequest<'a> {
    /// The request's id, which the reply repeats.
    pub request_id: &'a [u8],
    /// The ZAP domain of the socket that the peer connects to.
    pub domain: &'a [u8],
    /// The peer's address, without its port.
    pub address: &'a [u8],
    /// The peer's routing id, which the peer chooses freely.
    pub identity: &'a [u8],
    /// The credential that the peer presents.
    pub credential: Credential<'a>,
}

/// The credential that a peer presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// CURVE, with a key that the handshake has proved to belong to the peer.
    Curve(&'a [u8; 32]),
    /// CURVE, with credentials that are not one key of 32 bytes.
    NoKey,
    /// Another mechanism; this program offers CURVE only.
    Other,
}

/// Why frames are not a ZAP request. Such frames get no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The message has fewer than six frames.
    #[error("a ZAP request has 6 frames or more, not {0}")]
    TooFewFrames(usize),
    /// The version is not 1.0.
    #[error("a ZAP request of another version than 1.0")]
    Version,
}

/// Parses the frames of a request, beginning with the version.
///
/// # Errors
/// [`BadRequest`] if the frames are not a ZAP request. libzmq's requests are always well formed.
pub fn parse<F: AsRef<[u8]>>(frames: &[F]) -> Result<ZapRequest<'_>, BadRequest> {
    let [
        version,
        request_id,
        domain,
        address,
        identity,
        mechanism,
        credentials @ ..,
    ] = frames
    else {
        return Err(BadRequest::TooFewFrames(frames.len()));
    };
    if version.as_ref() != VERSION {
        return Err(BadRequest::Version);
    }
    Ok(ZapRequest {
        request_id: request_id.as_ref(),
        domain: domain.as_ref(),
        address: address.as_ref(),
        identity: identity.as_ref(),
        credential: credential(mechanism.as_ref(), credentials),
    })
}

fn credential<'a, F: AsRef<[u8]>>(mechanism: &[u8], credentials: &'a [F]) -> Credential<'a> {
    match (mechanism, credentials) {
        (b"CURVE", [key]) => match key.as_ref().try_into() {
            Ok(key) => Credential::Curve(key),
            Err(_) => Credential::NoKey,
        },
        (b"CURVE", _) => Credential::NoKey,
        _ => Credential::Other,
    }
}

/// The decision whether a peer may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer may connect.
    Admit {
        /// The peer's key in Z85, as pyzmq reports it; libzmq attaches it to messages as `User-Id`.
        user_id: String,
    },
    /// The peer is refused.
    Refuse {
        /// The reason for the log; the peer does not receive it.
        reason: &'static str,
    },
}

impl Keyring {
    /// Decides on a request: admits CURVE with a key of this ring, for every domain and address.
    #[must_use]
    pub fn judge(&self, request: &ZapRequest<'_>) -> Verdict {
        match request.credential {
            Credential::Curve(key) if self.admits(key) => Verdict::Admit {
                user_id: PublicKey::from(*key).to_z85(),
            },
            Credential::Curve(_) => Verdict::Refuse {
                reason: "Unknown key",
            },
            Credential::NoKey => Verdict::Refuse {
                reason: "Invalid credentials",
            },
            Credential::Other => Verdict::Refuse {
                reason: "Not CURVE",
            },
        }
    }
}

/// Builds the frames of a reply, beginning with the version: version, request id, status code,
/// status text, user id, metadata.
#[must_use]
pub fn reply(request_id: &[u8], verdict: &Verdict) -> [Vec<u8>; 6] {
    let (code, text, user_id) = match verdict {
        Verdict::Admit { user_id } => ("200", "OK", user_id.as_str()),
        Verdict::Refuse { reason } => ("400", *reason, ""),
    };
    [
        VERSION.to_vec(),
        request_id.to_vec(),
        code.into(),
        text.into(),
        user_id.into(),
        // Metadata that libzmq would attach to each message of the peer; no code reads any.
        Vec::new(),
    ]
}
