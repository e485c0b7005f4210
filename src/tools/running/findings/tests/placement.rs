//! Tests of findings about tasks with requirements on their manager.

use super::{none, one, staffed};
use crate::running::sample::full_manager;
use crate::shared::finding::Severity;
use status::document::{Lack, Reservation, State, Unmet};

#[test]
fn tasks_with_requirements_may_wait_although_there_is_room() {
    let mut asking = staffed(4, 9.0);
    asking.queue.asking = 3;
    one(&asking, "a bug of the interchange");
    asking.queue.asking = 4;
    none(&asking, "a bug of the interchange");
    let (severity, text) = one(&asking, "none of them now has what");
    assert_eq!(severity, Severity::Note);
    assert!(
        text.contains("4 tasks wait, the oldest for 9.0 s"),
        "{text}"
    );
    assert!(text.contains("room for 8 more tasks of one slot"), "{text}");
    asking.queue.unmet = vec![unmet(4, Lack::Node)];
    none(&asking, "none of them now has what");
    // A reserved manager has no room for a task without requirements.
    let mut reserved = staffed(4, 9.0);
    reserved.managers[0].reserved = true;
    reserved.managers[1] = full_manager("1", "n2");
    none(&reserved, "although managers that accept tasks have room");
    one(
        &reserved,
        "the only manager that accepts tasks is full (1 not accepting tasks: 1 reserved)",
    );
    reserved.managers.truncate(1);
    none(&reserved, "accepts none");
}

#[test]
fn a_manager_full_of_wide_tasks_is_full() {
    let mut full = staffed(100, 600.0);
    for manager in &mut full.managers {
        (manager.in_flight, manager.busy_slots) = (1, 4);
    }
    full.in_flight = 2;
    let (_, text) = one(&full, "all 2 managers that accept tasks are full");
    assert!(
        text.contains("with 2 tasks on 8 slots in flight on 8 workers"),
        "{text}"
    );
    full.queue.tasks = 0;
    one(&full, "2 tasks on 8 slots in flight on 2 managers");
}

#[test]
fn tasks_that_fit_no_manager_are_reported_with_the_lack() {
    let mut document = staffed(12, 19.0);
    document.queue.asking = 12;
    none(&document, "need");
    document.queue.unmet = vec![unmet(12, SLOTS)];
    let told = "12 tasks need 8 slots on one manager; the largest manager has 4.";
    let (severity, text) = one(&document, told);
    assert_eq!(severity, Severity::Warning, "a block may be on its way");
    for word in [
        "Required: what 12 ask for.",
        "wait for a block that has",
        "mem_per_worker",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("running_time_min"), "{text}");
    document.queue.oldest_s = Some(20.0);
    assert_eq!(one(&document, told).0, Severity::Problem);
    document.queue.tasks = 13;
    assert_eq!(
        one(&document, told).0,
        Severity::Warning,
        "another one has its turn"
    );
    document.state = State::Leaving;
    none(&document, told);
}

#[test]
fn each_lack_has_its_words_and_its_remedy() {
    let of = |tasks, lack| {
        let mut document = staffed(100, 5.0);
        document.queue.unmet = vec![unmet(tasks, lack)];
        document
    };
    let time = of(1, Lack::Time { longest_s: 580.0 });
    let (_, text) = one(
        &time,
        "1 task needs more time than any manager has left; the longest remaining time is 9 min \
         40 s.",
    );
    assert!(text.contains("running_time_min"), "{text}");
    let (_, text) = one(
        &of(2, Lack::Node),
        "2 tasks need a node on which no manager runs.",
    );
    let command = "`htex-interchange status --managers /runs/runinfo/003/htex`";
    assert!(text.contains(command), "{text}");
    let manager = "evil\u{1b}".to_owned();
    let (_, text) = one(
        &of(1, Lack::Affinity { manager }),
        "1 task needs manager evil\u{fffd}, which runs other tasks of the same affinity and is \
         too small for it.",
    );
    assert!(
        text.contains("when that manager leaves or is held"),
        "{text}"
    );
    let mut nameless = of(3, SLOTS);
    nameless.queue.unmet[0].needs.clear();
    none(&nameless, "Required");
    let mut held = of(3, Lack::Managers);
    held.managers
        .iter_mut()
        .for_each(|manager| manager.held = true);
    none(&held, "3 tasks need");
    one(&held, "none of 2 managers accepts any: 2 held");
}

#[test]
fn kinds_with_most_tasks_are_listed() {
    let mut document = staffed(100, 5.0);
    let kinds = [5, 2, 9, 1, 7].map(|tasks| unmet(tasks, SLOTS));
    document.queue.unmet = kinds.to_vec();
    let (_, text) = one(&document, "3 tasks of 2 more kinds fit no manager either.");
    assert!(text.starts_with("9 tasks need"), "{text}");
    assert!(
        text.contains("Required: what 9 ask for; what 7 ask for; what 5 ask for."),
        "{text}"
    );
}

#[test]
fn a_reservation_is_reported() {
    let mut document = staffed(12, 9.0);
    document.managers[1].reserved = true;
    let mut reservation = Reservation {
        manager: "n2-manager".to_owned(),
        needs: "8 cores".to_owned(),
        tasks: 12,
        reserved_s: 2.0,
        passed_s: 7.0,
    };
    document.reservation = Some(reservation.clone());
    let (severity, _) = one(
        &document,
        "Manager n2-manager on n2 has been reserved for 2.0 s, for the first of 12 tasks that \
         require 8 cores: other tasks were sent ahead of this task for 7.0 s.",
    );
    assert_eq!(severity, Severity::Note);
    reservation.tasks = 1;
    document.reservation = Some(reservation);
    one(
        &document,
        "has been reserved for 2.0 s, for 1 task that requires 8 cores: other tasks",
    );
}

fn unmet(tasks: usize, lack: Lack) -> Unmet {
    let needs = format!("what {} ask for", tasks);
    Unmet { tasks, needs, lack }
}

const SLOTS: Lack = Lack::Slots {
    slots_needed: 8,
    slots_largest: 4,
};
