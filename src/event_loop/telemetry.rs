//! What is told outside of a run (status, metrics, events), as whoever starts the loop gives it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use super::side_service::OnFailure;
use status::document::About;
use status::side_service::SideService;

/// What is to be told outside, and where: given by who starts the loop.
pub struct Telemetry {
    /// Who this interchange is, as far as it does not change.
    pub about: About,
    /// Lines that the log could not take.
    pub log_lines_dropped: Box<dyn Fn() -> u64>,
    /// Where the log is, once it is elsewhere than at its beginning.
    pub log_moved_to: Box<dyn Fn() -> Option<PathBuf>>,
    /// Where metrics are told, if anywhere.
    pub metrics_at: Option<SocketAddr>,
    /// Where the port is written that metrics are told at, if anywhere.
    pub metrics_port_file: Option<PathBuf>,
    /// Where state changes go, if the broker's settings have them told.
    pub events: Option<Rc<dyn EventSink>>,
    /// How the file of events does, where one was asked for.
    pub event_file: Box<dyn Fn() -> Option<SideService>>,
    /// If one of these cannot be begun.
    pub on_failure: OnFailure,
}

/// Takes lines for the file of events, and never waits.
pub trait EventSink {
    /// One line, with its end.
    fn write(&self, line: &[u8]);
    /// Lines that were lost.
    fn dropped_lines(&self) -> u64;
}
