//! Why bytes are no message.

use pickle::PickleError;

/// Why a message was not understood. The text is for one log line.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a pickle, or one that no unpickler would load.
    #[error("not a readable pickle: {0}")]
    Pickle(#[from] PickleError),
    /// A pickle of something else than the message expected there.
    #[error("{0}")]
    Shape(String),
}

impl Malformed {
    pub(crate) fn shape(text: impl Into<String>) -> Self {
        Self::Shape(text.into())
    }
}
