//! What an endpoint's Python reports about the endpoint, and the PATH of its user endpoints.

use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::shared::endpoint::ENVIRONMENT;
use crate::shared::finding::Finding;

/// The first release of Globus Compute whose user endpoints inherit the environment in which the
/// endpoint is started, unless root starts it.
const INHERITED_SINCE: (u32, u32) = (4, 8);
/// The default PATH of user endpoints. Globus Compute appends the directory of the endpoint's
/// Python.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The answer of the script `question.py`.
#[derive(Debug, Deserialize)]
pub(super) struct SetUp {
    pub(super) python: String,
    /// The release of Globus Compute.
    pub(super) release: Option<String>,
    pub(super) parsl: Option<String>,
    scripts: PathBuf,
    environment: Environment,
    /// Whether config.yaml names an engine. Such an endpoint starts no user endpoints, and runs in
    /// the environment in which it is started.
    has_engine: bool,
}

/// What endpoints can use of `user_environment.yaml`.
#[derive(Debug, Deserialize)]
struct Environment {
    path: Option<String>,
    /// Why endpoints use nothing of the file.
    trouble: Option<String>,
    /// Why the file could not be read.
    unread: Option<String>,
}

/// The PATH on which the interchange is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandPath {
    pub(super) path: String,
    /// The source of this PATH.
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

    /// Whether the interchange is found on the PATH of the environment in which the endpoint is
    /// started.
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

    /// Whether this answer is from `python`.
    pub(super) fn is_of(&self, python: &Path) -> bool {
        let scripts = self.scripts.canonicalize().ok();
        let other = python
            .parent()
            .and_then(|parent| parent.canonicalize().ok());
        scripts == other
    }

    /// Reports what is wrong with `user_environment.yaml`.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(trouble) = &self.environment.trouble {
            found.push(
                Finding::warning(
                    "environment-unusable",
                    format!("{ENVIRONMENT} is not a list of variables: {trouble}."),
                )
                .because("The endpoint reports this in its log, and ignores the whole file.")
                .remedy("Write one line for each variable, as NAME: value.")
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
                    format!("PATH in {ENVIRONMENT} has {entry}, which is not expanded."),
                )
                .because("No shell reads this file, so PATH gets this text unchanged.")
                .remedy(
                    "Write every directory in full; `htex-interchange install-shim` prints such a \
                     line.",
                )
                .shown_by(format!("{ENVIRONMENT}: PATH: {path}")),
            );
        }
        if self.has_engine && self.environment.path.is_some() {
            found.push(
                Finding::warning(
                    "environment-unread",
                    format!("{ENVIRONMENT} has a PATH, but this endpoint does not read the file."),
                )
                .because("Its config.yaml has an engine, so it starts no user endpoints.")
                .remedy(
                    "Either convert the endpoint (globus-compute-endpoint \
                     migrate-to-template-capable NAME), or put the shim first on PATH where the \
                     endpoint is started.",
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
    fn the_source_of_the_path_is_reported() {
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
    fn an_unexpanded_path_is_reported() {
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
    fn an_unusable_environment_file_is_reported() {
        let unusable = r#""release": "4.19.0", "has_engine": false,
            "environment": {"trouble": "AttributeError: 'list' object has no attribute 'items'"}"#;
        assert_eq!(ids(&told(unusable)), ["environment-unusable"]);
        let unread = r#""release": "4.0.0", "has_engine": true, "environment": {"path": "/bin"}"#;
        assert_eq!(ids(&told(unread)), ["environment-unread"]);
    }
}
