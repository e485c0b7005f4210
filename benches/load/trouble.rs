//! The reasons why a run has no result.

use std::fmt;

/// An error that ends the run. This program exists to find violations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The interchange broke a rule.
    Violation(String),
    /// A problem that prevents the measurement.
    Failure(String),
}

pub(crate) type Outcome<T> = Result<T, Trouble>;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(text) => write!(f, "violation: {text}"),
            Self::Failure(text) => write!(f, "cannot measure: {text}"),
        }
    }
}

impl From<zmq::Error> for Trouble {
    fn from(error: zmq::Error) -> Self {
        Self::Failure(format!("libzmq: {error}"))
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failure(error.to_string())
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl From<nix::errno::Errno> for Trouble {
    fn from(error: nix::errno::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

pub(crate) fn violation<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Trouble::Violation(text.into()))
}

pub(crate) fn failure<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Trouble::Failure(text.into()))
}
