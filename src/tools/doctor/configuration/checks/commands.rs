//! The commands that start blocks: the batch system's and the launcher's. Without these commands a
//! run starts, but no block ever does.

use super::program::started;
use crate::doctor::configuration::description::{Executor, Provider, SetUp};
use crate::shared::finding::{Finding, Severity};

/// Commands that a provider runs for its blocks. `asks` are alternatives for querying the state of
/// blocks, of which one is enough.
struct BatchSystem {
    submits: &'static str,
    asks: &'static [&'static str],
    cancels: &'static str,
}

const fn batch_system(
    submits: &'static str,
    asks: &'static [&'static str],
    cancels: &'static str,
) -> BatchSystem {
    BatchSystem {
        submits,
        asks,
        cancels,
    }
}

/// Commands by package below `parsl/providers`: those that `submit`, `_status` and `cancel` of
/// `PACKAGE/PACKAGE.py` pass to `execute_wait` in releases 2023.02.27 to 2026.10.26. The provider
/// of PBSPro cancels as that of Torque does. The provider of Slurm calls `squeue` if `sacct` fails;
/// in older releases, `squeue` alone. The provider of Cobalt exists until 2024.10.28.
const OF_PROVIDERS: [(&str, BatchSystem); 7] = [
    ("cobalt", batch_system("qsub", &["qstat"], "qdel")),
    (
        "condor",
        batch_system("condor_submit", &["condor_q"], "condor_rm"),
    ),
    ("grid_engine", batch_system("qsub", &["qstat"], "qdel")),
    ("lsf", batch_system("bsub", &["bjobs"], "bkill")),
    ("pbspro", batch_system("qsub", &["qstat"], "qdel")),
    (
        "slurm",
        batch_system("sbatch", &["sacct", "squeue"], "scancel"),
    ),
    ("torque", batch_system("qsub", &["qstat"], "qdel")),
];

/// Commands that the launchers of `parsl/launchers/launchers.py` run inside a block. A launcher's
/// `overrides` follow the command and do not change it.
const OF_LAUNCHERS: [(&str, &str); 7] = [
    ("AprunLauncher", "aprun"),
    ("GnuParallelLauncher", "parallel"),
    ("JsrunLauncher", "jsrun"),
    ("MpiExecLauncher", "mpiexec"),
    ("MpiRunLauncher", "mpirun"),
    ("SrunLauncher", "srun"),
    ("SrunMPILauncher", "srun"),
];

/// Missing commands, and commands that could not be looked for.
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
        if let (Some(true), Some(command)) = (executor.enable_mpi_mode, &executor.mpi_launcher) {
            let why = "Tasks whose commands begin with $PARSL_MPI_PREFIX would fail.";
            let missing = Finding::warning(
                "launcher-command-missing",
                format!("mpi_launcher is {command}, and no directory on PATH has this command."),
            )
            .because(why)
            .shown_by(format!("mpi_launcher={command:?}"));
            let runs = format!("{command}, with which tasks start MPI programs inside a block");
            commands.inside_a_block(provider, &set_up.path, command, &runs, missing);
        }
    }
    commands
}

