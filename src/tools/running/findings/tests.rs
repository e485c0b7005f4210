//! Tests each rule with a document in which the rule holds, and with one in which it just does not.

mod managers;
mod placement;

use super::{findings, verdict};
use crate::running::sample::{document, event, full_manager, manager};
use crate::shared::finding::{Severity, worst};
use status::document::{Document, Hub, State};

/// Returns the severity of every finding, and its text with advice.
fn told(document: &Document) -> Vec<(Severity, String)> {
    let told = findings(document).into_iter();
    told.map(|finding| {
        assert!(!finding.evidence.is_empty(), "nothing shows {finding:?}");
        (
            finding.severity,
            format!("{} {}", finding.what, finding.advice()),
        )
    })
    .collect()
}

/// Returns the only finding that contains `text`.
#[track_caller]
fn one(document: &Document, text: &str) -> (Severity, String) {
    let all = told(document);
    let mut having = all.iter().filter(|(_, told)| told.contains(text));
    let first = having.next().cloned();
    let first = first.unwrap_or_else(|| panic!("no finding has '{text}': {all:#?}"));
    assert_eq!(having.next(), None, "{all:#?}");
    first
}

#[track_caller]
fn none(document: &Document, text: &str) {
    let all = told(document);
    assert!(!all.iter().any(|(_, told)| told.contains(text)), "{all:#?}");
}

fn waiting(tasks: usize, oldest_s: f64) -> Document {
    let mut document = document();
    document.queue.tasks = tasks;
    document.queue.oldest_s = Some(oldest_s);
    document.totals.tasks_received = tasks as u64;
    document
}

/// Like `waiting`, with two registered managers of two blocks.
fn staffed(tasks: usize, oldest_s: f64) -> Document {
    let mut document = waiting(tasks, oldest_s);
    document.managers = vec![manager("0", "n1"), manager("1", "n2")];
    document.totals.managers_registered = 2;
    document
}

