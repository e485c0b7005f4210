//! The program: it reads the command line and the configuration, opens the log, and runs the event
//! loop. Any failure on the way is reported in one line, and the exit status says what kind it is.

mod exit;
mod inside;
mod last_words;
mod log;
mod newer_parsl;
mod refusal;
mod selector;
mod start;
mod survive;
mod telemetry;
mod versions;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use event_loop::{Ancestry, Signals, WatchTarget, WatchedProcess};
use htex_interchange::cli::{Arguments, by_hand};
use submit_side::config::{self, RawConfig, SubmitSide};
use tools::endpoint_command::{self, Call};

use newer_parsl::hand_over_if_newer;
use refusal::{RefusedStart, refuse, refuse_arguments};
use start::Own;
use survive::Began;

fn main() -> ExitCode {
    // This must be first: later the process may have another parent.
    let ancestry = Ancestry::read();
    let mut arguments = match endpoint_command::call(env::args_os()) {
        None => match Arguments::try_parse() {
            Ok(arguments) => arguments,
            Err(error) if inside::is_asked(&error, env::args_os()) => return inside::print_all(),
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
    let bytes = read_config().unwrap_or_else(|reason| refuse(&reason, None, None));
    let began = Began::now();
    let memory = survive::memory(&arguments);
    let submit_process = |side: &SubmitSide| {
        let target = arguments.watch_pid.unwrap_or(WatchTarget::Starter);
        WatchedProcess::of(target, &ancestry, side)
    };
    // This must run before the first thread starts. It returns in each broker of the run.
    let kept = keeper::keep(
        |loss, notes| last_words::say(&bytes, loss, notes, submit_process),
        event_loop::remove_status_socket_of,
    );
    refusal::note_restart(kept.as_ref().ok());
    let signals = Signals::open();
    let signals = signals.unwrap_or_else(|e| refuse(&RefusedStart::Signals(e), None, None));
    let own = Own {
        signals,
        kept,
        ancestry,
        began,
        memory,
    };
    match RawConfig::read(&bytes) {
        Ok(raw) => start::start(&arguments, (&bytes, raw), own),
        Err(error) => {
            hand_over_if_newer(
                &arguments,
                &bytes,
                &own.ancestry,
                own.kept.as_ref().ok(),
                None,
                None,
            );
            refuse(&error.into(), None, None)
        }
    }
}

/// Reads HTEX's configuration from standard input. Until it has arrived, SIGTERM ends this process
/// at once.
fn read_config() -> Result<Vec<u8>, RefusedStart> {
    Signals::until_configured().map_err(RefusedStart::Signals)?;
    Ok(config::read_pickle(io::stdin().lock())?)
}
