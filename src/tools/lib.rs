//! Tools that people run by hand: `htex-interchange TOOL`.
//!
//! A tool is a module with its arguments and a `run`, a variant of [`Tool`], and an arm of [`run`].
//! The first line of the variant's documentation is what every list of tools shows. Tools are
//! independent of the broker: `main` runs a tool before it touches standard input or signals, and
//! no tool can use the broker or a socket of ZeroMQ.
//!
//! | tool | module | contents |
//! | --- | --- | --- |
//! | `status` | `status` | `screen`: one interchange in full or in short; `table` |
//! | `top` | `top` | `app`: what keys do; `draw`; `rows`: which managers; `history`: rates |
//! | `doctor` | `doctor` | `configuration`: before a run; `run`: after one; `diagnosis` |
//! | `guide` | `guide` | `markdown`: a page in plain lines; `table` |
//! | `report` | `report` | finds the Python whose package draws the page |
//! | `install-shim` | `install_shim` | `told`: which programs find the shim, and what to do |
//! | `enable`, `disable`, `enabled` | `enable` | the texts; `shared::pth` has the files |
//! | `completions`, `man` | the same | the command line for a shell and for `man` |
//!
//! `endpoint_command` is no tool: this program runs it when an endpoint of Globus Compute calls it
//! by the name of the endpoints' own command.
//!
//! The tools use three modules, none of which depends on a tool:
//!
//! * `explain`: the page on a finding, by its id. The guide has the texts: a new finding needs a
//!   section in `src/guide/findings/`.
//! * `running`: running interchanges. `search` finds them, `client` queries one, `findings`
//!   interprets its answer (rules about what is wrong with a run belong there), `manager_counts`
//!   sums over managers, `labels` names things, and `last_words` reads the logs of interchanges
//!   that do not answer.
//! * `shared`: everything else. `finding` (a finding and its severity), `words` (numbers, times and
//!   lines for people), `charset` (what a terminal can show), `coded` (log lines by their codes),
//!   `paper` (colours and widths), `pager`, `output` (standard output, and the line with which a
//!   tool fails), `log_file`, `occupant` (which program a file is), `process` (information from
//!   `/proc`), `python` (which Pythons there are), `pth` (files that make a Python start this
//!   program), `put` (a file that is replaced at once), `endpoint` (directories of Globus Compute),
//!   `child` (child processes with a time limit).

mod completions;
mod doctor;
mod enable;
pub mod endpoint_command;
mod explain;
mod guide;
mod install_shim;
mod man;
mod report;
mod running;
mod shared;
mod status;
mod top;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Command, Subcommand};

use shared::output::complain;

pub use shared::output::in_one_line;
pub use shared::paper::is_dumb;

/// A tool with its arguments.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Show the state of running interchanges, and what is wrong
    Status(status::Arguments),
    /// Watch running interchanges live, and hold managers
    Top(top::Arguments),
    /// Put this program where an unchanged Parsl finds it, as interchange.py
    InstallShim(install_shim::Arguments),
    /// Make a Python start this program wherever it would start Parsl's own interchange
    Enable(enable::Arguments),
    /// Undo enable
    Disable(enable::WhichPython),
    /// Show whether a Python is enabled, by which file, and for which program
    Enabled(enable::WhichPython),
    /// Find what would go wrong with a Parsl configuration, or went wrong in a run
    Doctor(doctor::Arguments),
    /// Print a page of the guide, or what a code, a finding, a flag or a metric is
    Guide(guide::Arguments),
    /// Make an HTML report of a run from its events file
    Report(report::Arguments),
    /// Print a shell completion script
    Completions(completions::Arguments),
    /// Print the manual page, in troff: htex-interchange man | man -l -
    Man,
}

/// Exit status of a tool that failed. Wrong arguments have clap's exit status, 2.
const FAILED: u8 = 1;

/// Runs `tool` to its end. `program` is the whole command line, for tools that describe it.
pub fn run(tool: Tool, program: Command) -> ExitCode {
    let name = program.get_name().to_owned();
    let ended = match tool {
        Tool::Status(arguments) => status::run(&arguments),
        Tool::Top(arguments) => top::run(&arguments),
        Tool::InstallShim(arguments) => install_shim::run(&arguments),
        Tool::Enable(arguments) => enable::enable(&arguments),
        Tool::Disable(which) => enable::disable(&which),
        Tool::Enabled(which) => enable::enabled(&which),
        Tool::Doctor(arguments) => doctor::run(&arguments, &program),
        Tool::Guide(arguments) => guide::run(&arguments),
        Tool::Report(arguments) => report::run(&arguments),
        Tool::Completions(arguments) => completions::run(&arguments, program),
        Tool::Man => man::run(program),
    };
    ended.unwrap_or_else(|trouble| {
        if is_closed_pipe(trouble.as_ref()) {
            return ExitCode::SUCCESS;
        }
        complain(format!("{name}: {trouble}\n"));
        ExitCode::from(FAILED)
    })
}

/// Whether the error is a closed pipe: the output's reader, such as `head`, has seen enough.
fn is_closed_pipe(trouble: &(dyn Error + 'static)) -> bool {
    trouble
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
