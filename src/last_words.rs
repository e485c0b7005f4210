//! The last words after a broker was killed: another process notifies the executor and the
//! managers. It knows what the keeper has: the configuration, and the notes that the broker left.

use std::env;
use std::io;
use std::time::Duration;

use event_loop::{LastWords, Signals, WatchedProcess, remove_status_socket_of};
use keeper::{Loss, Notes};
use submit_side::config::{Config, RawConfig, SubmitSide};

use super::log::start_log;
use super::refusal::load_certificates;

/// Environment variable with the command port of an executor that watches its interchange process.
/// Such an executor, htex_interchange's own, reports the end of the process to its futures.
const WATCHED: &str = "HTEX_INTERCHANGE_WATCHED";

/// Notifies the executor and the managers of the broker's end. Errors go to the log, if there is
/// one. `submit_process` returns the process of the executor that is notified.
pub(crate) fn say(
    config: &[u8],
    loss: &Loss,
    notes: &Notes,
    submit_process: impl FnOnce(&SubmitSide) -> WatchedProcess,
) {
    let signals = Signals::open();
    remove_status_socket_of(loss.fallen.process);
    let Ok(raw) = RawConfig::read(config) else {
        return;
    };
    let log = raw.logging().ok().and_then(|it| start_log(&it).ok());
    let how = loss.fallen;
    let not_again = match &loss.why_no_restart {
        None => String::new(),
        Some(why) => format!(". It was not started again: {why}"),
    };
    codes::log!(
        INTERCHANGE_KILLED,
        "htex-interchange {how}; it was process {}{not_again}",
        loss.fallen.process
    );
    if let Ok(config) = raw.check() {
        let reason = format!(
            "htex-interchange {how}; tasks and results that it had not forwarded are \
             lost{not_again}. Its log: {}",
            config.logging.logdir.join("interchange.log").display()
        );
        let submit_process = submit_process(&config.submit_side);
        tell(
            &config,
            notes,
            &reason,
            submit_process,
            signals.as_ref().ok(),
        );
    }
    if let Some(log) = log {
        log.flush_for(Duration::from_secs(1));
    }
}

/// Sends `reason`, unless the executor watches its interchange process.
pub(crate) fn tell(
    config: &Config,
    notes: &Notes,
    reason: &str,
    submit_process: WatchedProcess,
    signals: Option<&Signals>,
) {
    let side = &config.submit_side;
    if executor_watches(side) {
        return;
    }
    let address = config.interchange_address.as_ref();
    let told = load_certificates(side)
        .map_err(io::Error::other)
        .and_then(|certificates| {
            LastWords {
                side,
                certificates: certificates.as_ref(),
                workers_at: notes.worker_port().map(|port| (address, port)),
                notes,
                managers: notes.managers(),
                reason,
                submit_process,
                signals,
            }
            .say()
        });
    if let Err(error) = told {
        codes::log!(
            LOSS_UNDELIVERED,
            "Could not notify the executor and the managers: {error}"
        );
    }
}

/// Whether the executor watches its interchange process, and can continue with another one.
pub(crate) fn executor_watches(side: &SubmitSide) -> bool {
    env::var(WATCHED).is_ok_and(|port| port == side.command_port.to_string())
}
