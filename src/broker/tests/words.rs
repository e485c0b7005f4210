//! A broker's effects as text, in the form that scenarios expect. No part of an effect is left out;
//! parts that are always the same are asserted here instead.

use std::fmt::Write as _;
use std::rc::Rc;

use broker::{Happening, ManagerChange, Now, Output, Shipment, StopReason, TaskChange, What};
use protocol::{
    BlockId, Failure, IdRun, ManagerId, ManagerStatus, NodeInfo, Notice, Observation, OfManager,
    Registration, Reply, Report, SelectorQuestion, ToManager,
};

use super::world::{Body, WALL_AT_START_S};

pub(crate) fn of(output: &Output<Body>, now: Now) -> String {
    match output {
        Output::ToManager { to, message } => {
            let word = match message {
                ToManager::ProbeAnswer => "probe answer",
                ToManager::HeartbeatEcho => "heartbeat echo",
                ToManager::Shutdown => "shutdown",
            };
            format!("{} < {word}", to.to_text())
        }
        Output::Result(Body::Result { manager, task }) => format!("result {task} by {manager}"),
        Output::Result(other) => format!("result that is {other:?}"),
        Output::Failure(failure) => of_failure(failure, now),
        Output::Happening(happening) => of_happening(happening),
        Output::Observation(observation) => of_observation(observation),
        Output::Notice(notice) => of_notice(notice),
        Output::Report(Report::NodeInfo(info)) => of_node_info(info, now),
        Output::Report(Report::Relayed(Body::Record(number))) => format!("relayed {number}"),
        Output::Report(Report::Relayed(other)) => format!("relayed {other:?}"),
        Output::Rank(question) => of_question(question),
        Output::Forgotten(manager) => format!("forgotten {}", manager.to_text()),
        Output::Stop(StopReason::SubmitSideGone) => "stop: submit side gone".to_owned(),
        Output::Stop(StopReason::VersionMismatch) => "stop: version mismatch".to_owned(),
    }
}

pub(crate) fn of_batch(to: &ManagerId, shipment: &Shipment<Body>) -> String {
    check_bodies(shipment);
    format!("batch {}: {}", to.to_text(), fold(&shipment.ids()))
}

fn of_notice(notice: &Notice) -> String {
    let fold = |runs: &[IdRun]| {
        let ids = runs.iter().flat_map(|(first, last)| first.0..=last.0);
        fold(&ids.collect::<Vec<_>>())
    };
    match notice {
        Notice::Restarted {
            number,
            why,
            down_s,
            accepted,
            live,
        } => format!(
            "restart {number} ({why}) after {down_s} s: accepted [{}], live [{}]",
            fold(accepted),
            fold(live)
        ),
        Notice::Accepted { runs } => format!("accepted [{}]", fold(runs)),
    }
}

fn of_observation(observation: &Observation<Body>) -> String {
    match observation {
        Observation::WorkerPort(port) => format!("observed port {port}"),
        Observation::ConnectedBlocks(blocks) => {
            let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
            format!("observed blocks {}", blocks.join(" "))
        }
        Observation::Manager { manager, what } => match what {
            OfManager::Packages(_) => format!("observed {} packages", manager.to_text()),
            OfManager::Fact(fact) => format!("observed {} {fact:?}", manager.to_text()),
        },
    }
}

fn of_happening(happening: &Happening) -> String {
    match &happening.what {
        What::Task { task, change } => format!("told task {task} {}", of_task_change(change)),
        What::Manager { manager, change } => {
            format!("told {} {}", manager.to_text(), of_manager_change(change))
        }
    }
}

fn of_task_change(change: &TaskChange) -> String {
    match change {
        TaskChange::Queued { needs: None } => "queued".to_owned(),
        TaskChange::Queued { needs: Some(needs) } => format!("queued, asks for {needs}"),
        TaskChange::Dispatched { manager, slots } => match slots {
            1 => format!("dispatched to {}", manager.to_text()),
            _ => format!("dispatched to {slots} slots of {}", manager.to_text()),
        },
        TaskChange::Done { manager } => format!("done by {}", manager.to_text()),
        TaskChange::Failed { reason, manager } => {
            let by = manager
                .as_ref()
                .map_or("nobody".to_owned(), ManagerId::to_text);
            format!("failed with {by}: {reason:?}")
        }
    }
}

fn of_manager_change(change: &ManagerChange) -> String {
    match change {
        ManagerChange::Registered {
            block,
            hostname,
            workers,
            capacity,
        } => format!("registered block={block} {hostname} workers={workers} capacity={capacity}"),
        ManagerChange::Failing { tasks } => format!("failing with {tasks}"),
        ManagerChange::Held => "held".to_owned(),
        ManagerChange::Draining => "draining".to_owned(),
        ManagerChange::Drained => "drained".to_owned(),
        ManagerChange::Suspect { in_flight } => format!("suspect with {in_flight}"),
        ManagerChange::Awaited => "awaited".to_owned(),
        ManagerChange::Back { in_flight } => format!("back with {in_flight}"),
        ManagerChange::Lost { tasks, silent, .. } => {
            format!("lost with {tasks} after {}", silent.as_secs_f64())
        }
        ManagerChange::GaveUp { tasks } => format!("gave up {tasks}"),
        ManagerChange::Replaced { tasks } => format!("replaced, lost {tasks}"),
    }
}

