//! What a client asks for, and how a line of the status socket says it.

use status::asking::{Refusal, Request};

/// What a client asks for.
pub(super) enum ClientRequest {
    /// By the status socket.
    StatusSocket(Request),
    /// The page of metrics, by HTTP.
    Metrics,
    /// Something that is not served, and the answer to that.
    NotServed(Vec<u8>),
}

/// None until the line is whole.
pub(super) fn read_line(said: &[u8]) -> Option<ClientRequest> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    Some(match serde_json::from_slice(&said[..end]) {
        Ok(request) => ClientRequest::StatusSocket(request),
        Err(error) => ClientRequest::NotServed(json(&Refusal {
            error: format!("unreadable request: {error}"),
        })),
    })
}

/// An answer of the status socket.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        debug_assert!(false, "texts and numbers are always JSON: {error}");
        Vec::new()
    })
}
