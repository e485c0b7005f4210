//! The errors in messages.

use pickle::PickleError;

/// The reason why a message was not understood. The text fits in a log line.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a pickle, or a pickle that no unpickler would load.
    #[error("not a readable pickle: {0}")]
    Pickle(#[from] PickleError),
    /// A pickle of something other than the expected message.
    #[error("{0}")]
    Shape(String),
}

impl Malformed {
    pub(crate) fn shape(text: impl Into<String>) -> Self {
        Self::Shape(text.into())
    }
}