/// Asserts that each id has the body that was submitted with it.
pub(crate) fn check_bodies(shipment: &Shipment<Body>) {
    let ids = shipment.ids();
    let bodies: Vec<Body> = shipment.bodies().cloned().collect();
    let own: Vec<Body> = ids.iter().map(|id| Body::Task(*id)).collect();
    assert_eq!(bodies, own);
    assert_eq!(shipment.len(), ids.len());
    assert!(!shipment.is_empty(), "a batch of nothing");
}

/// `1 2 5-9`: the ids in order, with runs of three or more folded.
pub(crate) fn fold(ids: &[i64]) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first} {last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn of_failure(failure: &Failure, now: Now) -> String {
    match failure {
        Failure::ManagerLost {
            task,
            manager,
            hostname,
            lost_at_s,
        } => {
            assert_eq!(*lost_at_s, now.wall_s, "lost at the time of the report");
            format!("lost {task} with {} on {hostname}", manager.to_text())
        }
        Failure::Unreadable { task, reason } => format!("unreadable {task}: {reason}"),
        Failure::WideId { task, reason } => format!("wide {task}: {reason}"),
        Failure::VersionMismatch {
            interchange,
            manager,
        } => format!("mismatch: submit side {interchange}, manager {manager}"),
        Failure::Broken { reason } => format!("broken: {reason}"),
    }
}

/// `ask 2: among m1 m2, new m2, changed m1, gone m3`: a question to a user's selector.
fn of_question(question: &SelectorQuestion<Body>) -> String {
    let of_records = |records: &[(ManagerId, NodeInfo<Body>)]| -> Vec<ManagerId> {
        records.iter().map(|(id, _)| id.clone()).collect()
    };
    let mut line = format!("ask {}:", question.number);
    for (what, ids) in [
        ("among", question.candidates.clone()),
        ("new", of_records(&question.joined)),
        ("changed", of_records(&question.changed)),
        ("gone", question.gone.clone()),
    ] {
        if !ids.is_empty() {
            let texts: Vec<String> = ids.iter().map(ManagerId::to_text).collect();
            write!(line, " {what} {}", texts.join(" ")).expect("a String takes everything");
        }
    }
    line
}

/// `report m1 [1 2] active heard=0 idle=0`: times are seconds since the start.
fn of_node_info(info: &NodeInfo<Body>, now: Now) -> String {
    assert_eq!(info.timestamp_s, now.wall_s, "a record is of its moment");
    let Body::Registration(name) = &info.registration.message else {
        panic!("a record without its registration: {info:?}");
    };
    let ids: Vec<i64> = info.tasks.iter().map(|task| task.0).collect();
    let active = if info.active { "active" } else { "inactive" };
    let mut line = format!("report {name} [{}] {active}", fold(&ids));
    if info.draining {
        line.push_str(" draining");
    }
    let heard = info.last_heartbeat_s - WALL_AT_START_S;
    write!(line, " heard={}", rounded(heard)).expect("a String takes everything");
    match info.idle_since_s {
        Some(since) => {
            let since = rounded(since - WALL_AT_START_S);
            write!(line, " idle={since}").expect("a String takes everything");
        }
        None => line.push_str(" busy"),
    }
    line
}

/// Returns one line; for MANAGERS, one more for each manager.
pub(crate) fn of_reply(reply: &Reply<Body>) -> Vec<String> {
    let line = match reply {
        Reply::None => "reply none".to_owned(),
        Reply::Number(number) => format!("reply {number}"),
        Reply::Blocks(blocks) => {
            let blocks: Vec<String> = blocks.iter().map(block).collect();
            format!("reply [{}]", blocks.join(", "))
        }
        Reply::Packages(packages) => {
            let of_one =
                |(id, registration): &(ManagerId, Rc<Registration<Body>>)| match registration
                    .has_packages
                {
                    true => id.to_text(),
                    false => format!("{} without", id.to_text()),
                };
            let packages: Vec<String> = packages.iter().map(of_one).collect();
            format!("reply packages [{}]", packages.join(", "))
        }
        Reply::Managers(managers) => {
            let head = format!("reply {} managers", managers.len());
            return std::iter::once(head)
                .chain(managers.iter().map(of_status))
                .collect();
        }
    };
    vec![line]
}

fn of_status(status: &ManagerStatus) -> String {
    format!(
        "- {} block={} workers={} tasks={} idle={} {}{} parsl={} python={}",
        status.manager.to_text(),
        block(&status.block),
        status.worker_count,
        status.tasks,
        rounded(status.idle_duration_s),
        if status.active { "active" } else { "inactive" },
        if status.draining { " draining" } else { "" },
        status.parsl_version,
        status.python_version,
    )
}

/// Text in quotes, a number without: `"0"`, `0`.
fn block(block: &BlockId) -> String {
    match block {
        BlockId::Text(text) => format!("{text:?}"),
        BlockId::Number(number) => number.to_string(),
    }
}

/// Rounds to the millisecond.
pub(crate) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
