//! Opens the log that the configuration requests.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use tracing::info;

use event_loop::check_threads;
use logging::{LogGuard, LogSpec};
use submit_side::config::{Config, Logging, LoggingKind};

use super::telemetry;

/// Environment variable with the file that started this program in place of Parsl's own
/// interchange.
const STARTED_BY: &str = "HTEX_INTERCHANGE_STARTED_BY";

/// The log cannot be opened. The start is refused, because later problems would not be reported.
#[derive(Debug, thiserror::Error)]
#[error("the log in {} cannot be opened: {error}", logdir.display())]
pub(crate) struct LogError {
    logdir: PathBuf,
    error: io::Error,
}

/// Opens the log that the configuration requests. If only Python could run the log configuration,
/// or if a format is invalid, the default format is used.
pub(crate) fn start_log(wanted: &Logging) -> Result<LogGuard, LogError> {
    let logdir = &wanted.logdir;
    let mut warning = None;
    let spec = match &wanted.kind {
        LoggingKind::Default { level } => LogSpec::parsl_file(logdir, *level),
        LoggingKind::File {
            format: None,
            level,
        } => LogSpec::parsl_file(logdir, *level),
        LoggingKind::File {
            format: Some(format),
            level,
        } => LogSpec::file_logging(logdir, format, *level).unwrap_or_else(|error| {
            warning = Some(format!(
                "The configured line format cannot be used, and Parsl's own format is used: {error}"
            ));
            LogSpec::parsl_file(logdir, *level)
        }),
        LoggingKind::Json { level } => LogSpec::json_logging(logdir, *level),
        LoggingKind::Noop => LogSpec::noop(),
        LoggingKind::Unknown { class, level } => {
            warning = Some(format!(
                "Only Python can run the log configuration {class}; the default log is used"
            ));
            LogSpec::parsl_file(logdir, *level)
        }
    };
    let started = check_threads(1).map_err(io::Error::other);
    let log = started.and_then(|()| logging::start(&spec));
    let log = log.map_err(|error| LogError {
        logdir: logdir.clone(),
        error,
    })?;
    if let Some(warning) = warning {
        codes::log!(LOG_CONFIG_REPLACED, "{warning}");
    }
    Ok(log)
}

/// Logs the settings that this run was started with.
pub(crate) fn log_config(config: &Config) {
    let host = telemetry::host();
    codes::log!(
        STARTED,
        host,
        "htex-interchange {} starts on {host}",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(file) = env::var_os(STARTED_BY) {
        info!(
            "Started by {} in place of Parsl's own interchange",
            Path::new(&file).display()
        );
    }
    if !config.unknown_keys.is_empty() {
        info!(
            "Ignoring unknown keys of the configuration: {}",
            config.unknown_keys.join(", ")
        );
    }
    let encryption = if config.submit_side.cert_dir.is_some() {
        "CURVE"
    } else {
        "none"
    };
    info!(
        "Encryption: {encryption}. Heartbeat threshold: {} s. Selector: {:?}. Monitoring: {}",
        config.heartbeat_threshold.as_secs_f64(),
        config.selector,
        config.hub.is_some()
    );
}
