//! Findings about why tasks wait.

use super::causes::{ended_block, look_at_files, status_of, stopped_submit_process, wrong_keys};
use super::evidence::{fields, of_each};
use crate::running::labels::moment_of;
use crate::running::manager_counts::ManagerCounts;
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::{bytes, count, duration, some};
use status::document::{Document, Manager, ManagerState, State};

/// Blocks on the same machine register within this time.
pub(super) const BLOCKS_COME_WITHIN_S: f64 = 20.0;
/// Parsl holds managers for about this long before it cancels their block.
const HELD_FOR_A_MOMENT_S: f64 = 5.0;
/// A task that fits a manager with room is dispatched within this time.
const DISPATCHED_WITHIN_S: f64 = 1.0;

pub(super) fn why_nothing_moves(
    document: &Document,
    counts: &ManagerCounts<'_>,
) -> Option<Finding> {
    if document.state == State::Leaving {
        return None;
    }
    if !document.back_pressure.dispatches {
        return Some(results_are_not_taken(document));
    }
    if document.queue.tasks == 0 {
        return None;
    }
    match (counts.managers, document.totals.managers_registered) {
        (0, 0) => Some(nobody_came(document)),
        (0, _) => Some(all_are_gone(document)),
        _ if counts.room > 0 => room_is_left(document, counts),
        _ if counts.count(ManagerState::Full) > 0 => Some(all_are_full(document, counts)),
        // Another finding reports the reserved manager, and what it waits for.
        _ if counts.count(ManagerState::Reserved) > 0 => None,
        _ => Some(nobody_takes_tasks(document, counts)),
    }
}

/// Describes the queue: `5 tasks wait, the oldest for 3 s`.
fn queue(document: &Document) -> String {
    let queue = &document.queue;
    let wait = match queue.tasks {
        1 => "1 task waits".to_owned(),
        tasks => format!("{} wait", some(tasks, "task")),
    };
    match queue.oldest_s {
        Some(oldest) if queue.tasks == 1 => format!("{wait}, for {}", duration(oldest)),
        Some(oldest) => format!("{wait}, the oldest for {}", duration(oldest)),
        None => wait,
    }
}

fn oldest_s(document: &Document) -> f64 {
    document.queue.oldest_s.unwrap_or(0.0)
}

fn results_are_not_taken(document: &Document) -> Finding {
    let unsent = document.back_pressure.unsent_results_bytes;
    let why = match stopped_submit_process(document) {
        Some(stopped) => format!("That process is stopped: {stopped}."),
        None => "It may be short of memory, or busy in code that does not let other threads run. \
                 Only status on the submit process's own machine can show whether it is stopped."
            .to_owned(),
    };
    Finding::problem(
        "results-untaken",
        format!(
            "The interchange dispatches no tasks, because the submit process takes no results: {} \
             of results wait for it.",
            bytes(unsent)
        ),
    )
    .because(format!(
        "{why} When it reads its results, dispatch continues; nothing is lost."
    ))
    .shown_by(fields!(document => back_pressure.dispatches,
                      back_pressure.unsent_results_bytes, interchange.submit_pid,
                      interchange.submit_state))
}

fn nobody_came(document: &Document) -> Finding {
    let port = &document.worker_port;
    let refused = port.keys_refused > 0 || port.handshakes_failed > 0;
    // Blocks may wait in the batch system's queue for hours: time alone is no problem.
    let ended = ended_block(document);
    let severity = match refused || ended.is_some() {
        true => Severity::Problem,
        false => Severity::Warning,
    };
    let place = place_of(document);
    let files = look_at_files(document);
    let remedy = if refused {
        format!("{} {files}", wrong_keys(document))
    } else if port.connections > 0 {
        format!(
            "{} to {place}, but no manager has registered. {files}",
            match port.connections {
                1 => "1 connection is open".to_owned(),
                open => format!("{} are open", some(open, "connection")),
            }
        )
    } else {
        format!(
            "{files} No manager is connected to {place}. If the blocks have printed nothing, they \
             may still wait in the batch system's queue. If managers run, they cannot reach this \
             address: see the executor's `address`."
        )
    };
    let text = format!("{}, and no manager has ever registered.", queue(document));
    let shown = fields!(document => queue.tasks, totals.managers_registered,
                        worker_port.connections, worker_port.keys_refused,
                        worker_port.handshakes_failed);
    let shown = match ended {
        Some(file) => format!("{shown}, {file}"),
        None => shown,
    };
    Finding::new("never-registered", severity, text)
        .remedy(remedy)
        .shown_by(shown)
}

