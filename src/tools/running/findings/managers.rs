//! Findings about managers, and about what was lost with them.

use super::causes::look_at_files;
use super::evidence::{fields, of_each};
use crate::running::labels::moment_of;
use crate::running::manager_counts::ManagerCounts;
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::{command, count, duration, plain, some};
use status::document::{Document, Manager, ManagerState};

/// Share of the threshold after which a silent manager has missed several heartbeats.
const SILENT_SHARE: f64 = 0.5;
/// Losses older than this many seconds are only a note.
const RECENT_S: f64 = 600.0;
/// A task is slow if it takes this many times as long as the longest finished task, and `SLOW_S`.
const SLOW_TIMES: f64 = 10.0;
/// Minimum age of a slow task, in seconds.
const SLOW_S: f64 = 60.0;
/// Age in seconds from which on a slow task may be one that hangs.
const HANGS_S: f64 = 600.0;
/// Maximum number of managers that a finding names.
const NAMED: usize = 3;

pub(super) fn of_managers(document: &Document, counts: &ManagerCounts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(silent(document));
    found.extend(suspect(document, counts));
    found.extend(awaited(document));
    found.extend(clogged(document));
    found.extend(in_doubt(document));
    found.extend(failing(document));
    found.extend(other_versions(document));
    let (held, draining) = (
        counts.count(ManagerState::Held),
        counts.count(ManagerState::Draining),
    );
    if held + draining > 0 && held + draining < counts.managers {
        let get_none = |manager: &&Manager| {
            matches!(manager.state(), ManagerState::Held | ManagerState::Draining)
        };
        let concerned: Vec<&Manager> = document.managers.iter().filter(get_none).collect();
        found.push(
            Finding::note(
                "managers-held",
                format!(
                    "Of {}, {} held and {} draining: these get no more tasks.",
                    some(counts.managers, "manager"),
                    count(held),
                    count(draining)
                ),
            )
            .shown_by(of_each(
                document,
                &concerned,
                |manager| fields!(manager => held, draining),
            )),
        );
    }
    found
}

fn silent(document: &Document) -> Option<Finding> {
    let threshold = document.interchange.heartbeat_threshold_s;
    let managers = document.managers.iter();
    let silent: Vec<&Manager> = managers
        .filter(|manager| {
            manager.suspect_s.is_none()
                && !manager.may_go()
                && manager.last_heard_s >= threshold * SILENT_SHARE
        })
        .collect();
    let longest = silent.iter().map(|manager| manager.last_heard_s);
    let longest = longest.fold(0.0, f64::max);
    let in_flight: usize = silent.iter().map(|manager| manager.in_flight).sum();
    (!silent.is_empty()).then(|| {
        Finding::warning(
            "managers-silent",
            format!(
                "{} been silent for {}{}: {}. After {} of silence {} lost, with {}.",
                match silent.len() {
                    1 => "1 manager has".to_owned(),
                    managers => format!("{} have", some(managers, "manager")),
                },
                if silent.len() == 1 { "" } else { "up to " },
                duration(longest),
                named(&silent),
                duration(threshold),
                if silent.len() == 1 {
                    "it counts as"
                } else {
                    "they count as"
                },
                some(in_flight, "task")
            ),
        )
        .because(
            "Their nodes may be overloaded, short of memory or down; their processes may be \
             stopped; or the network may be down.",
        )
        .shown_by(format!(
            "{}, {}",
            fields!(document => interchange.heartbeat_threshold_s),
            of_each(
                document,
                &silent,
                |manager| fields!(manager => last_heard_s)
            )
        ))
    })
}

