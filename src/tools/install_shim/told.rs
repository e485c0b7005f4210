//! Tells the user which programs find a shim, and what to do so that they find it.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use submit_side::versions::candidates;

use super::NAME;
use crate::endpoint_command;

/// Describes which interchange.py a Parsl that is started from here would run. If `wanted` and that
/// is not this shim, also describes how to change it.
pub(super) fn of_parsl(directory: &Path, wanted: bool) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let winner = candidates(&path, NAME).next().map(|(file, _)| file);
    let is_ours = |file: &Path| file.parent().is_some_and(|parent| same(parent, directory));
    let on_path = env::split_paths(&path).any(|entry| same(&entry, directory));
    let mut told = String::new();
    let _ = match &winner {
        None => writeln!(told, "No directory on PATH has an {NAME}."),
        Some(file) if wanted && is_ours(file) => {
            writeln!(
                told,
                "It is the first {NAME} on PATH: every Parsl that you start from this shell runs \
                 it."
            )
        }
        Some(file) if wanted && on_path => writeln!(
            told,
            "{} comes before it on PATH, so Parsl would run that file.",
            file.display()
        ),
        Some(file) => writeln!(told, "With this PATH, Parsl would run {}.", file.display()),
    };
    if wanted && !winner.as_deref().is_some_and(is_ours) {
        let _ = write!(
            told,
            "To use the shim, write this line in the shell or script that starts the program, \
             after an environment is activated:\n    {}\n",
            export(directory)
        );
    }
    told
}

/// Describes how an endpoint finds the shim if it is `wanted`, or else what remains to be done
/// after its removal.
pub(super) fn of_endpoints(directory: &Path, wanted: bool) -> String {
    let name = endpoint_command::NAME;
    let path = env::var_os("PATH").unwrap_or_default();
    let real = endpoint_command::next(&path);
    match (wanted, real) {
        (true, None) => format!(
            "No other {name} is on PATH here, but the shim needs the real one for everything \
             except the interchange. Activate the endpoint's environment and run this command \
             again: it then shows the next step.\n"
        ),
        (true, Some(real)) => format!(
            "For everything except the interchange, the shim runs the next {name} on PATH, which \
             is {} here.\nTo use the shim, put this line into \
             ~/.globus_compute/NAME/user_environment.yaml, replacing any PATH there; it applies to \
             user endpoints that start afterwards:\n    {}\n`htex-interchange doctor \
             ~/.globus_compute/NAME` shows whether it is in effect.\n",
            real.display(),
            environment_line(directory, &path)
        ),
        (false, real) => {
            let found = match real {
                None => format!("No directory on PATH has a {name}."),
                Some(real) => format!("With this PATH, endpoints would run {}.", real.display()),
            };
            format!(
                "{found}\nRemove {} from the PATH in user_environment.yaml, if it is listed.\n",
                directory.display()
            )
        }
    }
}

/// Returns the current PATH with `directory` in front, as a line of YAML. Relative entries are left
/// out, because a user endpoint starts in another directory. Entries that are not valid UTF-8 are
/// left out, because YAML is text.
fn environment_line(directory: &Path, path: &OsStr) -> String {
    let there = env::split_paths(path)
        .filter(|entry| entry.is_absolute() && entry.to_str().is_some() && !same(entry, directory));
    let all: Vec<String> = [directory.to_owned()]
        .into_iter()
        .chain(there)
        .map(|entry| entry.to_string_lossy().into_owned())
        .collect();
    format!("PATH: '{}'", all.join(":").replace('\'', "''"))
}

/// Whether both paths lead to the same directory.
fn same(one: &Path, other: &Path) -> bool {
    let one = fs::canonicalize(if one.as_os_str().is_empty() {
        Path::new(".")
    } else {
        one
    });
    matches!((one, fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// Returns the line for a shell that puts the directory first on PATH.
fn export(directory: &Path) -> String {
    format!("export PATH={}:\"$PATH\"", quoted(directory.as_os_str()))
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%,".contains(c);
    match word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_directory_as_it_is() {
        let line = |text| export(Path::new(text));
        assert_eq!(line("/opt/a-b_c.d"), "export PATH=/opt/a-b_c.d:\"$PATH\"");
        assert_eq!(line("/opt/a b"), "export PATH='/opt/a b':\"$PATH\"");
        assert_eq!(line("/o'p$t"), r#"export PATH='/o'\''p$t':"$PATH""#);
    }

    #[test]
    fn yaml_reads_the_directory_as_it_is() {
        let line = |path| environment_line(Path::new("/o'p #1"), OsStr::new(path));
        assert_eq!(line("/usr/bin:/a b"), "PATH: '/o''p #1:/usr/bin:/a b'");
        assert_eq!(line(""), "PATH: '/o''p #1'");
        assert_eq!(line(".::bin:/bin"), "PATH: '/o''p #1:/bin'");
    }
}
