//! What `--version --verbose` prints: what this binary was built from and what it contains.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use super::exit;

/// Whether the arguments ask for more than the version: clap stops at `--version`, whatever else
/// the command line says.
pub(crate) fn is_asked(error: &clap::Error, mut arguments: impl Iterator<Item = OsString>) -> bool {
    error.kind() == ErrorKind::DisplayVersion && arguments.any(|word| word == "--verbose")
}

/// Prints one line, `name: value`, for each part.
pub(crate) fn print_all() -> ExitCode {
    let lines = parts().map(|(name, value)| format!("{name}: {value}\n"));
    match io::stdout().write_all(lines.concat().as_bytes()) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(_) => ExitCode::from(exit::REFUSED),
    }
}

/// The linked libraries report their versions themselves; the build script records the rest.
fn parts() -> [(&'static str, String); 9] {
    let linked = event_loop::linked_libraries();
    let (major, minor, patch) = linked.libzmq;
    let curve = if linked.has_curve { "yes" } else { "no" };
    [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("commit", env!("HTEX_BUILD_COMMIT").to_owned()),
        ("target", env!("HTEX_BUILD_TARGET").to_owned()),
        ("rustc", env!("HTEX_BUILD_RUSTC").to_owned()),
        ("libzmq", format!("{major}.{minor}.{patch}")),
        ("curve", curve.to_owned()),
        ("libsodium", linked.libsodium),
        ("features", env!("HTEX_BUILD_FEATURES").to_owned()),
        ("profile", env!("HTEX_BUILD_PROFILE").to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use htex_interchange::cli::Arguments;

    use super::*;

    fn asked(words: &[&str]) -> Option<bool> {
        let all = ["htex-interchange"].iter().chain(words);
        let error = Arguments::try_parse_from(all.clone()).err()?;
        Some(is_asked(&error, all.map(OsString::from)))
    }

    #[test]
    fn verbose_goes_with_version_in_any_order() {
        assert_eq!(asked(&["--version", "--verbose"]), Some(true));
        assert_eq!(asked(&["--verbose", "--version"]), Some(true));
        assert_eq!(asked(&["-V", "--verbose"]), Some(true));
        assert_eq!(asked(&["--version"]), Some(false));
        assert_eq!(asked(&["--verbose"]), Some(false));
        assert_eq!(asked(&["--verbose", "--help"]), Some(false));
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn verbose_alone_says_what_it_lacks() {
        let error = Arguments::try_parse_from(["htex-interchange", "--verbose"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--version"), "{error}");
    }
}
