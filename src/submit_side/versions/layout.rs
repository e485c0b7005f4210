//! The layout of an environment with Parsl:
//! `<prefix>/lib/python3.11/site-packages/parsl/version.py`.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::files::read_text;
use super::python_version::PythonVersion;

/// Longest part of a `version.py` that is read; the real file has eight lines.
const MAX_VERSION_FILE_BYTES: u64 = 64 << 10;
/// Longest version that is accepted, because versions appear in log lines and replies.
const MAX_VERSION_BYTES: usize = 64;

/// Returns the prefix of an environment, given a file in its `bin`.
pub(super) fn prefix_of(executable: &Path) -> Option<PathBuf> {
    // `..` lets the file system resolve the directory, which may be a link.
    executable.parent().map(|bin| bin.join(".."))
}

/// Returns every Python with a Parsl under a prefix, without duplicates.
pub(super) fn environments_under(prefix: &Path) -> Vec<Environment> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(python) = name.to_str().and_then(python_of_name) else {
            continue;
        };
        for packages in ["site-packages", "dist-packages"] {
            let packages = entry.path().join(packages);
            let Some(parsl) = parsl_in(&packages) else {
                continue;
            };
            let is_new = |found: &[Environment]| {
                let known = (Some(python), Some(&parsl));
                !found
                    .iter()
                    .any(|it| (it.python, it.parsl.as_ref()) == known)
            };
            if is_new(&found) {
                found.push(Environment {
                    python: Some(python),
                    parsl: Some(parsl),
                    package: Some(package_in(&packages)),
                });
            }
        }
    }
    found
}

/// Returns the version of the Parsl in a directory of packages.
pub(super) fn parsl_in(packages: &Path) -> Option<String> {
    version_in_file(&package_in(packages).join("version.py"))
}

/// Returns the path of Parsl's directory among the packages.
pub(super) fn package_in(packages: &Path) -> PathBuf {
    packages.join("parsl")
}

/// Reads the version from a `version.py`.
pub(super) fn version_in_file(file: &Path) -> Option<String> {
    version_in(&read_text(file, MAX_VERSION_FILE_BYTES)?)
}

/// Parses the name of a directory or interpreter such as `python3.11`.
pub(super) fn python_of_name(name: &str) -> Option<PythonVersion> {
    let minor = name.strip_prefix("python3.")?;
    // The suffix `t` marks a build without the global interpreter lock.
    let minor = minor.strip_suffix('t').unwrap_or(minor).parse().ok()?;
    Some(PythonVersion { major: 3, minor })
}

/// Reads a line such as `VERSION = '2026.10.05'` without running it. The last such line counts, as
/// in Python.
fn version_in(source: &str) -> Option<String> {
    source
        .lines()
        .filter_map(version_in_line)
        .next_back()
        .map(str::to_owned)
}

fn version_in_line(line: &str) -> Option<&str> {
    let value = line.strip_prefix("VERSION")?.trim_start();
    let value = value.strip_prefix(": str").unwrap_or(value).trim_start();
    let value = value.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (version, _) = value[1..].split_once(quote)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+!-".contains(c);
    let credible = !version.is_empty() && version.len() <= MAX_VERSION_BYTES;
    (credible && version.chars().all(plain)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_kept_to_the_letter() {
        for (source, version) in [
            (
                "\"\"\"Set module version.\n\"\"\"\nVERSION = '2026.10.05'\n",
                Some("2026.10.05"),
            ),
            ("VERSION=\"1.3.0-dev\"  # and more", Some("1.3.0-dev")),
            ("VERSION: str = '2024.12.10a0'\r\n", Some("2024.12.10a0")),
            ("VERSION = '1'\nVERSION = '2'\n", Some("2")),
            ("# VERSION = '1'\n  VERSION = '2'\nVERSIONS = '3'", None),
            ("VERSION = ''", None),
            ("VERSION = '1", None),
            ("VERSION = \"1'", None),
            ("VERSION = f'{x}'", None),
            ("VERSION = '{x}\\n'", None),
            ("VERSION == '1'", None),
            ("", None),
        ] {
            assert_eq!(version_in(source).as_deref(), version, "{source:?}");
        }
        assert_eq!(version_in(&format!("VERSION = '{}'", "1".repeat(65))), None);
    }

    #[test]
    fn names_of_pythons() {
        let python = |minor| Some(PythonVersion { major: 3, minor });
        assert_eq!(python_of_name("python3.9"), python(9));
        assert_eq!(python_of_name("python3.13t"), python(13));
        for name in [
            "python3",
            "python3.",
            "python3.11d",
            "python3.x",
            "pypy3.10",
            "python2.7",
        ] {
            assert_eq!(python_of_name(name), None, "{name}");
        }
    }
}
