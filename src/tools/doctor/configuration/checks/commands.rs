//! The commands that blocks are started by: the batch system's, and the launcher's. A run whose
//! commands are not there starts, and no block ever does.

use std::ffi::OsStr;

use crate::doctor::configuration::description::{Executor, Provider, SetUp};
use crate::shared::finding::Finding;
use submit_side::versions::candidates;

/// What Parsl's providers run, by the package below `parsl/providers`, of 2022 to 2026: of each
/// group one command is needed. Slurm's asks `sacct` where it answers, and else `squeue`.
const OF_PROVIDERS: [(&str, &[&[&str]]); 7] = [
    ("cobalt", &[&["qsub"], &["qstat"], &["qdel"]]),
    (
        "condor",
        &[&["condor_submit"], &["condor_q"], &["condor_rm"]],
    ),
    ("grid_engine", &[&["qsub"], &["qstat"], &["qdel"]]),
    ("lsf", &[&["bsub"], &["bjobs"], &["bkill"]]),
    ("pbspro", &[&["qsub"], &["qstat"], &["qdel"]]),
    ("slurm", &[&["sbatch"], &["sacct", "squeue"], &["scancel"]]),
    ("torque", &[&["qsub"], &["qstat"], &["qdel"]]),
];

/// What those of `parsl/launchers/launchers.py` run inside a block, unless they are given another.
const OF_LAUNCHERS: [(&str, &str); 7] = [
    ("AprunLauncher", "aprun"),
    ("GnuParallelLauncher", "parallel"),
    ("JsrunLauncher", "jsrun"),
    ("MpiExecLauncher", "mpiexec"),
    ("MpiRunLauncher", "mpirun"),
    ("SrunLauncher", "srun"),
    ("SrunMPILauncher", "srun"),
];

/// What is missing, and what could not be looked for.
#[derive(Debug, Default)]
pub(in crate::doctor) struct Commands {
    pub(in crate::doctor) found: Vec<Finding>,
    pub(in crate::doctor) examined: bool,
    pub(in crate::doctor) not_examined: Vec<String>,
}

pub(in crate::doctor) fn of_blocks(executor: &Executor, set_up: &SetUp) -> Commands {
    let mut commands = Commands::default();
    if let Some(provider) = &executor.provider {
        commands.of_provider(provider, &set_up.path);
        commands.of_launcher(provider, &set_up.path);
    }
    commands
}

impl Commands {
    fn of_provider(&mut self, provider: &Provider, path: &str) {
        let name = provider.name();
        let package = provider.package().unwrap_or_default();
        let known = OF_PROVIDERS.iter().find(|(known, _)| *known == package);
        let Some((_, groups)) = known else {
            if package != "local" {
                self.not_examined
                    .push(format!("what {name} needs to start blocks"));
            }
            return;
        };
        if let Some(channel) = provider.other_channel() {
            self.not_examined.push(format!(
                "the batch system's commands, which {channel} runs on another machine"
            ));
            return;
        }
        self.examined = true;
        let missing = groups.iter().filter(|group| {
            let is_there = |command: &&str| is_on(path, command);
            !group.iter().any(is_there)
        });
        let missing: Vec<String> = missing.map(|group| group.join(" or ")).collect();
        if !missing.is_empty() {
            self.found.push(batch_system_missing(name, &missing, path));
        }
    }

    fn of_launcher(&mut self, provider: &Provider, path: &str) {
        let launcher = provider.launcher.as_deref().unwrap_or_default();
        let launcher = launcher.rsplit('.').next().unwrap_or_default();
        let known = OF_LAUNCHERS.iter().find(|(known, _)| *known == launcher);
        let Some((launcher, command)) = known else {
            return;
        };
        // A block of the local provider has this process's environment.
        let is_local = provider.package() == Some("local");
        if !is_local || provider.enters_something() {
            self.not_examined.push(format!(
                "{command}, by which {launcher} starts managers inside a block"
            ));
            return;
        }
        self.examined = true;
        if !is_on(path, command) {
            self.found.push(
                Finding::problem(
                    "launcher-command-missing",
                    format!("{launcher} starts managers by {command}, and PATH has none."),
                )
                .because("Blocks run on this machine, and each would end at once.")
                .remedy(
                    "Load what brings it where the run is started, or in the provider's \
                     worker_init; SingleNodeLauncher needs none.",
                )
                .shown_by(format!("launcher={launcher}"))
                .shown_by(nothing_found(command, path)),
            );
        }
    }
}

