//! Findings about services that only report about a run and do not work as requested: metrics,
//! events, the log.

use std::path::{Path, PathBuf};

use crate::shared::finding::Finding;
use crate::shared::words::{command, plain, some};
use status::document::Document;
use status::side_service::SideService;

/// Text of the log line that says why the interchange started without a service.
const GOES_ON: &str = "Continuing without";
const DELETED: &str = " (deleted)";

pub(super) fn of_side_services(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(metrics(document));
    found.extend(events(document));
    found.extend(log_gone(document));
    found.extend(log_lines(document));
    found.extend(event_lines(document));
    found
}

fn metrics(document: &Document) -> Option<Finding> {
    let metrics = document.metrics.as_ref()?;
    let trouble = metrics.trouble.as_deref().map(plain)?;
    let asked = plain(&metrics.asked_for);
    let found = match &metrics.at {
        None => Finding::warning(
            "metrics-not-served",
            format!(
                "Metrics were requested at {asked}, but the interchange does not serve them: \
                 {trouble}."
            ),
        )
        .because("Tasks are not affected.")
        .remedy("For the next start, name another port, or use --metrics 0 for any free port."),
        Some(at) => Finding::warning(
            "metrics-port-file",
            format!(
                "The interchange serves metrics at {}, but {trouble}.",
                plain(at)
            ),
        )
        .remedy("For the next start, name a file that can be written."),
    };
    Some(shown_at_the_start(found, "--metrics", metrics, document))
}

fn events(document: &Document) -> Option<Finding> {
    let events = document.event_file.as_ref()?;
    let asked = plain(&events.asked_for);
    let Some(at) = events.at.as_deref().map(plain) else {
        let trouble = events.trouble.as_deref().map(plain).unwrap_or_default();
        let found = Finding::warning(
            "events-not-written",
            format!("Events were requested, but the interchange does not write them: {trouble}."),
        )
        .because("Tasks are not affected, but there will be no report of this run.")
        .remedy("For the next start, name a file that can be written.");
        return Some(shown_at_the_start(found, "--events", events, document));
    };
    if let Some(trouble) = &events.trouble {
        let found = Finding::warning(
            "events-hindered",
            format!(
                "The interchange cannot write events to {at} at present: {}.",
                plain(trouble)
            ),
        )
        .because(
            "It resumes writing as soon as it can, and counts the events that it drops meanwhile.",
        )
        .shown_by(format!("event_file.trouble={}", plain(trouble)));
        return Some(found);
    }
    (events.at.as_deref() != Some(events.asked_for.as_str())).then(|| {
        Finding::note(
            "events-elsewhere",
            format!(
                "Another interchange writes its events to {asked}, so this interchange writes its \
                 own to {at}."
            ),
        )
        .remedy(format!(
            "{} draws the events of both.",
            command("htex-interchange report", &events_place(document))
        ))
        .shown_by(format!("--events {asked}, event_file.at={at}"))
    })
}

/// Returns the directory where the file of events is or should be.
fn events_place(document: &Document) -> PathBuf {
    let logdir = document.interchange.logdir_path();
    let Some(events) = &document.event_file else {
        return logdir;
    };
    let file = path_of(events.at.as_deref().unwrap_or(&events.asked_for), document);
    file.parent().map_or(logdir, Path::to_owned)
}

/// Returns the path of a file that the document names by text. The log directory's name may not be
/// valid UTF-8, so its bytes are used for that part.
fn path_of(file: &str, document: &Document) -> PathBuf {
    let about = &document.interchange;
    match Path::new(file).strip_prefix(&about.logdir) {
        Ok(below) => about.logdir_path().join(below),
        Err(_) => PathBuf::from(file),
    }
}

/// Adds evidence: the flag, and the command that shows the line about this service in the log.
fn shown_at_the_start(
    found: Finding,
    flag: &str,
    service: &SideService,
    document: &Document,
) -> Finding {
    let found = found.shown_by(format!("{flag} {}", plain(&service.asked_for)));
    match &document.interchange.log {
        Some(log) => found.shown_by(command(
            &format!("grep '{GOES_ON}'"),
            &path_of(log, document),
        )),
        None => found,
    }
}

