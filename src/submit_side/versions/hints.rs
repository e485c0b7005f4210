//! What the search for versions starts from.

use std::ffi::OsString;
use std::path::PathBuf;

use super::python_version::PythonVersion;

/// What the search may go by.
#[derive(Clone, Debug)]
pub struct Hints {
    /// `--python-version`.
    pub python_flag: Option<PythonVersion>,
    /// `--parsl-version`: exactly `parsl.version.VERSION`.
    pub parsl_flag: Option<String>,
    /// The submit process, or whoever started us if it cannot be seen.
    pub starter_pid: Option<u32>,
    /// `PATH`, on which stock would find `interchange.py`.
    pub path: OsString,
    /// This program's file, links resolved.
    pub own_exe: PathBuf,
}
