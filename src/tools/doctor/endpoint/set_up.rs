//! What an endpoint's Python tells of it, and the PATH that its user endpoints get.

use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::shared::endpoint::ENVIRONMENT;
use crate::shared::finding::Finding;

/// The first release whose user endpoints have the environment of whoever starts the endpoint,
/// unless that is root.
const INHERITED_SINCE: (u32, u32) = (4, 8);
/// What they have otherwise, and behind it the directory of the endpoint's Python.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The answer of `question.py`.
#[derive(Debug, Deserialize)]
pub(super) struct SetUp {
    pub(super) python: String,
    /// Globus Compute's.
    pub(super) release: Option<String>,
    pub(super) parsl: Option<String>,
    scripts: PathBuf,
    environment: Environment,
    /// It starts no user endpoints, and runs in the environment of whoever starts it.
    has_engine: bool,
}

/// What `user_environment.yaml` is good for.
#[derive(Debug, Deserialize)]
struct Environment {
    path: Option<String>,
    /// Why endpoints use nothing of it.
    trouble: Option<String>,
    /// Why it could not be looked at.
    unread: Option<String>,
}

/// The PATH by which the interchange is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandPath {
    pub(super) path: String,
    /// Who says so.
    pub(super) by: &'static str,
}

impl SetUp {
    pub(super) fn command_path(&self) -> CommandPath {
        if let Some(path) = self.environment.path.clone().filter(|_| !self.has_engine) {
            return CommandPath {
                path,
                by: ENVIRONMENT,
            };
        }
        if self.goes_by_this_environment() {
            return CommandPath {
                path: env::var("PATH").unwrap_or_default(),
                by: "this environment",
            };
        }
        CommandPath {
            path: format!("{DEFAULT_PATH}:{}", self.scripts.display()),
            by: "Globus Compute's default",
        }
    }

    /// Whether the interchange is found by the PATH of whoever starts the endpoint.
    pub(super) fn goes_by_this_environment(&self) -> bool {
        let is_inherited = self.has_inheritance() && !rustix::process::getuid().is_root();
        self.has_engine || self.environment.path.is_none() && is_inherited
    }

    fn has_inheritance(&self) -> bool {
        let release = self.release.as_deref().unwrap_or_default();
        let mut numbers = release.split('.').map_while(|part| part.parse().ok());
        matches!((numbers.next(), numbers.next()), (Some(major), Some(minor))
            if (major, minor) >= INHERITED_SINCE)
    }

    pub(super) fn unread(&self) -> Option<&str> {
        self.environment.unread.as_deref()
    }

    /// Whether it is `python` that told all this.
    pub(super) fn is_of(&self, python: &Path) -> bool {
        let scripts = self.scripts.canonicalize().ok();
        let other = python
            .parent()
            .and_then(|parent| parent.canonicalize().ok());
        scripts == other
    }

    /// What is odd about the file.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(trouble) = &self.environment.trouble {
            found.push(
                Finding::warning(
                    "environment-unusable",
                    format!("{ENVIRONMENT} is no list of variables: {trouble}."),
                )
                .because("The endpoint says so in its log, and uses nothing of it.")
                .remedy("Write one line for each variable, NAME: value.")
                .shown_by(format!(
                    "{ENVIRONMENT}, read as the endpoint does: {trouble}"
                )),
            );
        }
        let path = self.environment.path.as_deref().unwrap_or_default();
        let is_meant_for_a_shell = |entry: &&str| entry.contains('$') || entry.starts_with('~');
        if let Some(entry) = path.split(':').find(is_meant_for_a_shell) {
            found.push(
                Finding::problem(
                    "path-not-expanded",
                    format!("PATH in {ENVIRONMENT} has {entry}, which nobody expands."),
                )
                .because("It is no shell that reads this file: the text is PATH as it is.")
                .remedy("Write every directory as it is; install-shim prints such a line.")
                .shown_by(format!("{ENVIRONMENT}: PATH: {path}")),
            );
        }
        if self.has_engine && self.environment.path.is_some() {
            found.push(
                Finding::warning(
                    "environment-unread",
                    format!("{ENVIRONMENT} has a PATH, and this endpoint does not read it."),
                )
                .because("Its config.yaml has an engine: it starts no user endpoints.")
                .remedy(
                    "globus-compute-endpoint migrate-to-template-capable NAME makes it one that \
                     does; or put the shim first on PATH where it is started.",
                )
                .shown_by(format!("{ENVIRONMENT}: PATH: {path}"))
                .shown_by("config.yaml has an engine"),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> SetUp {
        let rest = r#""python": "3.11", "parsl": null, "scripts": "/v/bin""#;
        serde_json::from_str(&format!("{{{rest}, {json}}}")).unwrap()
    }

    fn ids(set_up: &SetUp) -> Vec<&'static str> {
        let found = set_up.findings();
        assert!(found.iter().all(|finding| !finding.evidence.is_empty()));
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn who_says_which_path_it_is() {
        let by = |json: String| told(&json).command_path().by;
        let file = r#""environment": {"path": "/shim:/bin"}"#;
        let none = r#""environment": {}"#;
        let is_root = rustix::process::getuid().is_root();
        for (release, inherits) in [("4.0.0", false), ("4.7.0", false), ("4.10.2", true)] {
            let json = |environment, has_engine| {
                format!(r#""release": "{release}", {environment}, "has_engine": {has_engine}"#)
            };
            assert_eq!(by(json(file, false)), ENVIRONMENT);
            let expected = match inherits && !is_root {
                true => "this environment",
                false => "Globus Compute's default",
            };
            assert_eq!(by(json(none, false)), expected, "{release}");
            assert_eq!(by(json(file, true)), "this environment");
        }
        let json = r#""release": "4.0.0", "environment": {}, "has_engine": false"#;
        let default = told(json).command_path().path;
        assert_eq!(default, "/usr/local/bin:/usr/bin:/bin:/v/bin");
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let with = |path| {
            let json = format!(
                r#""release": "4.19.0", "environment": {{"path": "{path}"}}, "has_engine": false"#
            );
            ids(&told(&json))
        };
        assert_eq!(with("/shim:/bin"), [""; 0]);
        for odd in ["/shim:$PATH", "~/shim:/bin", "${HOME}/shim"] {
            assert_eq!(with(odd), ["path-not-expanded"], "{odd}");
        }
    }

    #[test]
    fn a_file_of_which_nothing_is_used_is_told() {
        let unusable = r#""release": "4.19.0", "has_engine": false,
            "environment": {"trouble": "AttributeError: 'list' object has no attribute 'items'"}"#;
        assert_eq!(ids(&told(unusable)), ["environment-unusable"]);
        let unread = r#""release": "4.0.0", "has_engine": true, "environment": {"path": "/bin"}"#;
        assert_eq!(ids(&told(unread)), ["environment-unread"]);
    }
}