fn suspect(document: &Document, counts: &ManagerCounts<'_>) -> Option<Finding> {
    // If all managers are suspect and tasks wait, another finding says so.
    if counts.count(ManagerState::Suspect) == counts.managers && document.queue.tasks > 0 {
        return None;
    }
    let managers = document.managers.iter();
    let gone: Vec<&Manager> = managers
        .filter(|manager| manager.suspect_s.is_some() && !manager.may_go())
        .collect();
    let in_flight: usize = gone.iter().map(|manager| manager.in_flight).sum();
    (!gone.is_empty()).then(|| {
        Finding::warning(
            "managers-suspect",
            format!(
                "{} without a connection: {}. They get no more tasks. If they do not reconnect, \
                 they are lost with {}.",
                is_or_are(gone.len(), "manager"),
                named(&gone),
                some(in_flight, "task")
            ),
        )
        .because(
            "Their jobs may have ended or been killed, or their nodes or the network may be down.",
        )
        .shown_by(of_each(
            document,
            &gone,
            |manager| fields!(manager => suspect_s),
        ))
    })
}

fn awaited(document: &Document) -> Option<Finding> {
    let managers = document.managers.iter();
    let awaited: Vec<&Manager> = managers.filter(|manager| manager.awaited).collect();
    let names = named(&awaited);
    let (get, they_have) = match awaited.len() {
        1 => ("1 manager gets".to_owned(), "it sends a message"),
        managers => (
            format!("{} get", some(managers, "manager")),
            "they send a message",
        ),
    };
    (!awaited.is_empty()).then(|| {
        Finding::note(
            "managers-awaited",
            format!(
                "{get} no more tasks until {they_have}, because other managers of the same block \
                 disappeared together: {names}."
            ),
        )
        .because(
            "Whatever ended those managers may have ended these as well. Every manager sends a \
             message every few seconds.",
        )
        .shown_by(of_each(
            document,
            &awaited,
            |manager| fields!(manager => awaited),
        ))
    })
}

fn clogged(document: &Document) -> Option<Finding> {
    let managers = document.managers.iter();
    let clogged: Vec<&Manager> = managers.filter(|manager| manager.clogged).collect();
    let (do_not, they_do) = match clogged.len() {
        1 => ("1 manager does not".to_owned(), "it does"),
        managers => (format!("{} do not", some(managers, "manager")), "they do"),
    };
    let named = named(&clogged);
    (!clogged.is_empty()).then(|| {
        Finding::warning(
            "managers-clogged",
            format!(
                "{do_not} read the tasks that were sent: {named}. The interchange sends no more \
                 until {they_do}."
            ),
        )
        .because(
            "The manager's process may be stopped, its node may be overloaded, or the network may \
             be slow for tasks of this size. Meanwhile the other managers get the work.",
        )
        .shown_by(of_each(
            document,
            &clogged,
            |manager| fields!(manager => clogged),
        ))
    })
}

fn in_doubt(document: &Document) -> Option<Finding> {
    let managers = document.managers.iter();
    let with_doubts: Vec<&Manager> = managers.filter(|manager| manager.in_doubt > 0).collect();
    let tasks: usize = with_doubts.iter().map(|manager| manager.in_doubt).sum();
    let ends = with_doubts.iter().filter_map(|it| it.doubt_ends_in_s);
    let until = match ends.min_by(f64::total_cmp) {
        Some(end) => format!("The first of them fails in {}", duration(end)),
        None => "The first of them fails later".to_owned(),
    };
    (tasks > 0).then(|| {
        Finding::note(
            "tasks-in-doubt",
            format!(
                "{} in doubt, at {}: {} lost on the way. {until} unless its result arrives.",
                is_or_are(tasks, "task"),
                named(&with_doubts),
                if tasks == 1 {
                    "it may have been"
                } else {
                    "they may have been"
                },
            ),
        )
        .because(
            "A manager's connection broke, or the interchange was killed and restarted, shortly \
             after these tasks were sent or about when their results may have been on the way.",
        )
        .shown_by(of_each(
            document,
            &with_doubts,
            |manager| fields!(manager => in_doubt, doubt_ends_in_s),
        ))
    })
}

