//! How an interchange, and a change of a manager, are called on a screen.

use status::document::{Document, Event};

use crate::shared::words::{moment, plain};

/// `runinfo/003/htex`: enough of the log's directory to know which one it is.
pub(crate) fn name_of(document: &Document) -> String {
    let parts: Vec<&str> = document.interchange.logdir.split('/').collect();
    plain(&parts[parts.len().saturating_sub(3)..].join("/"))
}

/// `14:03:12 lost 1a2b3c4d: silent for 120.0 s, 3 tasks lost`.
pub(crate) fn told_of(event: &Event, now_s: f64) -> String {
    let detail = match event.detail.is_empty() {
        true => String::new(),
        false => format!(": {}", plain(&event.detail)),
    };
    format!(
        "{} {:<10} {}{detail}",
        moment(event.at_s, now_s),
        plain(&event.change),
        plain(&event.manager)
    )
}
