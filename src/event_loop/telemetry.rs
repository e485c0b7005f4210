//! Settings for what a run exposes (status, metrics, events), from the caller that starts the loop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use super::side_service::OnFailure;
use status::document::About;
use status::side_service::SideService;

/// What to expose, and where.
pub struct Telemetry {
    /// The constant facts about this interchange.
    pub about: About,
    /// Number of lines that the log could not take.
    pub log_lines_dropped: Box<dyn Fn() -> u64>,
    /// The path of the log, if it is no longer the original one.
    pub log_moved_to: Box<dyn Fn() -> Option<PathBuf>>,
    /// The address that serves metrics, if any.
    pub metrics_at: Option<SocketAddr>,
    /// The file for the port of metrics, if any.
    pub metrics_port_file: Option<PathBuf>,
    /// The sink of state changes, if the broker's settings enable them.
    pub events: Option<Rc<dyn EventSink>>,
    /// The state of the file of events, if one was requested.
    pub event_file: Box<dyn Fn() -> Option<SideService>>,
    /// What to do if one of these services cannot start.
    pub on_failure: OnFailure,
}

/// A sink of lines for the file of events. It never blocks.
pub trait EventSink {
    /// Writes one line, which includes its line end.
    fn write(&self, line: &[u8]);
    /// Returns the number of lost lines.
    fn dropped_lines(&self) -> u64;
}
