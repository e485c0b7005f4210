//! An interchange that still runs is asked how it does, by its status socket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::finding::{Finding, counted};
use crate::telemetry::asking::{Request, SOCKET_SUFFIX, directories};
use crate::telemetry::document::Document;

const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What the interchange that logs into `logdir` says, if it runs on this machine and as this user.
pub(super) fn of(logdir: &Path) -> Option<Document> {
    let wanted = logdir.canonicalize().ok()?;
    let entries = directories(rustix::process::getuid().as_raw())
        .into_iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten());
    entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(SOCKET_SUFFIX))
        .filter_map(|entry| ask(&entry.path()))
        .find(|document| {
            let logdir = Path::new(&document.interchange.logdir);
            logdir.canonicalize().is_ok_and(|logdir| logdir == wanted)
        })
}

fn ask(socket: &Path) -> Option<Document> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN)).ok()?;
    stream.set_write_timeout(Some(ANSWERED_WITHIN)).ok()?;
    let mut request = serde_json::to_vec(&Request::Status).ok()?;
    request.push(b'\n');
    stream.write_all(&request).ok()?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .ok()?;
    serde_json::from_slice(&answer).ok()
}

/// What its answer is worth telling.
pub(super) fn findings(document: &Document) -> Vec<Finding> {
    let about = &document.interchange;
    let queued = counted(document.queue.tasks as u64, "task");
    let mut found = vec![Finding::note(
        "still-running",
        format!(
            "It still runs, as process {} of {}, with {}. In the queue: {queued}; in managers' \
             hands: {}.",
            about.pid,
            about.host,
            counted(document.managers.len() as u64, "manager"),
            document.in_flight,
        ),
    )];
    let managers = &document.managers;
    let is_served = managers
        .iter()
        .any(|manager| manager.takes_tasks() || manager.in_flight > 0);
    if document.queue.tasks > 0 && !is_served {
        let oldest_s = document.queue.oldest_s.unwrap_or_default();
        found.push(
            Finding::warning(
                "nobody-takes-tasks",
                format!("{queued} in the queue, for {oldest_s:.0} s, and no manager takes any."),
            )
            .because("Either no block has begun yet, or all managers are held, draining or gone.")
            .remedy("Look at the blocks: the batch system's queue, and submit_scripts."),
        );
    }
    found
}
