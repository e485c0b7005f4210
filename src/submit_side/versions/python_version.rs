//! The part of Python's version on which the submit side and the managers must agree.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The part of Python's version that must agree, because pickled code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonVersion {
    /// The major version: 3.
    pub major: u16,
    /// The minor version, such as 11 in 3.11.7.
    pub minor: u16,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not a version of Python.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Python version looks like 3.11")]
pub struct BadPythonVersion;

impl From<ParseIntError> for BadPythonVersion {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

/// Parses `3.11`, and also `3.11.7` or `3.14.0rc1`.
impl FromStr for PythonVersion {
    type Err = BadPythonVersion;

    fn from_str(text: &str) -> Result<Self, BadPythonVersion> {
        let (major, rest) = text.split_once('.').ok_or(BadPythonVersion)?;
        let minor = rest.split_once('.').map_or(rest, |(minor, _)| minor);
        Ok(Self {
            major: major.parse()?,
            minor: minor.parse()?,
        })
    }
}
