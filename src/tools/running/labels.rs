//! How an interchange, and a change of a manager, are called on a screen.

use status::document::{Document, Event};

use crate::shared::endpoint;
use crate::shared::words::{moment, plain};

/// When it was, as a wall clock that nobody has set since would tell it.
pub(crate) fn moment_of(event: &Event) -> String {
    moment(event.at_s, event.at_s + event.ago_s)
}

/// `runinfo/003/htex`: enough of the log's directory to know which one it is. Of an endpoint of
/// Globus Compute `endpoint NAME`, as it has directories that nobody knows.
pub(crate) fn name_of(document: &Document) -> String {
    if let Some(name) = endpoint::name_of_run(&document.interchange.logdir_path()) {
        return plain(&name);
    }
    let parts: Vec<&str> = document.interchange.logdir.split('/').collect();
    plain(&parts[parts.len().saturating_sub(3)..].join("/"))
}

/// `14:03:12 lost 1a2b3c4d: silent for 120.0 s, 3 tasks lost`.
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