#[test]
fn no_manager_has_registered() {
    let (severity, text) = one(&waiting(5, 40.0), "has ever registered");
    assert_eq!(
        severity,
        Severity::Warning,
        "blocks may wait in a queue for long"
    );
    for word in [
        "5 tasks wait, the oldest for 40 s",
        "registered. Run `htex-interchange doctor /runs/runinfo/003`: it reads the blocks' output",
        "No manager is connected to port 54321 of login1",
        "submit_scripts in /runs/runinfo/003)",
        "manager.log in /runs/runinfo/003/htex/block-*)",
        "`address`",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    one(&waiting(1, 3.0), "1 task waits, for 3.0 s, and no manager");
    let mut connected = waiting(5, 40.0);
    connected.worker_port.connections = 2;
    connected.worker_port.address = Some("10.0.0.7".to_owned());
    let (_, text) = one(&connected, "has ever registered");
    assert!(
        text.contains("2 connections are open to port 54321 of 10.0.0.7, but no"),
        "{text}"
    );
}

#[test]
fn the_end_of_a_block_makes_missing_managers_a_problem() {
    let run_dir = tempfile::tempdir().unwrap();
    let scripts = run_dir.path().join("submit_scripts");
    std::fs::create_dir(&scripts).unwrap();
    let mut document = waiting(5, 1.0);
    document.interchange.logdir = run_dir.path().join("htex").display().to_string();
    let with = |label: &str, status: &str| {
        let file = scripts.join(format!("parsl.{label}.block-0.1796016713.92.sh.ec"));
        std::fs::write(file, status).unwrap();
        one(&document, "has ever registered").0
    };
    assert_eq!(with("htex", "-"), Severity::Warning, "the block still runs");
    assert_eq!(with("other", "127"), Severity::Warning);
    assert_eq!(with("htex", "127\n"), Severity::Problem);
}

#[test]
fn removed_files_are_not_recommended() {
    let nobody = waiting(5, 40.0);
    let mut refused = waiting(5, 40.0);
    refused.worker_port.keys_refused = 1;
    let mut connected = waiting(5, 40.0);
    connected.worker_port.connections = 1;
    let mut gone = waiting(5, 40.0);
    gone.totals.managers_registered = 1;
    let mut lost = staffed(0, 0.0);
    lost.totals.managers_lost = 1;
    lost.events = vec![event(1.0, "lost", 0)];
    for mut document in [nobody, refused, connected, gone, lost] {
        let doctor = "`htex-interchange doctor /runs/runinfo/003`: it reads";
        assert!(
            one(&document, doctor)
                .1
                .contains("submit_scripts in /runs/runinfo/003)")
        );
        document.process.log_moved_to = Some("/runs/interchange.log (deleted)".to_owned());
        none(&document, "submit_scripts");
        one(
            &document,
            "`htex-interchange doctor /runs/runinfo/003` shows what is left",
        );
    }
}

#[test]
fn refused_peers_are_reported() {
    let mut refused = waiting(5, 1.0);
    refused.worker_port.keys_refused = 3;
    let (severity, text) = one(&refused, "has ever registered");
    assert_eq!(severity, Severity::Problem, "waiting will not help");
    assert!(
        text.contains("3 peers were refused because the key"),
        "{text}"
    );
    let mut failed = document();
    failed.worker_port.handshakes_failed = 1;
    let (severity, text) = one(&failed, "1 handshake failed");
    assert_eq!(severity, Severity::Problem);
    assert!(
        text.contains("is encrypted, and the peers may be managers that are not encrypted"),
        "{text}"
    );
    failed.interchange.encrypted = false;
    one(
        &failed,
        "this run is not encrypted, and the peers may be managers that are encrypted,",
    );
    failed.totals.managers_registered = 1;
    assert_eq!(one(&failed, "1 handshake failed").0, Severity::Note);
}

#[test]
fn all_managers_are_gone() {
    let mut gone = waiting(7, 90.0);
    gone.totals.managers_registered = 3;
    gone.totals.managers_lost = 2;
    gone.totals.tasks_lost = 5;
    gone.totals.managers_drained = 1;
    gone.events = vec![event(60.0, "lost", 5), event(30.0, "registered", 0)];
    let (severity, text) = one(&gone, "no manager is left");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("2 lost (with 5 tasks), 1 drained, the last one 1 min 00 s ago"));
    gone.totals.managers_lost_held = 1;
    one(
        &gone,
        "1 lost (with 5 tasks), 1 left after being held, 1 drained",
    );
    // Parsl has just scaled in, and needs time to scale out again.
    gone.totals.managers_lost_held = 2;
    gone.totals.tasks_lost = 0;
    gone.events = vec![event(3.0, "drained", 0)];
    assert_eq!(one(&gone, "no manager is left").0, Severity::Warning);
    gone.events = vec![event(30.0, "drained", 0)];
    assert_eq!(one(&gone, "no manager is left").0, Severity::Problem);
}

#[test]
fn full_managers_are_no_problem() {
    let mut full = staffed(100, 600.0);
    full.managers = vec![full_manager("0", "n1"), full_manager("1", "n2")];
    full.in_flight = 8;
    let (severity, text) = one(&full, "are full");
    assert_eq!(severity, Severity::Note);
    assert!(text.contains("all 2 managers that accept tasks are full, with 8 tasks"));
    assert!(text.contains("8 tasks (the longest for 7.0 s) in flight on 8 workers"));
    assert_eq!(verdict(&findings(&full)), "Nothing is wrong.");
    full.managers[1].held = true;
    one(
        &full,
        "the only manager that accepts tasks is full (1 not accepting tasks: 1 held)",
    );
}

#[test]
fn nobody_takes_tasks() {
    let mut held = staffed(4, 9.0);
    held.managers[0].held = true;
    held.managers[1].draining = true;
    let (severity, text) = one(&held, "none of 2 managers accepts any");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("1 held, 1 draining"), "{text}");
    assert!(
        text.contains("Held: Parsl may be") && text.contains("Draining: "),
        "{text}"
    );
    assert!(!text.contains("Suspect"), "{text}");
    held.queue.oldest_s = Some(1.0);
    assert_eq!(one(&held, "none of 2 managers").0, Severity::Warning);
    let mut suspect = staffed(4, 9.0);
    for manager in &mut suspect.managers {
        manager.suspect_s = Some(3.0);
    }
    let (severity, text) = one(&suspect, "2 suspect");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("their connections have closed") || text.contains("Suspect: "));
}

