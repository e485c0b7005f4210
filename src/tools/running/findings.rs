//! What a status document means, in plain words: what is wrong, why tasks do not proceed, and where
//! to look.

mod causes;
mod evidence;
mod managers;
mod placement;
mod side_services;
mod surroundings;
mod waiting;

#[cfg(test)]
mod tests;

use evidence::fields;
pub(crate) use placement::fits_nowhere;

use super::manager_counts::ManagerCounts;
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::some;
use status::document::{Document, State};

/// Returns all findings about a document, the worst first.
pub(crate) fn findings(document: &Document) -> Vec<Finding> {
    let counts = ManagerCounts::of(&document.managers);
    let mut found = Vec::new();
    found.extend(leaving(document));
    found.extend(waiting::why_nothing_moves(document, &counts));
    found.extend(fits_nowhere(document));
    found.extend(placement::reserved(document));
    found.extend(surroundings::of_the_worker_port(document));
    found.extend(managers::of_managers(document, &counts));
    found.extend(managers::of_losses(document));
    found.extend(managers::of_slow_tasks(document));
    found.extend(surroundings::of_the_submit_side(document));
    found.extend(surroundings::of_a_newer_parsl(document));
    found.extend(surroundings::of_what_is_written(document));
    found.extend(side_services::of_side_services(document));
    if !found.iter().any(explains_the_queue) {
        found.extend(how_it_goes(document, &counts));
    }
    let mut found: Vec<Finding> = found.into_iter().map(Finding::into_told).collect();
    found.sort_by_key(|finding| finding.severity);
    found
}

/// Returns a summary of the findings for the top of a screen.
pub(crate) fn verdict(findings: &[Finding]) -> String {
    let count = |severity| {
        let alike = findings.iter().filter(|found| found.severity == severity);
        alike.count()
    };
    match (count(Severity::Problem), count(Severity::Warning)) {
        (0, 0) => "Nothing is wrong.".to_owned(),
        (0, warnings) => format!("{} to look at.", some(warnings, "thing")),
        (problems, 0) => format!("{}.", some(problems, "problem")),
        (problems, warnings) => format!(
            "{}, and {} to look at.",
            some(problems, "problem"),
            some(warnings, "thing")
        ),
    }
}

fn explains_the_queue(finding: &Finding) -> bool {
    finding.severity == Severity::Problem
}

fn leaving(document: &Document) -> Option<Finding> {
    let leaves = document.state == State::Leaving;
    leaves.then(|| {
        Finding::warning(
            "leaving",
            "The interchange is about to end, because the submit side has ended or has told it to \
             exit.",
        )
        .because("It tells the managers to exit, too.")
        .remedy(
            "If the run should still be running, find out why the program ended: see its own \
             output and parsl.log.",
        )
        .shown_by(fields!(document => state))
    })
}

/// Reports that the interchange is idle or at work. The caller adds this only if there is no
/// problem.
fn how_it_goes(document: &Document, counts: &ManagerCounts<'_>) -> Option<Finding> {
    if document.state == State::Leaving || document.queue.tasks > 0 {
        return None;
    }
    let finding = match (document.in_flight, document.totals.tasks_received) {
        (0, 0) => Finding::note(
            "no-task-yet",
            "The submit side has not sent any task yet. Tasks that it has started may be waiting \
             for other tasks or for files: see parsl.log.",
        ),
        (0, _) => Finding::note(
            "idle",
            format!(
                "Idle: every task that the submit side sent has its result, and {}. Tasks that are \
                 not done there may be waiting for other tasks or for files: see parsl.log.",
                match counts.taking() {
                    0 => "no manager accepts tasks".to_owned(),
                    1 => "1 manager is ready for more".to_owned(),
                    managers => format!("{} are ready for more", some(managers, "manager")),
                }
            ),
        ),
        (in_flight, _) => Finding::note(
            "at-work",
            format!(
                "{}{}{} in flight on {}; no task waits.",
                some(in_flight, "task"),
                counts.slots_in_hand(),
                counts.longest_in_hand(),
                some(counts.managers, "manager")
            ),
        ),
    };
    Some(finding.shown_by(fields!(document => queue.tasks, in_flight, totals.tasks_received)))
}
