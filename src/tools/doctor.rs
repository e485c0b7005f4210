//! `doctor CONFIG.py|RUNDIR|ENDPOINT`: reports in plain words what would go wrong with a
//! configuration, what went wrong in a run, or which interchange an endpoint of Globus Compute has.
//! Nothing is started and nothing is changed.
//!
//! * [`configuration`] examines a file. `kind` decides whether it is Python. The user's Python
//!   loads it with `question.py`, restricted by `guard.py`. `factories.py` decides which functions
//!   to call. `surroundings.py` knows what the file may lack here, and `troubles.py` decides
//!   whether the file or its surroundings are wrong. `description` is the answer, and each file of
//!   `checks` examines one part of it. A new check is a function there that returns findings, and a
//!   line in `configuration::examine_executors`.
//! * [`endpoint`] examines an endpoint's directory. `set_up` is the answer of the endpoint's own
//!   Python (by `question.py`), and `ways` decides which interchange would serve.
//! * [`run`](mod@run) examines a run's directory. `log` reads the interchange's log, `events` knows
//!   its sentences, `blocks` reads the files that blocks left, and `still_running` queries an
//!   interchange that still runs. A new sentence of the log is an entry of `kinds::KINDS`.
//! * [`diagnosis`] is the result, as text and as JSON. [`question`] runs a script by the user's
//!   Python. [`disk`] is examined for configurations and for runs.

mod configuration;
mod diagnosis;
mod disk;
mod endpoint;
mod question;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

use crate::explain::{page, without_page};
use crate::shared::endpoint::is_endpoint;
use crate::shared::finding::Severity;
use crate::shared::output::{Trouble, WRONG_ARGUMENTS, complain, say, say_as_it_is};
use configuration::Loading;
use question::LOADED_WITHIN;

const WARNINGS: u8 = 3;
const PROBLEMS: u8 = 4;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A Python file that defines a Parsl configuration (loaded, not started); a run directory
    /// (runinfo/000) or an executor's directory in it; or the directory of a Globus Compute
    /// endpoint (~/.globus_compute/NAME)
    #[arg(
        value_name = "CONFIG.py|RUNDIR|ENDPOINT",
        required_unless_present = "explain"
    )]
    what: Option<PathBuf>,

    /// The Python that loads the configuration or runs the endpoint. Default: that of the
    /// interchange.py on PATH, else python3 on PATH; for an endpoint that of
    /// globus-compute-endpoint on PATH.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,

    /// Allow the configuration its side effects while it loads: write, delete, connect, start
    #[arg(long)]
    run: bool,

    /// Time limit for loading the configuration
    #[arg(long, value_name = "SECONDS", default_value_t = LOADED_WITHIN.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    load_within: u64,

    /// Arguments for the program in CONFIG.py
    #[arg(last = true, value_name = "ARG")]
    program_arguments: Vec<OsString>,

    /// Only explain a finding of doctor or status: what it means, what shows it, likely causes, and
    /// what to do
    #[arg(long, value_name = "ID", conflicts_with = "json")]
    explain: Option<String>,
}

const AFTER_HELP: &str = "Unless --run permits it, the process that loads a configuration may not \
                          write or remove files, connect, or start processes. Exit status: 0 no \
                          problem was found; 1 it could not be examined, so nothing is known about \
                          it; 2 wrong arguments; 3 warnings; 4 problems.";

/// Runs `doctor`. `program` is htex-interchange's command line, by which the arguments in
/// `interchange_launch_cmd` are checked.
pub(super) fn run(arguments: &Arguments, program: &Command) -> Result<ExitCode, Trouble> {
    let what = match (&arguments.explain, &arguments.what) {
        (None, Some(what)) => what,
        (id, _) => return explain(id.as_deref().unwrap_or_default()),
    };
    let python = arguments.python.as_deref();
    let diagnosis = match (what.is_dir(), run::examine_removed(what)) {
        (true, _) if is_endpoint(what) => endpoint::examine(what, python)?,
        (true, _) => run::examine(what)?,
        (false, Some(diagnosis)) => diagnosis,
        (false, None) => {
            let loading = Loading::of(what, arguments)?;
            if !arguments.json {
                say(format!("{}\n", loading.does()))?;
            }
            loading.examine(program)?
        }
    };
    match arguments.json {
        true => say_as_it_is(diagnosis.as_json()?)?,
        false => say(diagnosis.as_text())?,
    }
    Ok(match diagnosis.worst() {
        Severity::Note => ExitCode::SUCCESS,
        Severity::Warning => ExitCode::from(WARNINGS),
        Severity::Problem => ExitCode::from(PROBLEMS),
    })
}

fn explain(id: &str) -> Result<ExitCode, Trouble> {
    match page(id) {
        Some(page) => {
            say(page)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            complain(format!("htex-interchange: {}", without_page(id)));
            Ok(ExitCode::from(WRONG_ARGUMENTS))
        }
    }
}