#[test]
fn unused_room_is_reported() {
    let mut stuck = staffed(4, 9.0);
    let (severity, text) = one(&stuck, "have room for 8");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("may be a bug of the interchange"), "{text}");
    stuck.interchange.selector = "mine.Selector".to_owned();
    one(&stuck, "Your own selector, mine.Selector");
    let mut flowing = staffed(4, 9.0);
    flowing.rates.last_5_s.dispatched = 0.2;
    none(&flowing, "although managers that accept tasks have room");
    none(
        &staffed(4, 0.5),
        "although managers that accept tasks have room",
    );
}

#[test]
fn the_submit_process_takes_no_results() {
    let mut deaf = staffed(4, 9.0);
    deaf.back_pressure.dispatches = false;
    deaf.back_pressure.unsent_results_bytes = 256 << 20;
    let (severity, text) = one(&deaf, "takes no results");
    assert_eq!(severity, Severity::Problem);
    assert!(
        text.contains("256 MiB") && text.contains("It may be short of memory"),
        "{text}"
    );
    none(&deaf, "although managers that accept tasks have room");
    deaf.queue.tasks = 0;
    one(&deaf, "takes no results");
    deaf.interchange.submit_state = Some('T');
    let (_, text) = one(&deaf, "takes no results");
    assert!(
        text.contains("That process is stopped: process 4700"),
        "{text}"
    );
    none(&deaf, "The submit process is stopped");
    let mut slow = staffed(0, 0.0);
    slow.back_pressure.unsent_results_bytes = 100 << 20;
    assert_eq!(one(&slow, "takes results slowly").0, Severity::Warning);
}

#[test]
fn the_submit_process_is_stopped() {
    let mut stopped = staffed(4, 0.1);
    none(&stopped, "submit process");
    stopped.interchange.submit_state = Some('T');
    let (severity, text) = one(&stopped, "The submit process is stopped");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("kill -CONT 4700"), "{text}");
    stopped.interchange.submit_state = Some('t');
    one(&stopped, "a debugger holds process 4700");
}

#[test]
fn a_paused_intake_is_reported() {
    let mut shut = staffed(4, 0.1);
    shut.back_pressure.takes_tasks = false;
    shut.back_pressure.held_bytes = 1 << 30;
    let (severity, text) = one(&shut, "accepts no more tasks");
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("1.0 GiB") && text.contains("--max-queued-bytes"),
        "{text}"
    );
}

#[test]
fn descriptors_run_out() {
    let mut full = staffed(0, 0.0);
    full.process.descriptors = 973;
    assert_eq!(one(&full, "973 of 1024 descriptors").0, Severity::Warning);
    full.worker_port.lets_in = false;
    let (severity, text) = one(&full, "973 of 1024 descriptors");
    assert_eq!(severity, Severity::Problem);
    assert!(
        text.contains("accepts no more managers") && text.contains("ulimit"),
        "{text}"
    );
    full.process.descriptors = 800;
    full.worker_port.lets_in = true;
    none(&full, "descriptors");
}

#[test]
fn dropped_lines_are_reported() {
    let mut dropping = staffed(0, 0.0);
    dropping.process.log_lines_dropped = 7;
    dropping.process.event_lines_dropped = Some(1);
    assert_eq!(one(&dropping, "7 lines of the log").0, Severity::Warning);
    assert_eq!(
        one(&dropping, "1 line of the events file").0,
        Severity::Warning
    );
    dropping.process.log_lines_dropped = 0;
    dropping.process.event_lines_dropped = Some(0);
    none(&dropping, "dropped");
}

#[test]
fn the_hub_does_not_answer() {
    let mut document = staffed(0, 0.0);
    let mut hub = Hub {
        address: "127.0.0.1:55055".to_owned(),
        answers: false,
        held_bytes: 0,
        dropped: 2,
    };
    document.hub = Some(hub.clone());
    assert_eq!(one(&document, "55055 does not answer").0, Severity::Warning);
    assert_eq!(
        one(&document, "2 monitoring records dropped").0,
        Severity::Warning
    );
    document.interchange.uptime_s = 3.0;
    hub.dropped = 0;
    document.hub = Some(hub);
    none(&document, "monitoring");
}

#[test]
fn the_interchange_is_about_to_end() {
    let mut leaving = staffed(3, 100.0);
    leaving.state = State::Leaving;
    assert_eq!(one(&leaving, "about to end").0, Severity::Warning);
    none(&leaving, "although managers that accept tasks have room");
}