fn log_gone(document: &Document) -> Option<Finding> {
    let now = document.process.log_moved_to.as_deref()?;
    let log = plain(document.interchange.log.as_deref().unwrap_or_default());
    let now = plain(now);
    let found = match now.ends_with(DELETED) {
        true => Finding::warning(
            "log-removed",
            format!("The log was removed during the run: {log} does not exist any more."),
        )
        .because(
            "Lines written since then are lost when the run ends. Tasks are not affected, unless \
             they need files in the run's directory.",
        )
        .remedy(
            "Keep cleaning jobs (a purge of the scratch file system, tmpwatch) away from the \
             directories of current runs.",
        ),
        false => Finding::note(
            "log-moved",
            format!("The log was moved during the run: {log} is now {now}."),
        ),
    };
    let pid = document.interchange.pid;
    Some(found.shown_by(format!("`ls -l /proc/{pid}/fd`: {now}")))
}

fn log_lines(document: &Document) -> Option<Finding> {
    let dropped = document.process.log_lines_dropped;
    if dropped == 0 {
        return None;
    }
    let found = Finding::warning(
        "log-lines-dropped",
        format!(
            "{} of the log dropped, because the file could not take them fast enough.",
            some(dropped, "line")
        ),
    )
    .shown_by(format!("process.log_lines_dropped={dropped}"));
    Some(match document.process.log_moved_to {
        // A moved or removed log is the cause, and another finding reports that.
        Some(_) => found,
        None => found.because(format!(
            "{} may be on a slow or full file system, or a quota or ulimit -f was reached ({} \
             shows the free space).",
            plain(&document.interchange.logdir),
            command("df", &document.interchange.logdir_path())
        )),
    })
}

fn event_lines(document: &Document) -> Option<Finding> {
    let dropped = document
        .process
        .event_lines_dropped
        .filter(|dropped| *dropped > 0)?;
    Some(
        Finding::warning(
            "event-lines-dropped",
            format!(
                "{} of the events file dropped, because the file could not take them fast enough.",
                some(dropped, "line")
            ),
        )
        .because(format!(
            "The file may be on a slow or full file system, or a quota or ulimit -f was reached \
             ({} shows the free space). The file shows where lines are missing.",
            command("df", &events_place(document))
        ))
        .shown_by(format!("process.event_lines_dropped={dropped}")),
    )
}

#[cfg(test)]
mod tests {
    use crate::running::sample;

    use super::*;

    fn told(document: &Document) -> Vec<(&'static str, String)> {
        let found = of_side_services(document).into_iter();
        assert!(found.clone().all(|finding| !finding.evidence.is_empty()));
        found.map(|finding| (finding.id, finding.what)).collect()
    }

    fn service(at: Option<&str>, trouble: Option<&str>) -> Option<SideService> {
        Some(SideService {
            asked_for: "/runs/events.jsonl".to_owned(),
            at: at.map(str::to_owned),
            trouble: trouble.map(str::to_owned),
        })
    }

    #[test]
    fn working_services_are_not_reported() {
        let mut document = sample::document();
        assert_eq!(told(&document), []);
        document.metrics = service(Some("http://127.0.0.1:9464/metrics"), None);
        document.event_file = service(Some("/runs/events.jsonl"), None);
        document.process.event_lines_dropped = Some(0);
        assert_eq!(told(&document), []);
    }

    #[test]
    fn a_failed_service_is_reported_with_the_reason() {
        let mut document = sample::document();
        document.metrics = service(None, Some("the port is taken"));
        document.event_file = service(None, Some("the disk is full"));
        let found = told(&document);
        assert_eq!(
            found.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            ["metrics-not-served", "events-not-written"]
        );
        assert!(
            found[0].1.ends_with("not serve them: the port is taken."),
            "{found:?}"
        );
        document.metrics = service(Some("http://127.0.0.1:9465/metrics"), Some("no port file"));
        document.event_file = service(Some("/runs/events.jsonl"), Some("the disk is full"));
        let ids: Vec<&str> = told(&document).iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, ["metrics-port-file", "events-hindered"]);
        document.metrics = None;
        document.event_file = service(Some("/runs/events.htex2.jsonl"), None);
        assert_eq!(told(&document)[0].0, "events-elsewhere");
    }

    #[test]
    fn a_removed_log_is_not_reported_as_a_slow_disk() {
        let mut document = sample::document();
        document.process.log_lines_dropped = 7;
        assert!(of_side_services(&document)[0].why.contains("slow or full"));
        document.process.log_moved_to = Some("/runs/interchange.log (deleted)".to_owned());
        let found = of_side_services(&document);
        let ids: Vec<&str> = found.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["log-removed", "log-lines-dropped"]);
        assert!(
            found
                .iter()
                .all(|finding| !finding.advice().contains("slow"))
        );
        document.process.log_moved_to = Some("/old/interchange.log".to_owned());
        assert_eq!(told(&document)[0].0, "log-moved");
    }
}
