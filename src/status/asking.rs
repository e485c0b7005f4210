//! The requests on the status socket, and the location of that socket.
//!
//! A connection carries one request, a line of JSON. The answer is a JSON object, and then the
//! connection closes.

use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The environment variable that names another directory for the sockets, in place of the usual
/// ones.
pub const DIRECTORY_VARIABLE: &str = "HTEX_INTERCHANGE_STATUS_DIR";

/// The suffix of every socket's name.
pub const SOCKET_SUFFIX: &str = ".sock";

/// Maximum length of a request.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// A request, such as `{"ask": "status"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Request {
    /// Requests the status. The answer is a [`super::document::Document`].
    Status,
    /// Holds a manager, which then gets no more tasks. The answer is a [`Held`].
    Hold {
        /// The manager's [`id`](super::document::Manager::id).
        manager: String,
    },
}

/// The answer to [`Request::Hold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// False if no such manager is registered.
    pub held: bool,
}

/// The answer to anything that is not a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason, in one line.
    pub error: String,
}

/// Returns the directories in which sockets may be, in order of preference. The log directory is
/// not among them: it is often on a network file system, where a socket would not work, and its
/// path may be longer than a socket's name may be. The session's runtime directory is not the first
/// choice, because it is removed when the user's last login ends.
pub fn directories(uid: u32) -> Vec<PathBuf> {
    if let Some(named) = env::var_os(DIRECTORY_VARIABLE).filter(|named| !named.is_empty()) {
        return vec![PathBuf::from(named)];
    }
    let common = PathBuf::from(format!("/tmp/htex-interchange-{uid}"));
    let session = env::var_os("XDG_RUNTIME_DIR").filter(|named| !named.is_empty());
    let session = session.map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    vec![common, session.join("htex-interchange")]
}
