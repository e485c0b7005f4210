//! `completions SHELL`: prints the script that completes the command line in a shell.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::shared::output::{Trouble, say_as_it_is};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell that is to read it; bash does with: source <(htex-interchange completions bash)
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, mut program: Command) -> Result<ExitCode, Trouble> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    say_as_it_is(script)?;
    Ok(ExitCode::SUCCESS)
}