fn batch_system_missing(provider: &str, missing: &[String], path: &str) -> Finding {
    let finding = Finding::problem(
        "batch-system-missing",
        format!(
            "{provider} runs {}, and PATH has {}.",
            missing.join(", "),
            match missing.len() {
                1 => "no such command",
                _ => "no such commands",
            }
        ),
    )
    .because("Without them no block can be submitted, asked for, or ended from this machine.")
    .remedy(
        "Start the run on a machine that has them (a login node), load the batch system's module \
         in the shell that starts it, or use another provider.",
    )
    .shown_by(format!("provider={provider}"));
    let commands = missing.iter().flat_map(|group| group.split(" or "));
    commands.fold(finding, |finding, command| {
        finding.shown_by(nothing_found(command, path))
    })
}

/// Evidence that a command is not there.
pub(super) fn nothing_found(command: &str, path: &str) -> String {
    format!("`command -v {command}` finds nothing with PATH={path}")
}

fn is_on(path: &str, command: &str) -> bool {
    candidates(OsStr::new(path), command).next().is_some()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of(provider: Provider, commands: &[&str]) -> Commands {
        let place = tempfile::tempdir().unwrap();
        for command in commands {
            let file = place.path().join(command);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let executor = Executor {
            provider: Some(provider),
            ..Executor::default()
        };
        let set_up = SetUp {
            path: place.path().to_str().unwrap().to_owned(),
            ..SetUp::default()
        };
        of_blocks(&executor, &set_up)
    }

    fn provider(class: &str, launcher: &str) -> Provider {
        Provider {
            class: class.to_owned(),
            launcher: Some(format!("parsl.launchers.launchers.{launcher}")),
            nodes_per_block: Some(1),
            ..Provider::default()
        }
    }

    #[test]
    fn each_batch_system_has_its_commands() {
        for (package, groups) in OF_PROVIDERS {
            let class = format!("parsl.providers.{package}.{package}.SomeProvider");
            let all: Vec<&str> = groups.iter().map(|group| group[group.len() - 1]).collect();
            let whole = of(provider(&class, "SimpleLauncher"), &all);
            assert!(whole.examined && whole.found.is_empty(), "{package}");
            for missing in 0..all.len() {
                let mut some = all.clone();
                let gone = some.remove(missing);
                let found = of(provider(&class, "SimpleLauncher"), &some).found;
                assert_eq!(found[0].id, "batch-system-missing", "{package}");
                assert!(found[0].what.contains(gone), "{}", found[0].what);
                assert!(found[0].evidence.len() > 1);
            }
        }
    }

    #[test]
    fn what_runs_elsewhere_is_not_looked_for_here() {
        let slurm = "parsl.providers.slurm.slurm.SlurmProvider";
        let by_ssh = Provider {
            channel: Some("parsl.channels.ssh.ssh.SSHChannel".to_owned()),
            ..provider(slurm, "SrunLauncher")
        };
        let commands = of(by_ssh, &[]);
        assert!(commands.found.is_empty());
        assert_eq!(commands.not_examined.len(), 2, "{commands:?}");
        // A class of the user's own, whatever it does.
        let own = of(provider("mine.Provider", "SrunLauncher"), &[]);
        assert!(own.found.is_empty() && !own.not_examined.is_empty());
        // One that is made of Parsl's does what that does.
        let derived = Provider {
            kinds: Some(vec!["mine.Provider".to_owned(), slurm.to_owned()]),
            ..provider("mine.Provider", "SimpleLauncher")
        };
        assert_eq!(of(derived, &[]).found[0].id, "batch-system-missing");
    }

    #[test]
    fn a_local_block_needs_its_launcher_here() {
        let local = "parsl.providers.local.local.LocalProvider";
        for (launcher, command) in OF_LAUNCHERS {
            let found = of(provider(local, launcher), &[]).found;
            assert_eq!(found[0].id, "launcher-command-missing", "{launcher}");
            assert!(of(provider(local, launcher), &[command]).found.is_empty());
        }
        assert!(
            of(provider(local, "SingleNodeLauncher"), &[])
                .found
                .is_empty()
        );
        let with_modules = Provider {
            worker_init: Some("module load mpi".to_owned()),
            ..provider(local, "MpiExecLauncher")
        };
        let commands = of(with_modules, &[]);
        assert!(commands.found.is_empty() && commands.not_examined.len() == 1);
    }
}
