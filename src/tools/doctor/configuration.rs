//! Examines a configuration before its start: runs all checks, one after another.

mod checks;
mod description;
mod kind;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Command;

use super::Arguments;
use super::disk;
use super::question::{NoAnswer, Question};
use crate::doctor::diagnosis::Diagnosis;
use crate::shared::finding::{Finding, Severity};
use crate::shared::python;
use crate::shared::words::shell_word;

use checks::program::Program;
use checks::{
    address, capacity, certificates, commands, flags, ports, program, run_dir, selector, versions,
};
use description::{Executor, Package, SetUp, Trouble};
use kind::Kind;

pub(super) use checks::versions::window;

/// The script by which the user's Python loads the configuration.
const QUESTION: &str = include_str!("configuration/question.py");
const FACTORIES: &str = include_str!("configuration/factories.py");
const SURROUNDINGS: &str = include_str!("configuration/surroundings.py");
const TROUBLES: &str = include_str!("configuration/troubles.py");
const GUARD: &str = include_str!("configuration/guard.py");

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotExamined {
    #[error("{}: no such file or directory", .0.display())]
    FileMissing(PathBuf),
    #[error("{}: not examined, because it is {}", .0.display(), .1.advice(.0))]
    NoPython(PathBuf, Kind),
    #[error("no Python was found; name one with --python")]
    PythonMissing,
    #[error("{}: not examined: {reason}{}", file.display(), more_time(reason))]
    Unanswered { file: PathBuf, reason: NoAnswer },
    #[error("{} has no Parsl ({why}); name another Python with --python", python.display())]
    ParslMissing { python: PathBuf, why: String },
    #[error("{}: not examined: {} cannot import Parsl: {why}", file.display(), python.display())]
    ParslNotImported {
        file: PathBuf,
        python: PathBuf,
        why: String,
    },
    #[error("{}: not examined: {}", file.display(), reasons.join("; "))]
    NotLoaded { file: PathBuf, reasons: Vec<String> },
    #[error(
        "{}: it defines no Config and no executor, and no function that is known to return one \
         (annotate it: -> Config)",
        .0.display()
    )]
    ConfigMissing(PathBuf),
}

fn more_time(reason: &NoAnswer) -> &'static str {
    if matches!(reason, NoAnswer::NotLoaded(_)) {
        "; set a longer limit with --load-within SECONDS, or examine a file that only defines the \
         configuration"
    } else {
        ""
    }
}

/// A configuration file, and how to load it.
pub(super) struct Loading<'a> {
    file: &'a PathBuf,
    arguments: &'a Arguments,
    interpreter: PathBuf,
}

impl<'a> Loading<'a> {
    /// Prepares to load `file`, with the Python that the arguments name or else the one on PATH.
    pub(super) fn of(file: &'a PathBuf, arguments: &'a Arguments) -> Result<Self, NotExamined> {
        if !file.is_file() {
            return Err(NotExamined::FileMissing(file.clone()));
        }
        let kind = Kind::of(file);
        if kind != Kind::Python {
            return Err(NotExamined::NoPython(file.clone(), kind));
        }
        let named = arguments.python.clone();
        let interpreter = named.or_else(python::of_submit_side);
        Ok(Self {
            file,
            arguments,
            interpreter: interpreter.ok_or(NotExamined::PythonMissing)?,
        })
    }

    /// Describes the loading; printed before the file is loaded.
    pub(super) fn does(&self) -> String {
        let (file, it) = (self.file.display(), self.interpreter.display());
        match self.arguments.run {
            true => {
                format!("Loads {file} with {it}, as your program would, with all side effects.")
            }
            false => format!(
                "Loads {file} with {it}, in a process that may not write files, connect or start \
                 processes."
            ),
        }
    }

