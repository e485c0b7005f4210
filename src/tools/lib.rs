//! What people run by hand: `htex-interchange TOOL`.
//!
//! A tool is a module with its arguments and a `run`, a variant of [`Tool`], whose first line of
//! documentation is what every list of tools shows, and an arm of [`run`]. Tools stand outside
//! of the broker's life: `main` runs one before it has touched standard input or signals, and none
//! can name the broker or a socket of ZeroMQ.
//!
//! | tool | module | what is in it |
//! | --- | --- | --- |
//! | `status` | `status` | `screen`: one interchange in full or in short; `table` |
//! | `top` | `top` | `app`: what keys do; `draw`; `rows`: which managers; `history`: rates |
//! | `doctor` | `doctor` | `configuration`: before a run; `run`: after one; `diagnosis` |
//! | `guide` | `guide` | `markdown`: a page in plain lines; `table` |
//! | `report` | `report` | finds the Python whose package draws the page |
//! | `install-shim` | `install_shim` | `told`: who finds it, and what to do for that |
//! | `enable`, `disable`, `enabled` | `enable` | words; `shared::pth` does it |
//! | `completions`, `man` | the same | the command line for a shell and for `man` |
//!
//! `endpoint_command` is no tool: it is what the program does where an endpoint of Globus Compute
//! has called it by the name of its own command.
//!
//! Below the tools lie three rooms, and no file of them knows a tool:
//!
//! * `explain`: the page on a finding, by its id. The texts are the guide's: a new finding needs a
//!   section in `src/guide/findings/`.
//! * `running`: interchanges that run. `search` finds them, `client` asks one, `findings` says what
//!   its answer means (a rule of what is wrong with a run goes there), `manager_counts` adds
//!   managers up, `labels` names things, and `last_words` reads the logs of those that do not
//!   answer.
//! * `shared`: what has nothing to do with that. `finding` (what was found, how bad it is),
//!   `words` (numbers, times and lines as people read them), `paper` (colours and widths), `pager`,
//!   `output` (standard output, and the line that a tool ends with), `log_file`, `occupant` (whose
//!   program a file is), `process` (what `/proc` tells of one), `python` (which Pythons there are),
//!   `pth` (what makes a Python start this program), `put` (a file that is replaced at once),
//!   `endpoint` (directories of Globus Compute), `child` (programs that are run for a moment).

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

/// Exit status of a tool that ended early; wrong arguments are clap's 2.
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

/// Whoever reads our output has seen enough, as `head` does.
fn is_closed_pipe(trouble: &(dyn Error + 'static)) -> bool {
    trouble
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
