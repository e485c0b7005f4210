//! A service beside the tasks, as the document tells of it.

use serde::{Deserialize, Serialize};

/// A service beside the tasks that was asked for. The run goes on without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideService {
    /// An address or a path, as it was asked for.
    pub asked_for: String,
    /// Where it is: a URL or a path. None if it could not be begun.
    pub at: Option<String>,
    /// Why it is not there, or not as it was asked for. None if all is well.
    pub trouble: Option<String>,
}
