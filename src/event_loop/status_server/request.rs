//! The requests of clients, and how a line at the status socket encodes them.

use status::asking::{Refusal, Request};

/// A client's request.
pub(super) enum ClientRequest {
    /// A request at the status socket.
    StatusSocket(Request),
    /// A request for the page of metrics, over HTTP.
    Metrics,
    /// A request that is not served, with the answer to it.
    NotServed(Vec<u8>),
}

/// Reads a request; None until the line is complete.
pub(super) fn read_line(said: &[u8]) -> Option<ClientRequest> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    Some(match serde_json::from_slice(&said[..end]) {
        Ok(request) => ClientRequest::StatusSocket(request),
        Err(error) => ClientRequest::NotServed(json(&Refusal {
            error: format!("unreadable request: {error}"),
        })),
    })
}

/// Encodes an answer of the status socket.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        debug_assert!(false, "texts and numbers are always JSON: {error}");
        Vec::new()
    })
}
