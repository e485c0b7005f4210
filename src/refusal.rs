//! Refuses a start: one line on stderr and in the log, and an exception in `parsl.load()`.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::CommandFactory;

use event_loop::{OpenError, SideServiceError, Signals};
use htex_interchange::cli::Arguments;
use keeper::Kept;
use logging::LogGuard;
use submit_side::config::{self, ConfigError, RawConfig, SubmitSide};
use submit_side::curve::{CertificateError, Certificates};

use super::exit::{self, exit_at_once};
use super::log::{LogError, start_log};
use super::selector::SelectorError;

/// Time limit for the configuration, which HTEX writes directly after it starts this program.
const CONFIGURED_WITHIN: Duration = Duration::from_secs(2);

/// Whether an earlier broker served this run. Then the executor does not wait for an answer to its
/// start.
static IS_RESTART: AtomicBool = AtomicBool::new(false);

/// Records whether this process is a restarted broker. Call this as soon as it is known.
pub(crate) fn note_restart(kept: Option<&Kept>) {
    let is_restart = kept.is_some_and(|kept| kept.restart().is_some());
    IS_RESTART.store(is_restart, Ordering::Relaxed);
}

/// Why the start is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedStart {
    #[error("wrong arguments: {0}")]
    Arguments(String),
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the certificates cannot be used: {0}")]
    Certificates(#[from] CertificateError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    SideService(#[from] SideServiceError),
    #[error(transparent)]
    EventLoop(#[from] OpenError),
}

/// Reports the reason to the submit side and ends the process. After a restart the executor does
/// not wait for an answer to its start: then the keeper reports the end, if it does not try again.
pub(crate) fn refuse(
    reason: &RefusedStart,
    side: Option<&SubmitSide>,
    log: Option<&LogGuard>,
) -> ! {
    let is_restart = IS_RESTART.load(Ordering::Relaxed);
    if is_restart && matches!(reason, RefusedStart::EventLoop(OpenError::StarterGone)) {
        codes::log!(
            SUBMIT_SIDE_GONE,
            "The submit process ended while the interchange was restarting: no process is left to \
             serve"
        );
        if let Some(log) = log {
            log.flush_for(logging::EXIT_FLUSH);
        }
        exit_at_once(exit::DONE)
    }
    let (line, status) = match is_restart {
        true => (
            format!("htex-interchange could not continue: {reason}"),
            exit::BROKEN,
        ),
        false => (line_about(reason), exit::REFUSED),
    };
    let _ = writeln!(io::stderr(), "{line}");
    if is_restart {
        codes::log!(RESTART_FAILED, "{line}");
    } else {
        codes::log!(START_REFUSED, "{line}");
        tell_submit_side(&line, side);
    }
    if let Some(log) = log {
        log.flush_for(logging::EXIT_FLUSH);
    }
    exit_at_once(status)
}

/// Refuses wrong arguments. A user at a terminal reads the reason on stderr. HTEX has sent its
/// configuration by then, and gets the same report as for any other refused start.
pub(crate) fn refuse_arguments(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let status = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::BY_HAND));
    let first = env::args_os().nth(1).unwrap_or_default();
    let is_tool = Arguments::command().find_subcommand(first).is_some();
    let is_by_hand = is_tool || io::stdin().is_terminal();
    if !error.use_stderr()
        || is_by_hand
        || !event_loop::is_readable_within(io::stdin(), CONFIGURED_WITHIN)
        || Signals::until_configured().is_err()
    {
        return status;
    }
    let Ok(bytes) = config::read_pickle(io::stdin().lock()) else {
        return status;
    };
    let line = line_about(&RefusedStart::Arguments(tools::in_one_line(error)));
    if let Ok(raw) = RawConfig::read(&bytes) {
        let log = raw
            .logging()
            .ok()
            .and_then(|logging| start_log(&logging).ok());
        codes::log!(START_REFUSED, "{line}");
        tell_submit_side(&line, raw.submit_side().ok().as_ref());
        if let Some(log) = log {
            log.flush_for(logging::EXIT_FLUSH);
        }
    }
    status
}

pub(crate) fn load_certificates(
    side: &SubmitSide,
) -> Result<Option<Certificates>, CertificateError> {
    side.cert_dir.as_deref().map(Certificates::load).transpose()
}

fn line_about(reason: &RefusedStart) -> String {
    format!("htex-interchange refused to start: {reason}")
}

fn tell_submit_side(line: &str, side: Option<&SubmitSide>) {
    let Some(side) = side else {
        return;
    };
    match load_certificates(side).map_err(RefusedStart::Certificates) {
        Ok(certificates) => match event_loop::refuse(side, certificates.as_ref(), line) {
            Ok(true) => codes::log!(REFUSAL_DELIVERED, "The submit side was notified"),
            Ok(false) => codes::log!(
                REFUSAL_UNDELIVERED,
                "The submit side sent no command, and could not be notified"
            ),
            Err(error) => codes::log!(
                REFUSAL_UNDELIVERED,
                "The submit side could not be notified: {error}"
            ),
        },
        Err(reason) => codes::log!(
            REFUSAL_UNDELIVERED,
            "The submit side could not be notified: {reason}"
        ),
    }
}
