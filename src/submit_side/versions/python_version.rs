//! Python's version, as far as it has to agree.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The part of Python's version that has to agree: pickled code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonVersion {
    /// 3.
    pub major: u16,
    /// 11, in 3.11.7.
    pub minor: u16,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Not a version of Python.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Python version looks like 3.11")]
pub struct BadPythonVersion;

impl From<ParseIntError> for BadPythonVersion {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

/// Takes `3.11`, and `3.11.7` or `3.14.0rc1` as well.
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
