//! The ways by which htex-interchange can serve an endpoint: a shim on PATH, or a `.pth` file in
//! the endpoint's environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use submit_side::versions::{candidates, interpreter_of};

use super::set_up::CommandPath;
use crate::endpoint_command::{self, NAME};
use crate::shared::finding::Finding;
use crate::shared::occupant::release_of;
use crate::shared::pth::Enabled;
use crate::shared::words::{command, shell_word};

/// The programs named `globus-compute-endpoint` that a user endpoint finds on its PATH.
#[derive(Debug)]
pub(super) struct Command {
    path: CommandPath,
    /// The first program of that name.
    first: Option<PathBuf>,
    /// The first program of that name that is not htex-interchange's shim. The shim passes every
    /// call that does not start an interchange to this program.
    real: Option<PathBuf>,
    /// The first shim of htex-interchange, at any place on PATH.
    shim: Option<PathBuf>,
}

impl Command {
    pub(super) fn on(path: CommandPath) -> Self {
        let all: Vec<PathBuf> = candidates(OsStr::new(&path.path), NAME)
            .map(|(file, _)| file)
            .collect();
        let (ours, others): (Vec<PathBuf>, Vec<PathBuf>) = all
            .iter()
            .cloned()
            .partition(|file| endpoint_command::is_ours(file));
        Self {
            path,
            first: all.into_iter().next(),
            real: others.into_iter().next(),
            shim: ours.into_iter().next(),
        }
    }

    /// Returns the Python that runs the real command, if that is a script.
    pub(super) fn python(&self) -> Option<PathBuf> {
        interpreter_of(self.real.as_ref()?, OsStr::new(&self.path.path))
    }

    /// Reports which program would serve, and what prevents htex-interchange from serving.
    /// `enabled` is what the `.pth` file in the endpoint's environment starts.
    pub(super) fn findings(&self, enabled: Option<&Enabled>) -> Vec<Finding> {
        let Some(real) = &self.real else {
            return vec![self.no_command()];
        };
        let leads_nowhere = enabled.filter(|enabled| release_of(&enabled.binary).is_none());
        let enabled = enabled.filter(|_| leads_nowhere.is_none());
        let mut found = match (&self.shim, enabled) {
            (Some(shim), _) if self.first == self.shim => {
                let is_sure = self.python().is_some() || enabled.is_some();
                let hidden = (!is_sure).then(|| may_be_hidden(real));
                [self.by_shim(shim)].into_iter().chain(hidden).collect()
            }
            (_, Some(enabled)) => vec![by_pth(enabled)],
            (Some(shim), None) => vec![self.stock(real), self.not_first(shim, real)],
            (None, None) if self.python().is_none() => vec![unknown(real)],
            (None, None) => vec![self.stock(real)],
        };
        found.extend(leads_nowhere.map(|enabled| self.pth_leads_nowhere(enabled)));
        found
    }

    fn no_command(&self) -> Finding {
        let (path, by) = (&self.path.path, self.path.by);
        let what = match &self.shim {
            Some(shim) => format!(
                "{} is the only {NAME} on PATH. PATH comes from {by}, and is {path}.",
                shim.display()
            ),
            None => {
                format!("No directory on PATH has a {NAME}. PATH comes from {by}, and is {path}.")
            }
        };
        let id = match self.shim {
            Some(_) => "shim-alone",
            None => "endpoint-command-missing",
        };
        Finding::problem(id, what)
            .because(
                "Without the real command, no user endpoint can start, and none could start \
                 workers.",
            )
            .remedy("Add the directory of the endpoint's own scripts to that PATH.")
            .shown_by(self.path_shown())
    }

    fn by_shim(&self, shim: &Path) -> Finding {
        Finding::note(
            "served-by-shim",
            format!(
                "htex-interchange would serve: {} is the first {NAME} on PATH. PATH comes from {}.",
                shim.display(),
                self.path.by
            ),
        )
        .shown_by(self.path_shown())
    }

    fn path_shown(&self) -> String {
        format!("PATH={} (from {})", self.path.path, self.path.by)
    }

    fn stock(&self, real: &Path) -> Finding {
        Finding::note(
            "stock",
            format!(
                "The interchange would be Parsl's own, started by {}, the first {NAME} on PATH. \
                 PATH comes from {}.",
                real.display(),
                self.path.by
            ),
        )
        .because("This endpoint would not use htex-interchange.")
        .remedy(ways_in(self.python().as_deref()))
        .shown_by(self.path_shown())
    }

    fn pth_leads_nowhere(&self, enabled: &Enabled) -> Finding {
        Finding::warning(
            "pth-leads-nowhere",
            format!(
                "{} would start {}, which does not run.",
                enabled.pair.line().display(),
                enabled.binary.display()
            ),
        )
        .because("Parsl's own interchange starts instead.")
        .remedy(format!(
            "Run {} again to use the program that is installed now.",
            enabling(self.python().as_deref())
        ))
        .shown_by(enabled.pair.line().display().to_string())
        .shown_by(runs(enabled))
    }

    fn not_first(&self, shim: &Path, real: &Path) -> Finding {
        Finding::warning(
            "shim-not-first",
            format!(
                "The shim {} is after {} on PATH, so it is never used.",
                shim.display(),
                real.display()
            ),
        )
        .remedy(format!(
            "Put its directory first in PATH. PATH comes from {}.",
            self.path.by
        ))
        .shown_by(self.path_shown())
    }
}