impl Commands {
    fn of_provider(&mut self, provider: &Provider, path: &str) {
        let name = provider.name();
        let package = provider.package().unwrap_or_default();
        let known = OF_PROVIDERS.iter().find(|(known, _)| *known == package);
        let Some((_, batch_system)) = known else {
            if package != "local" {
                self.not_examined
                    .push(format!("which commands {name} needs to start blocks"));
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
        self.found.extend(missing_of(batch_system, name, path));
    }

    fn of_launcher(&mut self, provider: &Provider, path: &str) {
        let Some(launcher) = provider.parsls_launcher() else {
            if let Some(own) = &provider.launcher {
                self.not_examined
                    .push(format!("which commands {own} runs inside a block"));
            }
            return;
        };
        let known = OF_LAUNCHERS.iter().find(|(known, _)| *known == launcher);
        let prepended = provider.launcher_prepend.as_deref().and_then(first_program);
        let Some(command) = known.map(|(_, command)| *command).or(prepended) else {
            return;
        };
        let missing = Finding::problem(
            "launcher-command-missing",
            format!(
                "{launcher} starts managers with {command}, and no directory on PATH has this \
                 command."
            ),
        )
        .because("Blocks run on this machine, and each of them would end at once.")
        .shown_by(format!("launcher={launcher}"));
        let runs = format!("{command}, with which {launcher} starts managers inside a block");
        self.inside_a_block(provider, path, command, &runs, missing);
    }

    /// Looks for a command that runs inside a block. Only a block of the local provider has this
    /// process's environment; the environment of other blocks is unknown.
    fn inside_a_block(
        &mut self,
        provider: &Provider,
        path: &str,
        command: &str,
        runs: &str,
        missing: Finding,
    ) {
        if provider.package() != Some("local") || provider.enters_something() {
            self.not_examined.push(runs.to_owned());
            return;
        }
        self.examined = true;
        if started(command, path).is_none() {
            self.found.push(
                missing
                    .remedy(
                        "Load the environment or module that has this command, either where the \
                         run is started or in the provider's worker_init. Or run doctor where the \
                         run would be started. SingleNodeLauncher needs no such command.",
                    )
                    .shown_by(nothing_found(command, path)),
            );
        }
    }
}

/// Reports missing commands of the batch system. Without `submits` and `asks`, Parsl cannot start
/// blocks, or cannot see which have ended. Without `cancels`, blocks run longer than needed.
fn missing_of(batch_system: &BatchSystem, provider: &str, path: &str) -> Option<Finding> {
    let BatchSystem {
        submits,
        asks,
        cancels,
    } = batch_system;
    let is_missing = |commands: &[&str]| {
        !commands
            .iter()
            .any(|command| started(command, path).is_some())
    };
    let (no_submit, no_state) = (is_missing(&[submits]), is_missing(asks));
    let no_cancel = is_missing(&[cancels]);
    let severity = match no_submit || no_state {
        true => Severity::Problem,
        false if no_cancel => Severity::Warning,
        false => return None,
    };
    let asks_by = asks.join(" or ");
    let all = [
        (no_submit, *submits, "start blocks"),
        (no_state, &asks_by, "see which blocks have ended"),
        (
            no_cancel,
            cancels,
            "cancel blocks that are no longer needed",
        ),
    ];
    let missing: Vec<_> = all.into_iter().filter(|(is_it, ..)| *is_it).collect();
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    let cannot: Vec<&str> = missing.iter().map(|(.., cannot)| *cannot).collect();
    let such = match names.len() {
        1 => "PATH has no such command",
        _ => "PATH has no such commands",
    };
    let finding = Finding::new(
        "batch-system-missing",
        severity,
        format!("{provider} runs {}, but {such}.", names.join(", ")),
    )
    .because(format!("Parsl could not {}.", cannot.join(", nor ")))
    .remedy(
        "Start the run on a machine that has these commands (a login node), load the batch \
         system's module in the shell that starts the run, or use another provider.",
    )
    .shown_by(format!("provider={provider}"));
    let commands = names.iter().flat_map(|name| name.split(" or "));
    Some(commands.fold(finding, |finding, command| {
        finding.shown_by(nothing_found(command, path))
    }))
}

/// Returns the program that a line of shell starts; None if the line begins with anything but a
/// program's name.
fn first_program(line: &str) -> Option<&str> {
    const OF_THE_SHELL: [&str; 12] = [
        ".", "cd", "command", "eval", "exec", "export", "if", "set", "source", "time", "ulimit",
        "umask",
    ];
    let word = line.split_ascii_whitespace().next()?;
    let is_of_name = |c: char| c.is_alphanumeric() || "._-+/".contains(c);
    (word.chars().all(is_of_name) && !OF_THE_SHELL.contains(&word)).then_some(word)
}

/// Formats the evidence that a command was not found.
pub(super) fn nothing_found(command: &str, path: &str) -> String {
    format!("`command -v {command}` finds nothing with PATH={path}")
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
        for (package, needs) in OF_PROVIDERS {
            let class = format!("parsl.providers.{package}.{package}.SomeProvider");
            let found = |commands: &[&str]| of(provider(&class, "SimpleLauncher"), commands).found;
            let BatchSystem {
                submits, cancels, ..
            } = needs;
            for asks in needs.asks {
                assert_eq!(found(&[submits, asks, cancels]), [], "{package}");
            }
            let asks = needs.asks[0];
            for (gone, severity, there) in [
                (submits, Severity::Problem, [asks, cancels]),
                (asks, Severity::Problem, [submits, cancels]),
                (cancels, Severity::Warning, [submits, asks]),
            ] {
                let found = found(&there);
                let [finding] = &found[..] else {
                    panic!("{package}: {found:?}");
                };
                assert_eq!(
                    (finding.id, finding.severity),
                    ("batch-system-missing", severity)
                );
                assert!(finding.what.contains(gone), "{}", finding.what);
                let shown = format!("`command -v {gone}` finds nothing with PATH=");
                assert!(finding.evidence[1].starts_with(&shown), "{finding:?}");
            }
            assert_eq!(found(&[])[0].severity, Severity::Problem, "{package}");
        }
    }

    #[test]
    fn commands_of_other_machines_are_not_examined() {
        let slurm = "parsl.providers.slurm.slurm.SlurmProvider";
        let by_ssh = Provider {
            channel: Some("parsl.channels.ssh.ssh.SSHChannel".to_owned()),
            ..provider(slurm, "SrunLauncher")
        };
        let commands = of(by_ssh, &[]);
        assert!(commands.found.is_empty());
        assert_eq!(commands.not_examined.len(), 2, "{commands:?}");
        // What the user's own class does is unknown.
        let own = of(provider("mine.Provider", "SrunLauncher"), &[]);
        assert!(own.found.is_empty() && !own.not_examined.is_empty());
        let own_launcher = Provider {
            launcher: Some("mine.SrunLauncher".to_owned()),
            ..provider("parsl.providers.local.local.LocalProvider", "")
        };
        let commands = of(own_launcher, &[]);
        assert!(commands.found.is_empty() && commands.not_examined.len() == 1);
        // A class that derives from Parsl's provider runs the same commands.
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

    #[test]
    fn a_launcher_may_put_a_program_before_the_managers() {
        let wrapped = |prepend: &str| {
            let local = provider(
                "parsl.providers.local.local.LocalProvider",
                "WrappedLauncher",
            );
            of(
                Provider {
                    launcher_prepend: Some(prepend.to_owned()),
                    ..local
                },
                &["docker"],
            )
        };
        for there in [
            "docker run image",
            "/bin/sh -c",
            "A=1 nowhere",
            "time docker",
            "",
        ] {
            assert_eq!(wrapped(there).found, [], "{there:?}");
        }
        for missing in ["singularity exec image", "/nowhere/docker run"] {
            let found = wrapped(missing).found;
            assert_eq!(found[0].id, "launcher-command-missing", "{missing}");
        }
    }

    #[test]
    fn tasks_of_mpi_need_its_command() {
        let of_mpi = |provider| {
            let executor = Executor {
                provider: Some(provider),
                enable_mpi_mode: Some(true),
                mpi_launcher: Some("mpiexec".to_owned()),
                ..Executor::default()
            };
            of_blocks(&executor, &SetUp::default())
        };
        let local = "parsl.providers.local.local.LocalProvider";
        let found = of_mpi(provider(local, "SimpleLauncher")).found;
        assert_eq!(
            (found[0].id, found[0].severity),
            ("launcher-command-missing", Severity::Warning)
        );
        let slurm = "parsl.providers.slurm.slurm.SlurmProvider";
        let told = of_mpi(provider(slurm, "SimpleLauncher")).not_examined;
        assert!(told[0].starts_with("mpiexec, with which tasks"), "{told:?}");
    }
}
