//! ZAP (ZMQ RFC 27): libzmq asks who a peer is, and waits for the answer.
//!
//! The frames here begin with the version; what envelope is around them is the socket's affair.

use super::keys::{Keyring, PublicKey};

const VERSION: &[u8] = b"1.0";

/// What libzmq says about a peer that is shaking hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZapRequest<'a> {
    /// Comes back in the reply.
    pub request_id: &'a [u8],
    /// The domain of the socket that the peer came to.
    pub domain: &'a [u8],
    /// The peer's address, without its port.
    pub address: &'a [u8],
    /// The peer's routing id, which it may choose as it likes.
    pub identity: &'a [u8],
    /// What the peer shows for itself.
    pub credential: Credential<'a>,
}

/// What a peer shows for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// CURVE, with a key that the handshake has proved to be the peer's.
    Curve(&'a [u8; 32]),
    /// CURVE, with something that is no key.
    NoKey,
    /// Another mechanism: we offer none.
    Other,
}

/// Frames that are no request of ZAP; there is nobody to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Six are the least.
    #[error("a ZAP request has 6 frames or more, not {0}")]
    TooFewFrames(usize),
    /// The version is not 1.0.
    #[error("a ZAP request of another version than 1.0")]
    Version,
}

/// Reads a request's frames, from the version on.
///
/// # Errors
/// [`BadRequest`] if they are none. libzmq's own are always well formed.
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

/// Whether a peer may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Admit {
        /// Its key in Z85, as pyzmq has it; libzmq hands it on as `User-Id`.
        user_id: String,
    },
    /// It may not.
    Refuse {
        /// For logs; a peer is not told.
        reason: &'static str,
    },
}

impl Keyring {
    /// Judges a request: CURVE with a key of this ring, whatever domain and address.
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

/// The frames of a reply, from the version on: version, request id, status code, status text,
/// user id, metadata.
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
        // Properties that libzmq would attach to each message of the peer; nobody reads any.
        Vec::new(),
    ]
}
