//! What is told outside of a run (status, metrics, events), as whoever starts the loop gives it.

use std::net::SocketAddr;
use std::rc::Rc;

use status::document::About;

/// What is to be told outside, and where: given by who starts the loop.
pub struct Telemetry {
    /// Who this interchange is, as far as it does not change.
    pub about: About,
    /// Lines that the log could not take.
    pub log_lines_dropped: Box<dyn Fn() -> u64>,
    /// Where metrics are told, if anywhere.
    pub metrics_at: Option<SocketAddr>,
    /// Where state changes go, if the broker's settings have them told.
    pub events: Option<Rc<dyn EventSink>>,
}

/// Takes lines for the file of events, and never waits.
pub trait EventSink {
    /// One line, with its end.
    fn write(&self, line: &[u8]);
    /// Lines that were lost.
    fn dropped_lines(&self) -> u64;
}