fn by_pth(enabled: &Enabled) -> Finding {
    Finding::note(
        "served-by-pth",
        format!(
            "htex-interchange would serve: {} is in the endpoint's environment, and starts {}.",
            enabled.pair.line().display(),
            enabled.binary.display()
        ),
    )
    .shown_by(runs(enabled))
}

/// Returns the command that shows whether the program in the `.pth` file runs.
fn runs(enabled: &Enabled) -> String {
    format!("`{} --version`", shell_word(&enabled.binary))
}

/// Returns the ways to make htex-interchange serve. `python` is the endpoint's Python, if known.
fn ways_in(python: Option<&Path>) -> String {
    format!(
        "`htex-interchange install-shim --globus-compute DIR` installs a shim and shows what to \
         write into user_environment.yaml. Or run {}, which needs no change of PATH.",
        enabling(python)
    )
}

fn enabling(python: Option<&Path>) -> String {
    match python {
        Some(python) => command("htex-interchange enable --python", python),
        None => "`htex-interchange enable --python PYTHON` with the Python of the endpoint's \
             environment"
            .to_owned(),
    }
}

/// Warns that the real command may change PATH, so that another program precedes the shim. The
/// command of Globus Compute's system packages does so, because it enters an environment.
fn may_be_hidden(real: &Path) -> Finding {
    Finding::warning(
        "shim-may-be-hidden",
        format!(
            "{} is not a Python script, so it may change PATH.",
            real.display()
        ),
    )
    .because(
        "A command that enters an environment puts that environment's own command before the shim.",
    )
    .remedy(format!("Run {}: this works in every case.", enabling(None)))
    .shown_by(head_of(real))
}

fn unknown(real: &Path) -> Finding {
    Finding::note(
        "launch-unknown",
        format!("The interchange would be started by {}.", real.display()),
    )
    .because(
        "It is neither htex-interchange nor a Python script, and doctor does not know what it \
         does.",
    )
    .remedy(ways_in(None))
    .shown_by(head_of(real))
}

fn head_of(file: &Path) -> String {
    command("head -c 80", file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::shared::pth::Pair;

    /// Creates the directories `shim`, `real` and `wrapper`, each with a command, and an empty
    /// `nothing`.
    fn place() -> TempDir {
        let place = tempfile::tempdir().unwrap();
        let file = |directory: &str| place.path().join(directory).join(NAME);
        for directory in ["shim", "real", "wrapper", "nothing"] {
            fs::create_dir(place.path().join(directory)).unwrap();
        }
        symlink(std::env::current_exe().unwrap(), file("shim")).unwrap();
        for (directory, head) in [("real", "#!/usr/bin/python3"), ("wrapper", "#!/bin/sh")] {
            fs::write(file(directory), format!("{head}\n")).unwrap();
            fs::set_permissions(file(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        place
    }

    fn ids(place: &TempDir, directories: &[&str]) -> Vec<&'static str> {
        ids_enabled(place, directories, None)
    }

    fn ids_enabled(
        place: &TempDir,
        directories: &[&str],
        enabled: Option<&Enabled>,
    ) -> Vec<&'static str> {
        let places = directories.iter().map(|name| place.path().join(name));
        let path = std::env::join_paths(places).unwrap();
        let command = Command::on(CommandPath {
            path: path.into_string().unwrap(),
            by: "a test",
        });
        let found = command.findings(enabled);
        assert!(found.iter().all(|finding| !finding.evidence.is_empty()));
        found.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn the_first_on_path_serves() {
        let place = place();
        assert_eq!(ids(&place, &["shim", "real"]), ["served-by-shim"]);
        assert_eq!(ids(&place, &["real"]), ["stock"]);
        assert_eq!(ids(&place, &["real", "shim"]), ["stock", "shim-not-first"]);
        assert_eq!(ids(&place, &["wrapper"]), ["launch-unknown"]);
        assert_eq!(
            ids(&place, &["shim", "wrapper"]),
            ["served-by-shim", "shim-may-be-hidden"]
        );
    }

    /// Enables a Python for a script with the command `program`.
    fn enabled(place: &TempDir, program: &str) -> Enabled {
        let binary = place.path().join("program");
        fs::write(&binary, format!("#!/bin/sh\n{program}\n")).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let pair = Pair::below(place.path());
        pair.put(&binary).unwrap();
        pair.read().unwrap()
    }

    #[test]
    fn a_pth_serves_wherever_the_shim_is() {
        let place = place();
        let enabled = enabled(&place, "echo htex-interchange 0.1.0");
        let ids = |directories| ids_enabled(&place, directories, Some(&enabled));
        assert_eq!(ids(&["real", "shim"]), ["served-by-pth"]);
        assert_eq!(ids(&["wrapper"]), ["served-by-pth"]);
        assert_eq!(ids(&["shim", "wrapper"]), ["served-by-shim"]);
    }

    #[test]
    fn a_pth_of_a_missing_program_does_not_serve() {
        let place = place();
        let enabled = enabled(&place, "exit 1");
        let ids = |directories| ids_enabled(&place, directories, Some(&enabled));
        assert_eq!(ids(&["real"]), ["stock", "pth-leads-nowhere"]);
        assert_eq!(
            ids(&["shim", "real"]),
            ["served-by-shim", "pth-leads-nowhere"]
        );
    }

    #[test]
    fn without_the_real_command_nothing_starts() {
        let place = place();
        assert_eq!(ids(&place, &["shim"]), ["shim-alone"]);
        assert_eq!(ids(&place, &["nothing"]), ["endpoint-command-missing"]);
        assert_eq!(ids(&place, &[]), ["endpoint-command-missing"]);
    }
}
