//! A process's memory map: `/proc/<pid>/maps` names its Python and its packages, even after
//! `setproctitle` has overwritten its command line and environment.
//!
//! Only Linux has this file, and only processes of the same user are readable. Otherwise the result
//! is that nothing is known.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::files::read_text;
use super::layout::{package_in, parsl_in, python_of_name};
use super::python_version::PythonVersion;

/// Longest part of a memory map that is read. A process with 10,000 mappings has a map of 1 MB.
const MAX_MAPS_BYTES: u64 = 16 << 20;

/// Returns the environment of a running process.
pub(super) fn environment_of(pid: u32) -> Environment {
    match read_text(Path::new(&format!("/proc/{pid}/maps")), MAX_MAPS_BYTES) {
        Some(maps) => environment(&Mapped::of(&maps)),
        None => Environment::default(),
    }
}

/// Looks for Parsl beside `zmq`, which every submit process has loaded from the same directory as
/// Parsl. Otherwise looks beside all other packages, where Parsl counts only if all its copies have
/// the same version.
fn environment(mapped: &Mapped<'_>) -> Environment {
    if mapped.python.is_none() {
        // The process does not run Python, so its mapped files are not imported packages.
        return Environment::default();
    }
    let parsl = only(versions(&mapped.zmq_packages));
    let parsl = parsl.or_else(|| only(versions(&mapped.packages)));
    let (parsl, package) = parsl.unzip();
    Environment {
        python: mapped.python,
        parsl,
        package,
    }
}

/// Returns each version of Parsl once, with one directory that holds it.
fn versions(directories: &[&str]) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = directories
        .iter()
        .map(Path::new)
        .filter_map(|at| Some((parsl_in(at)?, package_in(at))))
        .collect();
    found.sort();
    found.dedup_by(|(one, _), (other, _)| one == other);
    found
}

fn only<T>(mut values: Vec<T>) -> Option<T> {
    if values.len() == 1 {
        values.pop()
    } else {
        None
    }
}

/// The Python and the package directories that the names of mapped files show.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapped<'a> {
    /// The version of Python; None also if the file names disagree.
    python: Option<PythonVersion>,
    /// Directories of packages that `zmq` was loaded from.
    zmq_packages: Vec<&'a str>,
    /// Directories of packages that any package was loaded from.
    packages: Vec<&'a str>,
}

impl<'a> Mapped<'a> {
    fn of(maps: &'a str) -> Self {
        let mut mapped = Self::default();
        let mut pythons = Vec::new();
        for path in maps.lines().filter_map(path_in_line) {
            if let Some(python) = python_of_file(path.rsplit('/').next().unwrap_or(path)) {
                add(&mut pythons, python);
            }
            if let Some((packages, inside)) = split_at_packages(path) {
                add(&mut mapped.packages, packages);
                if inside.starts_with("zmq/") || inside.starts_with("pyzmq.libs/") {
                    add(&mut mapped.zmq_packages, packages);
                }
            }
        }
        mapped.python = only(pythons);
        mapped
    }
}

fn add<T: PartialEq>(set: &mut Vec<T>, value: T) {
    if !set.contains(&value) {
        set.push(value);
    }
}

/// Returns the path in the last column; the columns before it contain no slash.
fn path_in_line(line: &str) -> Option<&str> {
    let path = &line[line.find('/')?..];
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}

/// Reads Python's version from the name of an interpreter, its library, or an extension that is
/// built for one version only.
fn python_of_file(name: &str) -> Option<PythonVersion> {
    if let Some((_, tag)) = name.split_once(".cpython-3") {
        let minor = tag.split(|c: char| !c.is_ascii_digit()).next()?;
        return Some(PythonVersion {
            major: 3,
            minor: minor.parse().ok()?,
        });
    }
    match name.strip_prefix("lib") {
        Some(library) => python_of_name(library.split_once(".so")?.0),
        None => python_of_name(name),
    }
}

fn split_at_packages(path: &str) -> Option<(&str, &str)> {
    let (at, mark) = ["/site-packages/", "/dist-packages/"]
        .into_iter()
        .find_map(|mark| path.find(mark).map(|at| (at, mark)))?;
    let end = at + mark.len();
    Some((&path[..end - 1], &path[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submit_process_shows_its_python_and_its_packages() {
        let maps = "\
55d0c0a5a000-55d0c0a5b000 r-xp 00001000 fe:01 131 /opt/py/bin/python3.11
7f2b1c000000-7f2b1c021000 rw-p 00000000 00:00 0 
7f2b20000000-7f2b20100000 r-xp 00000000 fe:01 7 /opt/py/lib/libpython3.11.so.1.0
7f2b20200000-7f2b20300000 r--p 00000000 fe:01 8 /v e/lib/python3.11/site-packages/a/_x.abi3.so
7f2b20400000-7f2b20500000 r--p 00000000 fe:01 9 \
/v e/lib/python3.11/site-packages/zmq/backend/cython/_zmq.cpython-311-x86_64-linux-gnu.so (deleted)
7ffd2a9e0000-7ffd2aa01000 rw-p 00000000 00:00 0 [stack]
";
        let packages = vec!["/v e/lib/python3.11/site-packages"];
        assert_eq!(
            Mapped::of(maps),
            Mapped {
                python: python(11),
                zmq_packages: packages.clone(),
                packages
            }
        );
    }

    #[test]
    fn two_pythons_or_none_mean_unknown() {
        let line = |path| format!("7f00-7f01 r-xp 00000000 fe:01 7 {path}\n");
        let two = line("/a/_x.cpython-39-x86_64-linux-gnu.so") + &line("/lib/libpython3.11.so.1.0");
        assert_eq!(Mapped::of(&two).python, None);
        assert_eq!(Mapped::of(&line("/bin/bash")), Mapped::default());
        assert_eq!(Mapped::of("no columns at all\n\n/"), Mapped::default());
    }

    #[test]
    fn packages_of_other_programs_do_not_count() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("parsl")).unwrap();
        std::fs::write(dir.path().join("parsl/version.py"), "VERSION = '1'").unwrap();
        let packages = vec![dir.path().to_str().unwrap()];
        let mut mapped = Mapped {
            python: None,
            zmq_packages: Vec::new(),
            packages,
        };
        assert_eq!(environment(&mapped), Environment::default());
        mapped.python = python(11);
        assert_eq!(environment(&mapped).parsl.as_deref(), Some("1"));
    }

    #[test]
    fn names_of_mapped_files() {
        for (name, found) in [
            ("_x.cpython-39-x86_64-linux-gnu.so", python(9)),
            ("_x.cpython-313t-x86_64-linux-gnu.so", python(13)),
            ("libpython3.12.so.1.0", python(12)),
            ("libpython3.so", None),
            ("python3.10", python(10)),
            ("python3", None),
            ("_zmq.abi3.so", None),
            ("_x.cpython-3.so", None),
            ("libc.so.6", None),
        ] {
            assert_eq!(python_of_file(name), found, "{name}");
        }
    }

    fn python(minor: u16) -> Option<PythonVersion> {
        Some(PythonVersion { major: 3, minor })
    }
}
