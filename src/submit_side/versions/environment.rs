//! A Python and a Parsl that go together, as one place shows them.

use std::path::PathBuf;

use super::python_version::PythonVersion;

/// What one place says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) python: Option<PythonVersion>,
    pub(super) parsl: Option<String>,
    /// Parsl's directory of modules.
    pub(super) package: Option<PathBuf>,
}