fn place_of(document: &Document) -> String {
    let port = &document.worker_port;
    match &port.address {
        Some(address) => format!("port {} of {address}", port.port),
        None => format!("port {} of {}", port.port, document.interchange.host),
    }
}

fn all_are_gone(document: &Document) -> Finding {
    let totals = &document.totals;
    let is_end = |change: &str| matches!(change, "lost" | "drained");
    let last = document
        .events
        .iter()
        .rev()
        .find(|event| is_end(&event.change));
    let ago = last.map_or(f64::INFINITY, |event| event.ago_s);
    let new_ones_are_late = ago.min(oldest_s(document)) >= BLOCKS_COME_WITHIN_S;
    let severity = match new_ones_are_late || totals.managers_missed() > 0 {
        true => Severity::Problem,
        false => Severity::Warning,
    };
    let mut text = format!(
        "{}, and no manager is left: {} lost (with {}){}, {} drained",
        queue(document),
        count(totals.managers_missed()),
        some(totals.tasks_lost, "task"),
        match totals.managers_lost_held {
            0 => String::new(),
            held => format!(", {} left after being held", count(held)),
        },
        count(totals.managers_drained),
    );
    if let Some(last) = last {
        text += &format!(
            ", the last one {} ago ({}, {})",
            duration(last.ago_s),
            moment_of(last),
            last.change
        );
    }
    let advice = "Parsl starts new blocks if its strategy and max_blocks permit it: look at the \
                  batch system's queue.";
    Finding::new("all-managers-gone", severity, text + ".")
        .remedy(format!("{advice} {}", look_at_files(document)))
        .shown_by(
            fields!(document => queue.tasks, managers, totals.managers_registered,
                          totals.managers_lost, totals.managers_lost_held,
                          totals.managers_drained),
        )
}

fn all_are_full(document: &Document, counts: &ManagerCounts<'_>) -> Finding {
    let full = counts.count(ManagerState::Full);
    let rest = match counts.managers - full {
        0 => String::new(),
        _ => format!(
            " ({} not accepting tasks: {})",
            counts.managers - full,
            unusable(counts)
        ),
    };
    let who = match full {
        1 => "the only manager that accepts tasks is full".to_owned(),
        full => format!("all {} that accept tasks are full", some(full, "manager")),
    };
    Finding::note(
        "all-managers-full",
        format!(
            "{}: {who}{rest}, with {}{}{} in flight on {}. More workers could run more tasks at a \
             time.",
            queue(document),
            some(document.in_flight, "task"),
            counts.slots_in_hand(),
            counts.longest_in_hand(),
            some(u64::try_from(counts.workers).unwrap_or(0), "worker"),
        ),
    )
    .shown_by(format!(
        "{}, {}",
        fields!(document => queue.tasks, in_flight),
        of_each(
            document,
            &in_state(document, &[ManagerState::Full]),
            |manager| { fields!(manager => in_flight, capacity) }
        )
    ))
}

fn in_state<'a>(document: &'a Document, states: &[ManagerState]) -> Vec<&'a Manager> {
    let managers = document.managers.iter();
    managers
        .filter(|manager| states.contains(&manager.state()))
        .collect()
}

/// Lists managers that take no tasks: `2 held, 1 draining`.
fn unusable(counts: &ManagerCounts<'_>) -> String {
    let states = [
        ManagerState::Held,
        ManagerState::Draining,
        ManagerState::Suspect,
        ManagerState::Reserved,
        ManagerState::Awaited,
    ];
    let told: Vec<String> = states
        .iter()
        .filter(|state| counts.count(**state) > 0)
        .map(|state| format!("{} {}", counts.count(*state), state.name()))
        .collect();
    told.join(", ")
}

