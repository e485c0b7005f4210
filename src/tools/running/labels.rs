//! Names of interchanges, and descriptions of managers' events, for screens.

use status::document::{Document, Event};

use crate::shared::endpoint;
use crate::shared::words::{moment, plain};

/// Returns the time of an event by the wall clock. Later changes of the clock do not count.
pub(crate) fn moment_of(event: &Event) -> String {
    moment(event.at_s, event.at_s + event.ago_s)
}

/// Returns the last parts of the log's directory, which identify the interchange:
/// `runinfo/003/htex`. For an endpoint of Globus Compute, returns `endpoint NAME`, because users do
/// not know its directories.
pub(crate) fn name_of(document: &Document) -> String {
    if let Some(name) = endpoint::name_of_run(&document.interchange.logdir_path()) {
        return plain(&name);
    }
    let parts: Vec<&str> = document.interchange.logdir.split('/').collect();
    plain(&parts[parts.len().saturating_sub(3)..].join("/"))
}

/// Describes an event: `14:03:12 lost 1a2b3c4d: silent for 120.0 s, 3 tasks lost`.
pub(crate) fn told_of(event: &Event) -> String {
    let detail = match event.detail.is_empty() {
        true => String::new(),
        false => format!(": {}", plain(&event.detail)),
    };
    format!(
        "{} {:<10} {}{detail}",
        moment_of(event),
        plain(&event.change),
        plain(&event.manager)
    )
}
