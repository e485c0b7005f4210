//! Tests of findings about managers and their losses.

use super::*;

#[test]
fn managers_are_silent() {
    let mut silent = staffed(0, 0.0);
    silent.managers[0].last_heard_s = 59.0;
    none(&silent, "silent");
    silent.managers[0].last_heard_s = 75.0;
    silent.managers[0].in_flight = 2;
    let (severity, text) = one(&silent, "1 manager has been silent for 1 min 15 s");
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("After 2 min 00 s of silence it counts as lost, with 2 tasks"),
        "{text}"
    );
}

#[test]
fn a_connection_has_closed() {
    let mut gone = staffed(0, 0.0);
    gone.managers[1].suspect_s = Some(2.0);
    gone.managers[1].in_flight = 4;
    let (severity, text) = one(&gone, "without a connection");
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("1 manager is") && text.contains("lost with 4 tasks"),
        "{text}"
    );
}

#[test]
fn a_block_has_lost_several_managers() {
    let mut document = staffed(5, 40.0);
    none(&document, "disappeared together");
    document.managers[0].awaited = true;
    let (severity, text) = one(
        &document,
        "1 manager gets no more tasks until it sends a message",
    );
    assert_eq!(severity, Severity::Note);
    assert!(text.contains("n1-manager on n1"), "{text}");
    for manager in &mut document.managers {
        manager.awaited = true;
    }
    one(
        &document,
        "2 managers get no more tasks until they send a message",
    );
    let (severity, text) = one(&document, "2 awaited");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("with the next heartbeat"), "{text}");
}

#[test]
fn tasks_are_in_doubt() {
    let mut document = staffed(5, 40.0);
    none(&document, "in doubt");
    document.managers[1].in_doubt = 2;
    let (severity, text) = one(&document, "2 tasks are in doubt, at n2-manager on n2");
    assert_eq!(severity, Severity::Note);
    assert!(
        text.contains("The first of them fails later unless"),
        "{text}"
    );
    document.managers[1].doubt_ends_in_s = Some(12.0);
    (
        document.managers[0].in_doubt,
        document.managers[0].doubt_ends_in_s,
    ) = (1, Some(75.0));
    let (_, text) = one(&document, "3 tasks are in doubt");
    assert!(text.contains("The first of them fails in 12 s"), "{text}");
}

#[test]
fn a_manager_fails_everything() {
    let mut document = staffed(5, 40.0);
    none(&document, "every task");
    document.managers[0].failing = Some(12);
    let (severity, text) = one(&document, "1 manager fails every task");
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("n1-manager on n1. The last 12 tasks"),
        "{text}"
    );
    assert!(text.contains("--hold-failing-managers"), "{text}");
    document.managers[0].held = true;
    let (_, text) = one(&document, "1 manager fails every task");
    assert!(
        text.contains("No more tasks go there, because it is held"),
        "{text}"
    );
    assert!(!text.contains("--hold-failing-managers"), "{text}");
}

#[test]
fn a_manager_does_not_read_its_tasks() {
    let mut document = staffed(5, 40.0);
    none(&document, "read the tasks that were sent");
    document.managers[0].clogged = true;
    let (severity, text) = one(
        &document,
        "1 manager does not read the tasks that were sent",
    );
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("until it does"), "{text}");
    document.managers[1].clogged = true;
    one(&document, "2 managers do not read the tasks that were sent");
    // Clogged managers have no room, so that waiting tasks are no error of the interchange.
    none(&document, "bug of the interchange");
}

#[test]
fn losses_are_reported() {
    let mut lost = staffed(0, 0.0);
    lost.totals.managers_lost = 1;
    lost.totals.tasks_lost = 3;
    lost.events = vec![event(599.0, "lost", 3), event(1.0, "registered", 0)];
    let (severity, text) = one(
        &lost,
        "1 manager was lost since the start, and 3 tasks with them",
    );
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("9 min 59 s ago") && text.contains("ManagerLost"),
        "{text}"
    );
    lost.events = vec![event(601.0, "lost", 3)];
    assert_eq!(one(&lost, "1 manager was lost").0, Severity::Note);
    lost.totals.late_results = 2;
    lost.totals.tasks_unreadable = 1;
    assert_eq!(one(&lost, "2 results arrived too late").0, Severity::Note);
    assert_eq!(one(&lost, "1 task failed because").0, Severity::Warning);
}

#[test]
fn managers_that_parsl_removes_are_no_losses() {
    let mut ended = staffed(0, 0.0);
    ended.totals.tasks_received = 6;
    for manager in &mut ended.managers {
        (manager.held, manager.suspect_s) = (true, Some(3.0));
    }
    ended.managers[1].last_heard_s = 100.0;
    let (severity, _) = one(&ended, "has its result, and no manager accepts tasks");
    assert_eq!(severity, Severity::Note);
    assert_eq!(told(&ended).len(), 1);
    ended.managers.push(manager("2", "n3"));
    one(&ended, "has its result, and 1 manager is ready for more");
    one(&ended, "Of 3 managers, 2 held and 0 draining");
    none(&ended, "without a connection");
    ended.managers[0].in_flight = 1;
    one(&ended, "1 manager is without a connection");
    ended.managers.clear();
    ended.totals.managers_lost = 2;
    ended.totals.managers_lost_held = 2;
    none(&ended, "lost");
    ended.totals.managers_lost = 3;
    let held = event(1.0, "lost", 0);
    let held = status::document::Event {
        was_held: true,
        ..held
    };
    ended.events = vec![event(30.0, "lost", 0), held];
    one(
        &ended,
        "1 manager was lost since the start, and 0 tasks with them; the last one 30 s ago",
    );
}

#[test]
fn a_task_hangs() {
    let mut slow = staffed(0, 0.0);
    slow.managers[0] = full_manager("0", "n1");
    slow.managers[0].oldest_task_s = Some(4000.0);
    slow.totals.in_flight_longest_s = 30.0;
    none(&slow, "Task 17");
    slow.totals.tasks_done = 9;
    let (severity, text) = one(&slow, "Task 17 has been on manager n1-manager on n1");
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("1 h 06 min, and no finished task took longer than 30 s"),
        "{text}"
    );
    // Below the limit the task may just be a long one.
    slow.managers[0].oldest_task_s = Some(599.0);
    assert_eq!(one(&slow, "Task 17").0, Severity::Note);
    slow.managers[0].oldest_task_s = Some(4000.0);
    // If other tasks took this long, the task is not slow.
    slow.totals.in_flight_longest_s = 401.0;
    none(&slow, "Task 17");
}
