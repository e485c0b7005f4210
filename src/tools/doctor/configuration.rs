//! A configuration that is to be started: all checks, one after another.

mod checks;
mod description;

use std::path::{Path, PathBuf};

use clap::Command;

use super::disk;
use super::question::{self, NoAnswer};
use crate::doctor::diagnosis::Diagnosis;
use crate::shared::finding::{Finding, Severity};
use crate::shared::python;

use checks::program::Program;
use checks::{address, capacity, certificates, flags, ports, program, selector, versions};
use description::{Executor, SetUp};

pub(super) use checks::versions::window;

/// Has the user's Python load the configuration.
const QUESTION: &str = include_str!("configuration/question.py");

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotExamined {
    #[error("{}: there is no such file or directory", .0.display())]
    FileMissing(PathBuf),
    #[error("no Python was found; name one with --python")]
    PythonMissing,
    #[error("{}: {reason}", file.display())]
    Unanswered { file: PathBuf, reason: NoAnswer },
    #[error("{} has no Parsl ({why}); name another Python with --python", python.display())]
    ParslMissing { python: PathBuf, why: String },
    #[error(
        "{}: it binds no Config and no executor, and no function *config* makes one",
        .0.display()
    )]
    ConfigMissing(PathBuf),
}

/// Loads `file` with `named`, or the Python that is found, and examines what is in it.
pub(super) fn examine(
    file: &Path,
    named: Option<&Path>,
    own: &Command,
) -> Result<Diagnosis, NotExamined> {
    if !file.is_file() {
        return Err(NotExamined::FileMissing(file.to_owned()));
    }
    let interpreter = named.map(Path::to_owned).or_else(python::of_submit_side);
    let interpreter = interpreter.ok_or(NotExamined::PythonMissing)?;
    let it = interpreter.display();
    let mut diagnosis = Diagnosis::new(format!("{}, loaded by {it}", file.display()));
    let set_up = match question::ask::<SetUp>(&interpreter, QUESTION, file) {
        Ok(set_up) => set_up,
        Err(reason @ NoAnswer::NotLoaded) => {
            diagnosis.add([hangs(file, &reason)]);
            return Ok(diagnosis);
        }
        Err(reason) => {
            return Err(NotExamined::Unanswered {
                file: file.to_owned(),
                reason,
            });
        }
    };
    if let Some(trouble) = &set_up.parsl_trouble {
        return Err(NotExamined::ParslMissing {
            python: interpreter,
            why: trouble.clone(),
        });
    }
    let parsl = set_up.parsl.as_deref().unwrap_or("unknown");
    diagnosis.about += &format!(" (Python {}, Parsl {parsl})", set_up.python);
    diagnosis.examined("Parsl's release");
    diagnosis.add(versions::window(parsl));
    if let Some(lines) = &set_up.error {
        diagnosis.add([raises(file, lines)]);
        return Ok(diagnosis);
    }
    if set_up.executors.is_empty() && set_up.others.is_empty() {
        return Err(NotExamined::ConfigMissing(file.to_owned()));
    }
    diagnosis.about += &format!("; found: {}", set_up.names.join(", "));
    examine_executors(&set_up, own, &mut diagnosis);
    Ok(diagnosis)
}

fn hangs(file: &Path, reason: &NoAnswer) -> Finding {
    Finding::problem(
        "config-hangs",
        format!("{} was ended: {reason}.", file.display()),
    )
    .because("It waits for something, or does its work where it makes its configuration.")
    .remedy("Put the configuration in a file of its own, which only makes it.")
}

fn raises(file: &Path, lines: &[String]) -> Finding {
    Finding::problem(
        "config-raises",
        format!(
            "{} cannot be loaded:\n{}\n",
            file.display(),
            lines.join("\n")
        ),
    )
    .because("A program that uses it would end there.")
    .remedy("Correct it; `python FILE` in the same environment shows the same.")
}

fn examine_executors(set_up: &SetUp, own: &Command, diagnosis: &mut Diagnosis) {
    for other in &set_up.others {
        diagnosis.not_examined(&format!(
            "executor {other}, which is no HighThroughputExecutor"
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
            diagnosis.not_examined(&format!("{names}, which this Parsl's executor has not"));
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
            _ => diagnosis.not_examined("descriptors, as the number of managers is not known"),
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
    // At an address that is no good, no port is either.
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
        Err(finding) => found.push(finding),
    }
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
    found.extend(versions::worker_init(executor, set_up));
    if program::is_pool_examined(executor) {
        diagnosis.examined("the worker pool's versions");
        found.extend(program::worker_pool(executor, set_up));
    } else {
        diagnosis.not_examined("the managers' environment");
    }
    if let Some(run_dir) = &executor.run_dir {
        diagnosis.examined("run_dir");
        found.extend(disk::run_dir(run_dir));
    }
}