    pub(super) fn examine(&self, own: &Command) -> Result<Diagnosis, NotExamined> {
        let (file, it) = (self.file, self.interpreter.display());
        let (set_up, said) = self.ask()?;
        if let Some(trouble) = &set_up.parsl_trouble {
            let (python, why) = (self.interpreter.clone(), trouble.clone());
            return Err(match set_up.has_parsl {
                true => NotExamined::ParslNotImported {
                    file: file.clone(),
                    python,
                    why,
                },
                false => NotExamined::ParslMissing { python, why },
            });
        }
        let parsl = set_up.parsl.as_deref().unwrap_or("unknown");
        let python = &set_up.python;
        let mut diagnosis = Diagnosis::new(format!(
            "{}, loaded by {it} (Python {python}, Parsl {parsl})",
            file.display()
        ));
        diagnosis.does = self.does();
        diagnosis.examined("Parsl's release");
        diagnosis.add(versions::window(parsl));
        diagnosis.add(set_up.faults().map(|trouble| self.raises(trouble, &set_up)));
        let not_loaded = not_loaded(file, &set_up, &said);
        if set_up.executors.is_empty() && set_up.others.is_empty() && set_up.faults().count() == 0 {
            return Err(match not_loaded.is_empty() {
                true => NotExamined::ConfigMissing(file.clone()),
                false => NotExamined::NotLoaded {
                    file: file.clone(),
                    reasons: not_loaded,
                },
            });
        }
        if !set_up.names.is_empty() {
            diagnosis.about += &format!("; found: {}", set_up.names.join(", "));
            examine_executors(&set_up, own, &mut diagnosis);
        }
        for what in &not_loaded {
            diagnosis.not_examined(what);
        }
        Ok(diagnosis)
    }

    fn raises(&self, trouble: &Trouble, set_up: &SetUp) -> Finding {
        let file = self.file;
        let (what, place) = match &trouble.of {
            Some(function) => (format!("{function} of {}", file.display()), "called"),
            None => (file.display().to_string(), "loaded"),
        };
        let shown = match &trouble.of {
            Some(_) => String::new(),
            None => format!(" Running {} shows the same error.", self.as_program(set_up)),
        };
        let (why, remedy) = match &trouble.lacks {
            None => (String::new(), "Correct it."),
            Some(lacked) => (
                format!(
                    "Parsl {} has no {lacked}. ",
                    set_up.parsl.as_deref().unwrap_or_default()
                ),
                "Change it for this release of Parsl, or use --python to name a Python with the \
                 release that it was written for.",
            ),
        };
        Finding::problem(
            "config-raises",
            format!("{what} cannot be {place}:\n{}\n", trouble.lines.join("\n")),
        )
        .because(format!(
            "{why}A program that uses it would end at this point."
        ))
        .remedy(format!("{remedy}{shown}"))
        .shown_by(place_in(file, trouble.line.as_deref()))
        .shown_by(&trouble.why)
    }

    /// Returns the shell command that runs the file in the same way as it was loaded.
    fn as_program(&self, set_up: &SetUp) -> String {
        let python = shell_word(&self.interpreter);
        let mut words = match &set_up.package {
            Some(Package { above, member }) => {
                let (above, member) = (shell_word(above), shell_word(Path::new(member)));
                format!("cd {above} && {python} -m {member}")
            }
            None => format!("{python} {}", shell_word(self.file)),
        };
        for argument in &self.arguments.program_arguments {
            words += " ";
            words += &shell_word(Path::new(argument));
        }
        format!("`{words}`")
    }

    fn ask(&self) -> Result<(SetUp, String), NotExamined> {
        let file = self.file;
        let guard = if self.arguments.run { "" } else { GUARD };
        let texts = [FACTORIES, SURROUNDINGS, TROUBLES, guard];
        let own = std::iter::once(file.as_os_str()).chain(texts.map(OsStr::new));
        let of_program = &self.arguments.program_arguments;
        let question = Question {
            python: &self.interpreter,
            script: QUESTION,
            arguments: own
                .chain(of_program.iter().map(OsString::as_os_str))
                .collect(),
            loaded_within: Duration::from_secs(self.arguments.load_within),
        };
        question.ask().map_err(|reason| NotExamined::Unanswered {
            file: file.clone(),
            reason,
        })
    }
}

/// Formats a place in a file: `my_config.py, line 3: import nowhere`.
fn place_in(file: &Path, line: Option<&str>) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match line {
        Some(line) => format!("{name}, {line}"),
        None => name.into_owned(),
    }
}

/// Lists what in the file was not loaded, called or done, each with its reason.
fn not_loaded(file: &Path, set_up: &SetUp, said: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for trouble in set_up.troubles.iter().filter(|trouble| !trouble.is_fault) {
        let of = trouble.of.as_deref();
        let of = of.map_or_else(String::new, |of| format!("{of}: "));
        let why = match said.lines().last() {
            Some(last) if trouble.why.contains("exited with status") => {
                format!("{} ({last}); pass its arguments after --", trouble.why)
            }
            _ => trouble.why.clone(),
        };
        let place = place_in(file, trouble.line.as_deref());
        reasons.push(format!("{of}{why} ({place})"));
    }
    for what in &set_up.not_done {
        // The reason for a failure to load may mention this action already.
        if !reasons.iter().any(|reason| reason.contains(&what.would)) {
            let place = place_in(file, what.line.as_deref());
            let would = &what.would;
            reasons.push(format!(
                "not done, because only --run permits it: {would} ({place})"
            ));
        }
    }
    for factory in &set_up.not_called {
        reasons.push(format!("{factory}, because its arguments are not known"));
    }
    reasons
}