#[test]
fn the_interchange_is_idle_or_at_work() {
    assert_eq!(
        one(&document(), "has not sent any task yet").0,
        Severity::Note
    );
    let mut done = staffed(0, 0.0);
    done.totals.tasks_received = 12;
    let (severity, text) = one(&done, "Idle: every task");
    assert_eq!(severity, Severity::Note);
    assert!(text.contains("2 managers are ready for more"), "{text}");
    assert_eq!(verdict(&findings(&done)), "Nothing is wrong.");
    let mut at_work = done;
    at_work.in_flight = 3;
    one(&at_work, "3 tasks in flight on 2 managers");
    at_work.managers[1].oldest_task_s = Some(42.0);
    one(&at_work, "3 tasks (the longest for 42 s) in flight on");
}

#[test]
fn versions_differ() {
    let mut mixed = staffed(0, 0.0);
    mixed.managers[1].python = "3.12.9".to_owned();
    none(&mixed, "another Python");
    mixed.managers[1].parsl = "2026.01.01".to_owned();
    assert_eq!(
        one(&mixed, "(Python 3.12.9, Parsl 2026.01.01)").0,
        Severity::Note
    );
}

#[test]
fn paused_intake_names_the_mark_at_which_it_resumes() {
    let mut paused = document();
    paused.back_pressure.takes_tasks = false;
    one(&paused, "less than seven eighths of the limit");
}

#[test]
fn the_worst_comes_first() {
    let mut bad = waiting(5, 40.0);
    bad.worker_port.keys_refused = 1;
    bad.process.log_lines_dropped = 7;
    bad.totals.late_results = 1;
    let severities: Vec<Severity> = told(&bad)
        .into_iter()
        .map(|(severity, _)| severity)
        .collect();
    assert_eq!(
        severities,
        [Severity::Problem, Severity::Warning, Severity::Note]
    );
    assert_eq!(worst(&findings(&bad)), Severity::Problem);
    assert_eq!(
        verdict(&findings(&bad)),
        "1 problem, and 1 thing to look at."
    );
    bad.totals.tasks_unreadable = 1;
    assert_eq!(
        verdict(&findings(&bad)),
        "1 problem, and 2 things to look at."
    );
    assert_eq!(worst(&[]), Severity::Note);
}

#[test]
fn control_characters_in_names_are_not_shown() {
    let mut evil = staffed(0, 0.0);
    evil.managers[0].host = "\u{1b}[2J".to_owned();
    evil.managers[0].last_heard_s = 100.0;
    let (_, text) = one(&evil, "silent for");
    assert!(!text.contains('\u{1b}'));
    let lost = event(1.0, "lost\u{1b}", 1);
    evil.events = vec![status::document::Event {
        detail: "\u{1b}c".to_owned(),
        ..lost
    }];
    evil.totals.managers_lost = 1;
    assert!(told(&evil).iter().all(|(_, text)| !text.contains('\u{1b}')));
}

#[test]
fn a_finding_keeps_its_id_whatever_its_words_and_severity() {
    let ids = |document: &Document| -> Vec<&str> {
        let found = findings(document);
        found.iter().map(|finding| finding.id).collect()
    };
    assert_eq!(ids(&document()), ["no-task-yet"]);
    for oldest_s in [3.0, 40.0] {
        assert_eq!(ids(&waiting(5, oldest_s)), ["never-registered"]);
    }
    let mut held = staffed(5, 1.0);
    held.managers
        .iter_mut()
        .for_each(|manager| manager.held = true);
    assert_eq!(ids(&held), ["nobody-takes-tasks"]);
    let mut scarce = document();
    scarce.process.descriptors = scarce.process.descriptor_limit;
    assert_eq!(ids(&scarce), ["descriptors-scarce", "no-task-yet"]);
    scarce.worker_port.lets_in = false;
    assert_eq!(ids(&scarce), ["descriptors-ran-out"]);
}

#[test]
fn a_parsl_newer_than_the_tested_ones_is_reported() {
    let mut document = document();
    none(&document, "is newer than");
    document.interchange.parsl = Some("2027.01.04".to_owned());
    let (severity, told) = one(&document, "Parsl 2027.01.04 is newer than 2026.10.26");
    assert_eq!(severity, Severity::Note);
    assert!(told.contains("--newer-parsl stock"), "{told}");
    // An older interchange does not report the newest Parsl that it was tested with.
    document.interchange.parsl_newest_tested = None;
    none(&document, "is newer than");
}
