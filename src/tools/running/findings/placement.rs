//! Findings about tasks with requirements on their manager: tasks that fit no manager, and the
//! manager that is reserved for a task.

use super::causes::status_of;
use super::evidence::{field, fields};
use super::waiting::BLOCKS_COME_WITHIN_S;
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::{count, duration, plain, some};
use status::document::{Document, Lack, Manager, State, Unmet};

/// Maximum number of kinds of unmet requirements that are listed one by one.
const KINDS_SHOWN: usize = 3;

/// Reports tasks that no registered manager can ever hold.
pub(crate) fn fits_nowhere(document: &Document) -> Option<Finding> {
    if document.state == State::Leaving {
        return None;
    }
    // If no manager takes tasks at all, another finding says so, whatever the tasks require.
    let unmet = document.queue.unmet.iter();
    let mut unmet: Vec<&Unmet> = unmet.filter(|it| it.lack != Lack::Managers).collect();
    unmet.sort_by_key(|unmet| std::cmp::Reverse(unmet.tasks));
    let (shown, others) = unmet.split_at(unmet.len().min(KINDS_SHOWN));
    let mut told: Vec<String> = shown.iter().map(|unmet| lacking(unmet)).collect();
    if !others.is_empty() {
        told.push(format!(
            "{} of {} fit no manager either.",
            some(
                others.iter().map(|unmet| unmet.tasks).sum::<usize>(),
                "task"
            ),
            some(others.len(), "more kind")
        ));
    }
    let tasks: usize = unmet.iter().map(|unmet| unmet.tasks).sum();
    let waits_long = document.queue.oldest_s.unwrap_or(0.0) >= BLOCKS_COME_WITHIN_S;
    let severity = match tasks >= document.queue.tasks && waits_long {
        true => Severity::Problem,
        false => Severity::Warning,
    };
    let needs: Vec<String> = shown.iter().map(|unmet| plain(&unmet.needs)).collect();
    let needs = needs.into_iter().filter(|needs| !needs.is_empty());
    let needs: Vec<String> = needs.collect();
    let finding = || {
        let finding = Finding::new("no-manager-fits", severity, told.join(" "))
            .shown_by(kinds(document, shown));
        match needs.is_empty() {
            true => finding,
            false => finding.because(format!("Required: {}.", needs.join("; "))),
        }
    };
    (!unmet.is_empty()).then(|| finding().remedy(remedies(document, &unmet)))
}

/// Describes one kind: `12 tasks need 8 slots on one manager; the largest has 4.`
fn lacking(unmet: &Unmet) -> String {
    let (need, them) = match unmet.tasks {
        1 => ("needs", "it"),
        _ => ("need", "them"),
    };
    let tasks = some(unmet.tasks, "task");
    match &unmet.lack {
        Lack::Managers => format!("{tasks} {need} a manager, and no manager accepts tasks."),
        Lack::Node => format!("{tasks} {need} a node on which no manager runs."),
        Lack::Slots {
            slots_needed,
            slots_largest,
        } => format!(
            "{tasks} {need} {} on one manager; the largest manager has {}.",
            some(*slots_needed, "slot"),
            count(*slots_largest)
        ),
        Lack::Time { longest_s } => format!(
            "{tasks} {need} more time than any manager has left; the longest remaining time is {}.",
            duration(*longest_s)
        ),
        Lack::Affinity { manager } => format!(
            "{tasks} {need} manager {}, which runs other tasks of the same affinity and is too \
             small for {them}.",
            plain(manager)
        ),
    }
}

/// Formats the kinds as evidence: `queue.unmet[0].tasks=12, queue.unmet[0].lack="slots"`.
fn kinds(document: &Document, shown: &[&Unmet]) -> String {
    let kinds = document.queue.unmet.iter().enumerate();
    let kinds = kinds.filter(|(_, kind)| shown.iter().any(|it| std::ptr::eq(*it, *kind)));
    let told = kinds.map(|(place, kind)| {
        let name = |field: &str| format!("queue.unmet[{place}].{field}");
        let (tasks, lack) = (field(&name("tasks"), &kind.tasks), kind.lack.name());
        format!("{tasks}, {}", field(&name("lack"), &lack))
    });
    let queue = fields!(document => queue.tasks, queue.oldest_s);
    told.fold(queue, |text, kind| text + ", " + &kind)
}

/// Returns what to do, once for each kind of lack.
fn remedies(document: &Document, unmet: &[&Unmet]) -> String {
    let lacks = |name: &str| unmet.iter().any(|unmet| unmet.lack.name() == name);
    let mut told = vec![
        "These tasks wait for a block that has what they require, and delay no other task. Blocks \
         of the present kind will not help."
            .to_owned(),
    ];
    if lacks("slots") {
        told.push(
            "A slot is one worker's share of cores and memory (cores_per_worker, mem_per_worker): \
             require less, or use larger nodes. A larger nodes_per_block does not help, because a \
             task runs on one manager."
                .to_owned(),
        );
    }
    if lacks("time") {
        let text = "Time: set a longer walltime in the provider, or a smaller running_time_min.";
        told.push(text.to_owned());
    }
    if lacks("node") {
        told.push(format!(
            "Node: compare the required patterns and numbers with the nodes; {} lists each \
             manager's host and block.",
            status_of(document, "--managers")
        ));
    }
    if lacks("affinity") {
        let text = "Affinity: when that manager leaves or is held, the interchange sends these \
                    tasks to another manager.";
        told.push(text.to_owned());
    }
    told.join(" ")
}

/// Reports the reserved manager. A reservation is intended, but a manager that has room and gets no
/// tasks needs an explanation.
pub(super) fn reserved(document: &Document) -> Option<Finding> {
    let reservation = document.reservation.as_ref()?;
    let is_it = |manager: &&Manager| manager.id == reservation.manager;
    let host = document.managers.iter().find(is_it);
    let on = host.map_or(String::new(), |it| format!(" on {}", plain(&it.host)));
    let what = match reservation.tasks {
        1 => "1 task that requires".to_owned(),
        tasks => format!("the first of {} that require", some(tasks, "task")),
    };
    let what = format!(
        "Manager {}{on} has been reserved for {}, for {what} {}: other tasks were sent ahead of \
         this task for {}. The manager gets no later task until this task has started.",
        plain(&reservation.manager),
        duration(reservation.reserved_s),
        plain(&reservation.needs),
        duration(reservation.passed_s)
    );
    Some(
        Finding::note("manager-reserved", what)
            .shown_by(field("reservation.manager", &reservation.manager)),
    )
}
