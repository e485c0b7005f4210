//! The state of an optional service in the document.

use serde::{Deserialize, Serialize};

/// An optional service that was requested. The run continues if the service fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideService {
    /// The address or path, as requested.
    pub asked_for: String,
    /// The actual location: a URL or a path. None if the service could not start.
    pub at: Option<String>,
    /// Why the service is missing or differs from the request. None if it works as requested.
    pub trouble: Option<String>,
}
