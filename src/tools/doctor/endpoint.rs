//! An endpoint of Globus Compute: whether htex-interchange would serve it, and in which way.

mod set_up;
mod ways;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use submit_side::versions::interpreter_of;

use super::configuration::window;
use super::question::{self, NoAnswer};
use crate::doctor::diagnosis::Diagnosis;
use crate::endpoint_command;
use crate::running::client::{Answer, Found};
use crate::running::labels::name_of;
use crate::running::search::{below, survey};
use crate::shared::endpoint::{ENVIRONMENT, TEMPLATE, user_endpoints};
use crate::shared::finding::Finding;
use crate::shared::pth::Site;
use crate::shared::words;

use set_up::SetUp;
use ways::Command;

const QUESTION: &str = include_str!("endpoint/question.py");
/// Engines that start an interchange. `WITHOUT` lists engines that have their own workers.
const WITH_INTERCHANGE: [&str; 2] = ["GlobusComputeEngine", "GlobusMPIEngine"];
const WITHOUT: [&str; 2] = ["ThreadPoolEngine", "ProcessPoolEngine"];

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotExamined {
    #[error("{}: {error}", directory.display())]
    Directory {
        directory: PathBuf,
        error: std::io::Error,
    },
    #[error(
        "no globus-compute-endpoint on PATH is a Python script; activate the endpoint's \
         environment, or name its Python with --python"
    )]
    PythonMissing,
    #[error("{}: {reason}", python.display())]
    Unanswered { python: PathBuf, reason: NoAnswer },
}

/// Examines the endpoint in `directory`. Uses the Python `named`, or else that of the command on
/// PATH.
pub(super) fn examine(directory: &Path, named: Option<&Path>) -> Result<Diagnosis, NotExamined> {
    let directory = directory
        .canonicalize()
        .map_err(|error| NotExamined::Directory {
            directory: directory.to_owned(),
            error,
        })?;
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = || interpreter_of(&endpoint_command::next(&path)?, &path);
    let python = named.map(Path::to_owned).or_else(on_path);
    let mut python = python.ok_or(NotExamined::PythonMissing)?;
    let mut set_up = ask(&python, &directory)?;
    let mut command = Command::on(set_up.command_path());
    // The endpoint's environment may lead to another Python than the first one.
    if let Some(other) = command.python().filter(|other| !set_up.is_of(other)) {
        set_up = ask(&other, &directory)?;
        python = other;
        command = Command::on(set_up.command_path());
    }
    let mut diagnosis = Diagnosis::new(about(&directory, &set_up));
    diagnosis.examined("Parsl's release");
    diagnosis.add(set_up.parsl.as_deref().and_then(window));
    examine_environment(&set_up, &mut diagnosis);
    diagnosis.examined("which program user endpoints would start as the interchange");
    let site = Site::of(&python).ok();
    let enabled = site.as_ref().and_then(Site::enabled);
    diagnosis.add(command.findings(enabled.as_ref()));
    diagnosis.add(serving(&directory));
    diagnosis.add(without_interchange(&directory));
    diagnosis.not_examined(&format!("{TEMPLATE}, because its users' options change it"));
    diagnosis
        .not_examined("whether user endpoints that are already running use another interchange");
    if let Some(last) = last_run(&directory) {
        diagnosis.not_examined(&format!(
            "the logs of its user endpoints (for the last one: {})",
            words::command("htex-interchange doctor", &last)
        ));
    }
    Ok(diagnosis)
}

fn ask(python: &Path, directory: &Path) -> Result<SetUp, NotExamined> {
    question::ask(python, QUESTION, directory).map_err(|reason| NotExamined::Unanswered {
        python: python.to_owned(),
        reason,
    })
}

fn about(directory: &Path, set_up: &SetUp) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let or_none = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    format!(
        "The endpoint {name} in {} (Globus Compute {}, Python {}, Parsl {})",
        directory.display(),
        or_none(&set_up.release),
        set_up.python,
        or_none(&set_up.parsl)
    )
}

fn examine_environment(set_up: &SetUp, diagnosis: &mut Diagnosis) {
    match set_up.unread() {
        Some(why) => diagnosis.not_examined(&format!("{ENVIRONMENT} ({why})")),
        None => diagnosis.examined(ENVIRONMENT),
    }
    diagnosis.add(set_up.findings());
    if set_up.goes_by_this_environment() {
        diagnosis.not_examined(
            "the environment of another program that starts the endpoint, for example systemd",
        );
    }
}

/// Reports the running interchanges of htex-interchange that serve the endpoint.
fn serving(directory: &Path) -> Vec<Finding> {
    let told = |found: Found| match found.answer {
        Answer::Told { document, .. } => Some(document),
        Answer::Silent(_) | Answer::Unclear(_) => None,
    };
    let (running, _) = below(survey().found, directory, true);
    let running = running.into_iter().filter_map(told);
    running
        .map(|document| {
            let pid = document.interchange.pid;
            let name = name_of(&document);
            let what = format!("htex-interchange serves {name} now, as process {pid}.");
            Finding::note("serving", what).shown_by(format!(
                "interchange.pid={pid} (htex-interchange status --json)"
            ))
        })
        .collect()
}

/// Returns the user endpoint whose directory changed last. The directory changes when a run begins.
fn last_run(directory: &Path) -> Option<PathBuf> {
    let changed = |place: &PathBuf| fs::metadata(place).and_then(|it| it.modified()).ok();
    user_endpoints(directory).into_iter().max_by_key(changed)
}

/// Reports a template that names only engines without an interchange. The template is searched as
/// text, because it is no YAML before its options are filled in.
fn without_interchange(directory: &Path) -> Option<Finding> {
    let template = fs::read_to_string(directory.join(TEMPLATE)).ok()?;
    let names = |engines: &[&str]| engines.iter().any(|engine| template.contains(engine));
    (names(&WITHOUT) && !names(&WITH_INTERCHANGE)).then(|| {
        Finding::note(
            "engine-without-interchange",
            format!("{TEMPLATE} names an engine that uses no interchange."),
        )
        .because("Its tasks run in the user endpoint itself, or in its child processes.")
        .shown_by(format!(
            "{}: {}",
            directory.join(TEMPLATE).display(),
            named_in(&template)
        ))
    })
}

/// Returns the line that names an engine without an interchange.
fn named_in(template: &str) -> &str {
    let mut lines = template.lines();
    let line = lines.find(|line| WITHOUT.iter().any(|engine| line.contains(engine)));
    line.unwrap_or_default().trim()
}
