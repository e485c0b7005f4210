//! A Python environment: a version of Python and the Parsl that is installed for it.

use std::path::PathBuf;

use super::python_version::PythonVersion;

/// The versions that one source of the search shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) python: Option<PythonVersion>,
    pub(super) parsl: Option<String>,
    /// The directory of Parsl's modules.
    pub(super) package: Option<PathBuf>,
}