/// Reports managers that fail every task. Such a manager takes one waiting task after another.
fn failing(document: &Document) -> Option<Finding> {
    let is_failing = |manager: &&Manager| manager.failing.is_some();
    let failing: Vec<&Manager> = document.managers.iter().filter(is_failing).collect();
    let in_a_row: u64 = failing.iter().filter_map(|manager| manager.failing).sum();
    let all_are_held = failing.iter().all(|manager| manager.held);
    let (one, its, it) = match failing.len() {
        1 => ("1 manager fails".to_owned(), "its", "it is"),
        managers => (
            format!("{} fail", some(managers, "manager")),
            "their",
            "they are",
        ),
    };
    (!failing.is_empty()).then(|| {
        Finding::warning(
            "managers-failing",
            format!(
                "{one} every task, faster than other managers complete theirs: {}. The last {} \
                 there raised exceptions, while tasks on other managers did not.{}",
                named(&failing),
                some(in_a_row, "task"),
                match all_are_held {
                    true => format!(" No more tasks go there, because {it} held."),
                    false => String::new(),
                }
            ),
        )
        .because(
            "A node may be broken: a missing mount, a dead GPU, a different environment. Or only \
             tasks that would fail anywhere may have been sent there.",
        )
        .shown_by(of_each(
            document,
            &failing,
            |manager| fields!(manager => failing, held),
        ))
        .remedy(format!(
            "Look at the exceptions of these tasks and at {its} manager.log; have a broken node \
             taken out of service. {}",
            match all_are_held {
                true => String::new(),
                false => format!(
                    "{} can hold a manager (key h); --hold-failing-managers does so automatically.",
                    command("htex-interchange top", &document.interchange.logdir_path())
                ),
            }
        ))
    })
}

/// Reports managers with other versions. If Parsl's check is off, this is no error, but may explain
/// one.
fn other_versions(document: &Document) -> Option<Finding> {
    let about = &document.interchange;
    let python = |version: &str| {
        let parts: Vec<&str> = version.split('.').take(2).collect();
        parts.join(".")
    };
    let differs = |manager: &&Manager| {
        about
            .python
            .as_ref()
            .is_some_and(|known| python(known) != python(&manager.python))
            || about
                .parsl
                .as_ref()
                .is_some_and(|known| *known != manager.parsl)
    };
    let others: Vec<&Manager> = document.managers.iter().filter(differs).collect();
    let first = others.first()?;
    let what = format!(
        "{} another Python or Parsl version than the submit side: {} (Python {}, Parsl {}).",
        match others.len() {
            1 => "1 manager has".to_owned(),
            several => format!("{} have", some(several, "manager")),
        },
        named(&others),
        plain(&first.python),
        plain(&first.parsl)
    );
    Some(Finding::note("manager-versions", what).shown_by(format!(
        "{}, {}",
        fields!(document => interchange.python, interchange.parsl),
        of_each(
            document,
            &others,
            |manager| fields!(manager => python, parsl)
        )
    )))
}

pub(super) fn of_losses(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(lost(document));
    let totals = &document.totals;
    if totals.tasks_unreadable > 0 {
        found.push(
            Finding::warning(
                "tasks-unreadable",
                format!(
                    "{} failed because they, or their results, could not be read.",
                    some(totals.tasks_unreadable, "task")
                ),
            )
            .remedy("interchange.log names these tasks, and says what is wrong with them.")
            .shown_by(fields!(document => totals.tasks_unreadable)),
        );
    }
    if totals.tasks_rejected > 0 {
        found.push(
            Finding::warning(
                "tasks-rejected",
                format!(
                    "{} dropped: a task with the same number was still pending, or the interchange \
                     was about to end.",
                    was_or_were(totals.tasks_rejected as usize, "task")
                ),
            )
            .remedy(
                "Parsl's own executors never send such tasks; interchange.log has their numbers.",
            )
            .shown_by(fields!(document => totals.tasks_rejected)),
        );
    }
    if totals.late_results > 0 {
        let what = format!(
            "{} arrived too late and were discarded: the interchange had already reported their \
             tasks as lost with their managers.",
            some(totals.late_results, "result")
        );
        let shown = fields!(document => totals.late_results, totals.managers_lost);
        found.push(Finding::note("late-results", what).shown_by(shown));
    }
    found
}

