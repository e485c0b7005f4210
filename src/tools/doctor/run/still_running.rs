//! Queries an interchange that still runs for its state, by its status socket.

use std::path::Path;

use crate::running::client::{Answer, Found};
use crate::running::findings::fits_nowhere;
use crate::running::search::{self, survey};
use crate::shared::finding::Finding;
use crate::shared::words::counted;
use status::document::Document;

/// Blocks on the same machine begin within this time. Others may wait for hours in the batch
/// system's queue.
const BLOCKS_BEGIN_WITHIN_S: f64 = 20.0;

/// Returns the status document of the interchange that logs into `logdir`, if that interchange runs
/// on this machine as this user.
pub(super) fn of(logdir: &Path) -> Option<Document> {
    let wanted = logdir.canonicalize().ok()?;
    let is_wanted = |found: &Found| {
        let logdir = found.logdir().and_then(|logdir| logdir.canonicalize().ok());
        logdir.as_ref() == Some(&wanted)
    };
    let mut of_it = survey().found.into_iter().filter(is_wanted);
    of_it.find_map(told)
}

/// Returns the status documents of all interchanges whose logs are below `directory`, even if
/// `directory` was removed.
pub(super) fn below(directory: &Path) -> Vec<Document> {
    let (found, _) = search::below(survey().found, directory, false);
    found.into_iter().filter_map(told).collect()
}

fn told(found: Found) -> Option<Document> {
    match found.answer {
        Answer::Told { document, .. } => Some(*document),
        Answer::Silent(_) | Answer::Unclear(_) => None,
    }
}

/// Whether the interchange's first blocks have hardly had time to begin.
pub(super) fn is_early(document: &Document) -> bool {
    document.interchange.uptime_s < BLOCKS_BEGIN_WITHIN_S
}

/// Reports what is noteworthy in a status document.
pub(super) fn findings(document: &Document) -> Vec<Finding> {
    let about = &document.interchange;
    let queued = counted(document.queue.tasks as u64, "task");
    let mut found = vec![Finding::note(
        "still-running",
        format!(
            "The interchange still runs, as process {} of {}, with {}. In the queue: {queued}; in \
             flight on managers: {}.",
            about.pid,
            about.host,
            counted(document.managers.len() as u64, "manager"),
            document.in_flight,
        ),
    )
    .shown_by(format!(
        "interchange.pid={}, interchange.host={} (htex-interchange status --json)",
        about.pid, about.host
    ))];
    found.extend(fits_nowhere(document));
    let managers = &document.managers;
    let is_served = managers
        .iter()
        .any(|manager| manager.takes_tasks() || manager.in_flight > 0);
    if document.queue.tasks > 0 && !is_served {
        let oldest_s = document.queue.oldest_s.unwrap_or_default();
        found.push(
            Finding::warning(
                "nobody-takes-tasks",
                format!("{queued} in the queue, for {oldest_s:.0} s, and no manager accepts any."),
            )
            .because("Either no block has started yet, or all managers are held, draining or gone.")
            .remedy("Look at the blocks: the batch system's queue, and submit_scripts.")
            .shown_by(format!(
                "queue.tasks={}, queue.oldest_s={oldest_s:.1}, in_flight={} \
                 (htex-interchange status --json)",
                document.queue.tasks, document.in_flight
            )),
        );
    }
    found
}