fn nobody_takes_tasks(document: &Document, counts: &ManagerCounts<'_>) -> Finding {
    let severity = match oldest_s(document) >= HELD_FOR_A_MOMENT_S {
        true => Severity::Problem,
        false => Severity::Warning,
    };
    let mut advice = Vec::new();
    if counts.count(ManagerState::Held) > 0 {
        advice.push(
            "Held: Parsl may be about to cancel their block (it holds a block's managers before it \
             scales in), a user may have held them here, or they failed every task. A held manager \
             never gets tasks again; managers of new blocks do.",
        );
    }
    if counts.count(ManagerState::Draining) > 0 {
        advice.push(
            "Draining: they have reached their drain_period, so the end of their batch job is \
             near. They exit when their last task is done.",
        );
    }
    if counts.count(ManagerState::Suspect) > 0 {
        advice.push(
            "Suspect: their connections have closed. Their nodes or the network may be down, or \
             their jobs may have been killed. They are lost if they do not reconnect.",
        );
    }
    if counts.count(ManagerState::Awaited) > 0 {
        advice.push(
            "Awaited: several managers of their block disappeared together. These get tasks again \
             after their next message, which is due with the next heartbeat at the latest.",
        );
    }
    let nobody = match counts.managers {
        1 => "the only manager accepts none".to_owned(),
        managers => format!("none of {} accepts any", some(managers, "manager")),
    };
    let text = format!("{}, and {nobody}: {}.", queue(document), unusable(counts));
    let concerned: Vec<&Manager> = document.managers.iter().collect();
    Finding::new("nobody-takes-tasks", severity, text)
        .because(advice.join(" "))
        .shown_by(format!(
            "{}, {}",
            fields!(document => queue.tasks, queue.oldest_s),
            of_each(document, &concerned, what_keeps_it)
        ))
}

fn what_keeps_it(manager: &Manager) -> String {
    match manager.state() {
        ManagerState::Held => fields!(manager => held),
        ManagerState::Draining => fields!(manager => draining),
        ManagerState::Suspect => fields!(manager => suspect_s),
        ManagerState::Awaited => fields!(manager => awaited),
        ManagerState::Full | ManagerState::Reserved | ManagerState::Busy | ManagerState::Idle => {
            fields!(manager => in_flight, capacity, reserved)
        }
    }
}

/// Reports tasks that stay in the queue although managers have room. Tasks that are only passing
/// through the queue are no problem.
fn room_is_left(document: &Document, counts: &ManagerCounts<'_>) -> Option<Finding> {
    let moves = document.rates.last_5_s.dispatched > 0.0;
    if moves || oldest_s(document) < DISPATCHED_WITHIN_S {
        return None;
    }
    let queued = &document.queue;
    if queued.asking >= queued.tasks {
        return fits_no_room(document, counts);
    }
    let selector = &document.interchange.selector;
    let advice = match selector.as_str() {
        "random" | "block id" | "spread" | "pack" => {
            format!(
                "This is unexpected, and may be a bug of the interchange. Please report it with \
                 the output of {} and the interchange.log.",
                status_of(document, "--json")
            )
        }
        _ => format!(
            "Your own selector, {selector}, decides which manager gets a task: see what \
             interchange.log says about the selector."
        ),
    };
    Some(
        Finding::problem(
            "room-unused",
            format!(
                "{}, although managers that accept tasks have room for {}, and the interchange has \
                 dispatched none in the last seconds.",
                queue(document),
                count(counts.room)
            ),
        )
        .remedy(advice)
        .shown_by(
            fields!(document => queue.tasks, queue.oldest_s, queue.asking,
                          rates.last_5_s.dispatched, interchange.selector),
        ),
    )
}

/// Reports tasks with requirements, for which the free slots do not fit at the moment.
fn fits_no_room(document: &Document, counts: &ManagerCounts<'_>) -> Option<Finding> {
    let unmet = document.queue.unmet_tasks();
    (unmet < document.queue.tasks).then(|| {
        Finding::note(
            "room-does-not-fit",
            format!(
                "{}. Managers that accept tasks have room for {} of one slot, but none of them now \
                 has what the waiting tasks require (slots on one manager, time, type, node or \
                 affinity).",
                queue(document),
                some(counts.room, "more task")
            ),
        )
        .shown_by(fields!(document => queue.tasks, queue.asking, queue.unmet))
    })
}
