//! Collects what this run reports to the outside: its description, and the events file.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event_loop::{EventSink, SideServiceError, check_threads};
use htex_interchange::cli::Arguments;
use interchange::event_line::{self, Writer};
use logging::{EventFile, EventFileSpec};
use status::document::{About, Restart};
use status::side_service::SideService;
use submit_side::config::{Config, LoggingKind, SelectorChoice};
use submit_side::releases::NEWEST_TESTED;

/// Number of older events files that are kept.
const EVENT_FILES_KEPT: u32 = 4;

/// Describes this run, as far as the description does not change.
pub(crate) fn about(config: &Config, submit_pid: Option<u32>, began_wall_s: f64) -> About {
    let log = match config.logging.kind {
        LoggingKind::Json { .. } => Some("interchange.jsonlog"),
        LoggingKind::Noop => None,
        LoggingKind::Default { .. } | LoggingKind::File { .. } | LoggingKind::Unknown { .. } => {
            Some("interchange.log")
        }
    };
    let logdir = std::path::absolute(&config.logging.logdir);
    let logdir = logdir.unwrap_or_else(|_| config.logging.logdir.clone());
    let side = &config.submit_side;
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        host: host(),
        log: log.map(|name| logdir.join(name).display().to_string()),
        logdir: logdir.display().to_string(),
        logdir_bytes: bytes_unless_utf8(&logdir),
        started_at_s: began_wall_s,
        uptime_s: 0.0,
        python: None,
        parsl: None,
        parsl_newest_tested: Some(NEWEST_TESTED.to_owned()),
        encrypted: side.cert_dir.is_some(),
        selector: match &config.selector {
            SelectorChoice::Random => "random".to_owned(),
            SelectorChoice::BlockId => "block id".to_owned(),
            SelectorChoice::Spread => "spread".to_owned(),
            SelectorChoice::Pack => "pack".to_owned(),
            SelectorChoice::User(class) => class.clone(),
        },
        heartbeat_threshold_s: config.heartbeat_threshold.as_secs_f64(),
        run_id: config.run_id.clone(),
        submit_side: format!(
            "{}, ports {}, {}, {}",
            side.address, side.task_port, side.result_port, side.command_port
        ),
        submit_pid,
        submit_state: None,
    }
}

/// Opens the events file.
///
/// # Errors
/// The events file cannot be written; the error says why.
pub(crate) fn events(
    path: &Path,
    arguments: &Arguments,
    about: &About,
) -> Result<Events, SideServiceError> {
    let head = event_line::of_start(
        &Writer {
            version: &about.version,
            pid: about.pid,
            host: &about.host,
            logdir: &about.logdir,
        },
        about.started_at_s,
    );
    let spec = EventFileSpec {
        path: path.to_owned(),
        own_name: Path::new(&about.logdir_path())
            .file_name()
            .unwrap_or_default()
            .to_owned(),
        tell_gap: event_line::of_dropped,
        bytes_max: arguments.events_max_bytes,
        kept: EVENT_FILES_KEPT,
    };
    let opened = check_threads(1).map_err(io::Error::other);
    let opened = opened.and_then(|()| EventFile::open(spec, head));
    let file = opened.map_err(|error| SideServiceError::Events {
        path: path.to_owned(),
        error,
    })?;
    codes::log!(
        EVENTS_BEGUN,
        "Writing events to {}",
        file.state().path.display()
    );
    Ok(Events {
        file,
        asked_for: path.to_owned(),
    })
}

/// Describes an events file that could not be opened, for status reports.
pub(crate) fn no_events(path: &Path, why: String) -> SideService {
    SideService {
        asked_for: path.display().to_string(),
        at: None,
        trouble: Some(why),
    }
}

/// The events file.
pub(crate) struct Events {
    file: EventFile,
    asked_for: PathBuf,
}

impl Events {
    pub(crate) fn told(&self) -> SideService {
        let state = self.file.state();
        SideService {
            asked_for: self.asked_for.display().to_string(),
            at: Some(state.path.display().to_string()),
            trouble: state.trouble,
        }
    }

    /// Writes an event that says that this process continues for one that ended.
    pub(crate) fn tell(&self, restart: &Restart) {
        self.write(&event_line::of_restart(
            restart.number,
            &restart.why,
            restart.down_s,
            restart.at_s,
        ));
    }

    /// Writes the last line.
    pub(crate) fn end(&self, why: &str) {
        self.write(&event_line::of_end(why, wall_s()));
    }

    /// Waits for the remaining lines to be written, but no longer than these limits.
    pub(crate) fn flush_last_lines(&self, patience: Duration, patience_for_few: Duration) {
        self.file.flush_last_lines(patience, patience_for_few);
    }
}

impl EventSink for Events {
    fn write(&self, line: &[u8]) {
        // A lost line is counted and reported before the next one.
        let _ = self.file.write(line);
    }

    fn dropped_lines(&self) -> u64 {
        self.file.dropped_lines()
    }
}

fn bytes_unless_utf8(path: &Path) -> Option<Vec<u8>> {
    let is_text = path.to_str().is_some();
    (!is_text).then(|| path.as_os_str().as_bytes().to_vec())
}

/// Returns the machine's name.
pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

fn wall_s() -> f64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.unwrap_or(Duration::ZERO).as_secs_f64()
}
