//! Findings about the interchange's surroundings: its ports, its limits, the hub, what it writes.

use super::causes::{stopped_submit_process, wrong_keys};
use super::evidence::{field, fields};
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::{bytes, some};
use status::document::Document;
use submit_side::releases::is_after;

/// Share of the limit of descriptors from which on the interchange itself warns.
const DESCRIPTORS_SHARE: f64 = 0.8;
/// A hub answers at once, but may start a little later than the interchange.
const HUB_ANSWERS_WITHIN_S: f64 = 5.0;
/// Unsent results of this size are no longer a short delay.
const UNSENT_BYTES: usize = 64 << 20;

pub(super) fn of_the_worker_port(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    let (port, process) = (&document.worker_port, &document.process);
    let used = process.descriptors as f64 / process.descriptor_limit.max(1) as f64;
    let descriptors = format!(
        "{} of {} descriptors are in use",
        process.descriptors, process.descriptor_limit
    );
    let raise = "Each manager needs one descriptor. Raise the hard limit (ulimit -Hn) where the \
                 submit process is started, or use fewer and larger blocks.";
    if !port.lets_in {
        found.push(
            Finding::problem(
                "descriptors-ran-out",
                format!(
                    "The interchange accepts no more managers until some leave: {descriptors}."
                ),
            )
            .remedy(raise)
            .shown_by(
                fields!(document => worker_port.lets_in, process.descriptors,
                              process.descriptor_limit),
            ),
        );
    } else if used >= DESCRIPTORS_SHARE {
        found.push(
            Finding::warning("descriptors-scarce", format!("{descriptors}."))
                .remedy(raise)
                .shown_by(fields!(document => process.descriptors, process.descriptor_limit)),
        );
    }
    let knocks = port.keys_refused > 0 || port.handshakes_failed > 0;
    let nobody_came = document.totals.managers_registered == 0;
    // If tasks wait and no manager ever registered, another finding reports the refused peers.
    if knocks && !(nobody_came && document.queue.tasks > 0) {
        let severity = match nobody_came {
            true => Severity::Problem,
            false => Severity::Note,
        };
        let text = match nobody_came {
            true => "The interchange refused connections to the worker port, and no manager has \
                     ever registered."
                .to_owned(),
            false => "The interchange refused some connections to the worker port.".to_owned(),
        };
        found.push(
            Finding::new("peers-refused", severity, text)
                .remedy(wrong_keys(document))
                .shown_by(fields!(document => worker_port.keys_refused,
                                  worker_port.handshakes_failed, totals.managers_registered)),
        );
    }
    if port.bad_messages > 0 {
        found.push(
            Finding::warning(
                "bad-messages",
                format!(
                    "{} at the worker port could not be read.",
                    some(port.bad_messages, "message")
                ),
            )
            .remedy("interchange.log names the senders, and says what is wrong with the messages.")
            .shown_by(fields!(document => worker_port.bad_messages)),
        );
    }
    found
}

pub(super) fn of_the_submit_side(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    let pressure = &document.back_pressure;
    // If this also stops the dispatch of tasks, another finding says so.
    if let Some(stopped) = stopped_submit_process(document).filter(|_| pressure.dispatches) {
        found.push(
            Finding::problem(
                "submit-process-stopped",
                format!("The submit process is stopped: {stopped}."),
            )
            .because(
                "Until it continues, it sends no tasks and takes no results, and no future \
                 completes. Nothing is lost.",
            )
            .shown_by(fields!(document => interchange.submit_pid, interchange.submit_state)),
        );
    }
    if !pressure.takes_tasks {
        found.push(
            Finding::warning(
                "intake-paused",
                format!(
                    "The interchange accepts no more tasks from the submit process for now: it \
                     holds {}, and the limit is {}. Further tasks wait in the submit process.",
                    bytes(pressure.held_bytes),
                    bytes(pressure.bound_bytes)
                ),
            )
            .because(
                "It accepts tasks again automatically when it holds less than seven eighths of \
                 the limit; nothing is lost. --max-queued-bytes sets the limit.",
            )
            .shown_by(
                fields!(document => back_pressure.takes_tasks, back_pressure.held_bytes,
                              back_pressure.bound_bytes),
            ),
        );
    }
    if pressure.dispatches && pressure.unsent_results_bytes >= UNSENT_BYTES {
        found.push(
            Finding::warning(
                "results-slow",
                format!(
                    "The submit process takes results slowly: {} of results wait for it.",
                    bytes(pressure.unsent_results_bytes)
                ),
            )
            .because(
                "It may be busy. If many more results accumulate, the interchange stops \
                 dispatching tasks.",
            )
            .shown_by(fields!(document => back_pressure.unsent_results_bytes)),
        );
    }
    found
}

pub(super) fn of_a_newer_parsl(document: &Document) -> Option<Finding> {
    let about = &document.interchange;
    let (parsl, tested) = about
        .parsl
        .as_ref()
        .zip(about.parsl_newest_tested.as_ref())?;
    is_after(parsl, tested).then(|| {
        Finding::note(
            "parsl-newer",
            format!(
                "Parsl {parsl} is newer than {tested}, the newest release that htex-interchange {} \
                 was tested with.",
                about.version
            ),
        )
        .because("The interchange serves it as it serves that release.")
        .shown_by(fields!(document => interchange.parsl, interchange.parsl_newest_tested))
        .remedy(
            "If anything is odd, look for a newer htex-interchange, or use Parsl's own interchange \
             for such releases (--newer-parsl stock).",
        )
    })
}

pub(super) fn of_what_is_written(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(hub) = &document.hub {
        let had_its_time = document.interchange.uptime_s >= HUB_ANSWERS_WITHIN_S;
        if !hub.answers && had_its_time {
            found.push(
                Finding::warning(
                    "hub-silent",
                    format!("The monitoring hub at {} does not answer.", hub.address),
                )
                .remedy(
                    "Tasks are not affected. Look at the end of the monitoring logs in the run's \
                     directory.",
                )
                .shown_by(field("hub.answers", &hub.answers)),
            );
        }
        if hub.dropped > 0 {
            found.push(
                Finding::warning(
                    "hub-records-dropped",
                    format!(
                        "{} dropped, because the monitoring hub does not read them.",
                        some(hub.dropped, "monitoring record")
                    ),
                )
                .because("The monitoring database has gaps.")
                .shown_by(field("hub.dropped", &hub.dropped)),
            );
        }
    }
    found
}