fn examine_executors(set_up: &SetUp, own: &Command, diagnosis: &mut Diagnosis) {
    for other in &set_up.others {
        diagnosis.not_examined(&format!(
            "executor {other}, which is not a HighThroughputExecutor"
        ));
    }
    for executor in &set_up.executors {
        let mut found = Vec::new();
        found.extend(flags::of_interchange(executor, set_up, own));
        examine_program(executor, set_up, &mut found, diagnosis);
        examine_network(executor, &mut found, diagnosis);
        examine_blocks(executor, set_up, &mut found, diagnosis);
        diagnosis.add_about(executor.label(), found);
        if let Some(unknown) = executor
            .unknown
            .as_ref()
            .filter(|unknown| !unknown.is_empty())
        {
            let names = unknown.join(", ");
            diagnosis.not_examined(&format!(
                "{names}, which the executor of this Parsl release does not have"
            ));
        }
    }
    diagnosis.add(ports::twice(&set_up.executors));
    diagnosis.add(flags::metrics_twice(set_up, own));
    diagnosis.add(flags::events_twice(set_up, own));
    diagnosis.not_examined("firewalls between the nodes and this machine");
}

fn examine_program(
    executor: &Executor,
    set_up: &SetUp,
    found: &mut Vec<Finding>,
    diagnosis: &mut Diagnosis,
) {
    diagnosis.examined("interchange_launch_cmd");
    let (program, of_program) = program::interchange(executor, set_up);
    found.extend(of_program);
    if !matches!(program, Program::Stock(_)) {
        diagnosis.examined("descriptors");
        match (executor.managers_max(), capacity::descriptor_limit()) {
            (Some(managers), Some(limit)) => found.extend(capacity::descriptors(managers, limit)),
            _ => diagnosis.not_examined("descriptors, because the number of managers is not known"),
        }
    }
    diagnosis.examined("manager selector");
    found.extend(
        executor
            .manager_selector
            .iter()
            .flat_map(selector::selector),
    );
    diagnosis.examined("encryption and certificates");
    found.extend(certificates::encryption(executor, set_up));
}

fn examine_network(executor: &Executor, found: &mut Vec<Finding>, diagnosis: &mut Diagnosis) {
    diagnosis.examined("addresses");
    let of_managers = address::of_managers(executor);
    // If the address is wrong, no port can be used there, and a finding about ports says nothing
    // new.
    let is_sound = of_managers
        .iter()
        .all(|finding| finding.severity != Severity::Problem);
    found.extend(of_managers);
    diagnosis.examined("ports");
    if is_sound {
        let listened_at = address::listened_at(executor);
        found.extend(ports::worker_port(executor, listened_at.as_ref()));
    }
    match address::loopback(executor) {
        Ok(loopback) => found.extend(ports::submit_ports(executor, &loopback)),
        Err(finding) => found.push(*finding),
    }
    found.extend(address::of_monitoring(executor));
    found.extend(ports::monitoring_port(executor));
}

fn examine_blocks(
    executor: &Executor,
    set_up: &SetUp,
    found: &mut Vec<Finding>,
    diagnosis: &mut Diagnosis,
) {
    diagnosis.examined("heartbeats");
    found.extend(capacity::heartbeats(executor));
    diagnosis.examined("blocks");
    found.extend(capacity::blocks(executor));
    found.extend(capacity::processes(executor));
    let commands = commands::of_blocks(executor, set_up);
    found.extend(commands.found);
    if commands.examined {
        diagnosis.examined("the commands that start blocks");
    }
    for what in &commands.not_examined {
        diagnosis.not_examined(what);
    }
    found.extend(versions::worker_init(executor, set_up));
    if program::is_pool_examined(executor) {
        diagnosis.examined("the worker pool's versions");
        found.extend(program::worker_pool(executor, set_up));
    } else {
        diagnosis.not_examined("the managers' environment");
    }
    if let Some(directory) = &executor.run_dir {
        diagnosis.examined("run_dir");
        found.extend(run_dir::name(executor));
        found.extend(disk::run_dir(directory));
    }
}
