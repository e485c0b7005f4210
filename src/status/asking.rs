//! What is asked by way of the status socket, and where that socket is.
//!
//! One request a connection: a line of JSON. One answer: a JSON object, and the connection closes.

use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Names another directory for the sockets, in place of the usual ones.
pub const DIRECTORY_VARIABLE: &str = "HTEX_INTERCHANGE_STATUS_DIR";

/// What every socket's name ends with.
pub const SOCKET_SUFFIX: &str = ".sock";

/// A longer request is none.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// What may be asked: `{"ask": "status"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// Answered with a [`super::document::Document`].
    Status,
    /// Sends nothing more to a manager. Answered with a [`Held`].
    Hold {
        /// Its [`id`](super::document::Manager::id).
        manager: String,
    },
}

/// What came of [`Request::Hold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// False: no such manager is registered.
    pub held: bool,
}

/// What is answered to anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in one line.
    pub error: String,
}

/// Where sockets may be, the first choice first. Not in the log's directory: that is often on a
/// network file system, where a socket would be of no use, and longer than a socket's name may be.
/// Nor first in the session's runtime directory, which goes with the user's last login.
pub fn directories(uid: u32) -> Vec<PathBuf> {
    if let Some(named) = env::var_os(DIRECTORY_VARIABLE).filter(|named| !named.is_empty()) {
        return vec![PathBuf::from(named)];
    }
    let common = PathBuf::from(format!("/tmp/htex-interchange-{uid}"));
    let session = env::var_os("XDG_RUNTIME_DIR").filter(|named| !named.is_empty());
    let session = session.map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    vec![common, session.join("htex-interchange")]
}
