//! Finds the Pythons that a tool may run if the user names none.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use submit_side::versions::{self, Hints, candidates};

/// Returns the submit side's Python. The search is that of the interchange, but without a submit
/// process to start from.
pub(crate) fn of_submit_side() -> Option<PathBuf> {
    versions::python(&Hints {
        python_flag: None,
        parsl_flag: None,
        starter_pid: None,
        path: env::var_os("PATH").unwrap_or_default(),
        own_exe: env::current_exe().unwrap_or_default(),
    })
}

/// Returns all Pythons that may have the package htex_interchange, the likeliest first: the one
/// beside this program, because a wheel puts both into one directory; the submit side's; those on
/// PATH.
pub(crate) fn all() -> Vec<PathBuf> {
    let own = env::current_exe().unwrap_or_default();
    let own = own.parent().unwrap_or(Path::new(""));
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = pythons_in(own.as_os_str());
    let on_path = pythons_in(&path);
    let mut all: Vec<PathBuf> = Vec::new();
    for python in beside.chain(of_submit_side()).chain(on_path) {
        if !all.contains(&python) {
            all.push(python);
        }
    }
    all
}

/// Returns the first program of each name on `path`.
fn pythons_in(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let names = ["python3", "python"];
    names
        .into_iter()
        .filter_map(move |name| candidates(path, name).next().map(|(file, _)| file))
}
