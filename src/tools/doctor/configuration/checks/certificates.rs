//! Encryption: whether Python supports it, and whether an existing directory of keys can be used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::doctor::configuration::description::{Executor, SetUp};
use crate::shared::finding::Finding;
use crate::shared::words::shell_word;
use submit_side::curve::{CertificateError, Certificates, Problem};

pub(in crate::doctor) fn encryption(executor: &Executor, set_up: &SetUp) -> Vec<Finding> {
    if executor.encrypted != Some(true) {
        let left = executor.cert_dir.as_deref().map(|cert_dir| {
            Finding::problem(
                "certificates-unused",
                format!(
                    "cert_dir is {}, but encrypted is False.",
                    cert_dir.display()
                ),
            )
            .because("Parsl refuses to start such an executor.")
            .remedy("Set encrypted=True, or leave cert_dir out.")
            .shown_by(format!("encrypted=False, cert_dir={}", cert_dir.display()))
        });
        return left.into_iter().collect();
    }
    let mut found = Vec::new();
    if set_up.curve == Some(false) {
        found.push(
            Finding::problem(
                "no-curve",
                "The libzmq of this Python's pyzmq cannot encrypt (it lacks CURVE).",
            )
            .because("The executor is encrypted, and cannot create its keys.")
            .remedy("Install pyzmq from a wheel (pip), or set encrypted=False.")
            .shown_by("zmq.has('curve') is False, encrypted=True"),
        );
    }
    if let Some(cert_dir) = executor.cert_dir.as_deref() {
        found.extend(directory(cert_dir));
    }
    found
}

/// Examines the directory of certificates that the configuration names.
fn directory(cert_dir: &Path) -> Option<Finding> {
    let error = match Certificates::load(cert_dir) {
        Ok(certificates) => return unusual(cert_dir, &certificates),
        Err(error) => error,
    };
    let is_missing = matches!(
        &error.problem,
        Problem::Unreadable(reason) if reason.kind() == ErrorKind::NotFound
    );
    let (id, remedy) = if matches!(error.problem, Problem::NotPrivate(_)) {
        (
            "certificates-mode",
            format!(
                "Check who could read the keys, then run chmod 700 {}.",
                shell_word(cert_dir)
            ),
        )
    } else if is_missing {
        (
            "certificates-missing",
            "Leave cert_dir out, so that Parsl creates keys for each run, or create the \
             certificates (parsl.curvezmq.create_certificates)."
                .to_owned(),
        )
    } else {
        (
            "certificates-unreadable",
            "Create new certificates (parsl.curvezmq.create_certificates), or leave cert_dir out."
                .to_owned(),
        )
    };
    let listed = format!("`ls -la {}`", shell_word(cert_dir));
    Some(
        Finding::problem(id, told(&error))
            .because("Parsl and the interchange both refuse to start with such certificates.")
            .remedy(remedy)
            .shown_by(listed),
    )
}

/// Formats the error, which names the file and the reason.
fn told(error: &CertificateError) -> String {
    format!("The certificates cannot be used: {error}.")
}

fn unusual(cert_dir: &Path, certificates: &Certificates) -> Option<Finding> {
    let owner = fs::metadata(cert_dir).ok()?.uid();
    let us = rustix::process::geteuid().as_raw();
    if owner != us && us != 0 {
        return Some(
            Finding::warning(
                "certificates-owner",
                format!(
                    "{} belongs to user {owner}, not to you ({us}).",
                    cert_dir.display()
                ),
            )
            .because(
                "The owner can read all keys of the run, and could act as one of its managers.",
            )
            .remedy("Leave cert_dir out, so that Parsl creates keys for each run.")
            .shown_by(format!("`ls -ld {}`", shell_word(cert_dir))),
        );
    }
    let without = certificates.without_effect().first()?;
    Some(
        Finding::warning(
            "certificates-odd",
            format!("{} contains no key.", without.display()),
        )
        .because("No peer can connect with this file.")
        .remedy("Create new certificates, or remove the file.")
        .shown_by(format!("`cat {}`", shell_word(without))),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_directory_without_keys_is_no_directory_of_certificates() {
        let place = tempfile::tempdir().unwrap();
        let id = |path: &Path| directory(path).map(|finding| finding.id);
        assert_eq!(id(&place.path().join("none")), Some("certificates-missing"));
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(id(place.path()), Some("certificates-mode"));
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(id(place.path()), Some("certificates-missing"));
        fs::write(place.path().join("server.key_secret"), "nothing").unwrap();
        assert_eq!(id(place.path()), Some("certificates-unreadable"));
    }

    #[test]
    fn certificates_and_no_encryption_is_a_contradiction() {
        let ids = |encrypted, cert_dir: Option<&str>, curve| {
            let executor = Executor {
                encrypted: Some(encrypted),
                cert_dir: cert_dir.map(PathBuf::from),
                ..Executor::default()
            };
            let set_up = SetUp {
                curve: Some(curve),
                ..SetUp::default()
            };
            let found = encryption(&executor, &set_up);
            found.iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(false, Some("/nowhere"), true), ["certificates-unused"]);
        assert_eq!(ids(false, None, false), [""; 0]);
        assert_eq!(ids(true, None, true), [""; 0]);
        assert_eq!(ids(true, None, false), ["no-curve"]);
        assert_eq!(ids(true, Some("/nowhere"), true), ["certificates-missing"]);
    }
}
