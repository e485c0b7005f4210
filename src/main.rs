//! The program: command line, then configuration, then log, then the loop. Whatever goes wrong on
//! that way is one line, and what the process ends with means something.

mod exit;
mod log;
mod newer_parsl;
mod refusal;
mod selector;
mod start;
mod telemetry;
mod versions;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use event_loop::{Ancestry, Signals};
use htex_interchange::cli::{Arguments, by_hand};
use submit_side::config::{self, RawConfig};
use tools::endpoint_command::{self, Call};

use newer_parsl::hand_over_if_newer;
use refusal::{RefusedStart, refuse, refuse_arguments};

fn main() -> ExitCode {
    // First of all: later the parent may be another.
    let ancestry = Ancestry::read();
    let mut arguments = match endpoint_command::call(env::args_os()) {
        None => match Arguments::try_parse() {
            Ok(arguments) => arguments,
            Err(error) => return refuse_arguments(&error),
        },
        Some(Call::Interchange) => Arguments::of_endpoint(),
        Some(Call::Another(arguments)) => return endpoint_command::pass_on(&arguments),
    };
    if let Some(tool) = arguments.tool.take() {
        return tools::run(tool, Arguments::command());
    }
    if io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "{}", by_hand());
        return ExitCode::from(exit::BY_HAND);
    }
    let (bytes, signals) = read_config().unwrap_or_else(|reason| refuse(&reason, None, None));
    match RawConfig::read(&bytes) {
        Ok(raw) => start::start(&arguments, (&bytes, raw), signals, ancestry),
        Err(error) => {
            hand_over_if_newer(&arguments, &bytes, &ancestry, None, None);
            refuse(&error.into(), None, None)
        }
    }
}

/// What HTEX writes to standard input, and the signals that are ours from then on.
fn read_config() -> Result<(Vec<u8>, Signals), RefusedStart> {
    Signals::until_configured().map_err(RefusedStart::Signals)?;
    let bytes = config::read_pickle(io::stdin().lock())?;
    // Before the first thread, which inherits the mask.
    let signals = Signals::open().map_err(RefusedStart::Signals)?;
    Ok((bytes, signals))
}
