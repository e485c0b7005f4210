//! The inputs of the search for versions.

use std::ffi::OsString;
use std::path::PathBuf;

use super::python_version::PythonVersion;

/// The inputs of the search for versions.
#[derive(Clone, Debug)]
pub struct Hints {
    /// The flag `--python-version`.
    pub python_flag: Option<PythonVersion>,
    /// The flag `--parsl-version`: exactly `parsl.version.VERSION`.
    pub parsl_flag: Option<String>,
    /// The submit process, or the process that started this program if the submit process is
    /// hidden.
    pub starter_pid: Option<u32>,
    /// `PATH`, on which the stock interchange's `interchange.py` would be found.
    pub path: OsString,
    /// This program's file, with links resolved.
    pub own_exe: PathBuf,
}