fn lost(document: &Document) -> Option<Finding> {
    let totals = &document.totals;
    if totals.managers_missed() == 0 && totals.tasks_lost == 0 {
        return None;
    }
    let last = document.events.iter().rev().find(|event| event.is_loss());
    let is_recent = last.is_some_and(|event| event.ago_s <= RECENT_S);
    let mut text = match totals.managers_missed() {
        0 => format!(
            "{} lost since the start, and no manager with them",
            was_or_were(totals.tasks_lost as usize, "task")
        ),
        managers => format!(
            "{} lost since the start, and {} with them",
            was_or_were(managers as usize, "manager"),
            some(totals.tasks_lost, "task")
        ),
    };
    if let Some(last) = last {
        text += &format!(
            "; the last one {} ago ({}): {}, {}",
            duration(last.ago_s),
            moment_of(last),
            plain(&last.manager),
            plain(&last.detail)
        );
    }
    let severity = match is_recent {
        true => Severity::Warning,
        false => Severity::Note,
    };
    let advice = match is_recent {
        true => format!(
            "These tasks failed with ManagerLost; with Parsl's `retries`, Parsl runs them again. \
             Ask the batch system what happened to the managers' jobs. {}",
            look_at_files(document)
        ),
        false => String::new(),
    };
    Some(
        Finding::new("manager-lost", severity, text + ".")
            .remedy(advice)
            .shown_by(
                fields!(document => totals.managers_lost, totals.managers_lost_held,
                              totals.tasks_lost),
            ),
    )
}

/// Reports a task that may hang. Such a task occupies its worker for ever, and no manager is lost.
pub(super) fn of_slow_tasks(document: &Document) -> Option<Finding> {
    let usual = document.totals.in_flight_longest_s;
    let bound = SLOW_S.max(usual * SLOW_TIMES);
    let is_slow = |manager: &&Manager| manager.oldest_task_s.is_some_and(|age| age >= bound);
    // Without finished tasks there is no usual duration to compare with.
    if document.totals.tasks_done == 0 {
        return None;
    }
    let slow: Vec<&Manager> = document.managers.iter().filter(is_slow).collect();
    let age = |manager: &Manager| manager.oldest_task_s.unwrap_or(0.0);
    let oldest = slow
        .iter()
        .max_by(|one, other| age(one).total_cmp(&age(other)))?;
    let task = oldest.oldest_task.unwrap_or(-1);
    let severity = match age(oldest) >= HANGS_S {
        true => Severity::Warning,
        false => Severity::Note,
    };
    Some(
        Finding::new(
            "slow-task",
            severity,
            format!(
                "Task {task} has been on manager {} for {}, and no finished task took longer than \
                 {}.",
                place(oldest),
                duration(age(oldest)),
                duration(usual)
            ),
        )
        .remedy(format!(
            "If you expect it to be faster, it may hang: look at its worker on that node. {} such \
             a task.",
            match slow.len() {
                1 => "1 manager has".to_owned(),
                several => format!("{} have", some(several, "manager")),
            }
        ))
        .shown_by(format!(
            "{}, {}",
            of_each(
                document,
                &[oldest],
                |manager| fields!(manager => oldest_task, oldest_task_s)
            ),
            fields!(document => totals.in_flight_longest_s)
        )),
    )
}

fn named(managers: &[&Manager]) -> String {
    let mut names: Vec<String> = managers.iter().take(NAMED).map(|m| place(m)).collect();
    if managers.len() > NAMED {
        names.push(format!("{} more", managers.len() - NAMED));
    }
    names.join(", ")
}

/// Names a manager: `1a2b3c4d on node17`.
fn place(manager: &Manager) -> String {
    format!("{} on {}", plain(&manager.id), plain(&manager.host))
}

fn was_or_were(number: usize, what: &str) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} {verb}", some(number, what))
}

fn is_or_are(number: usize, what: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", some(number, what))
}
