//! What a screen shows, and that each line fits.

use super::*;
use crate::running::sample;
use status::document::{Lack, Unmet};

fn paper(columns: usize) -> Paper {
    Paper {
        is_terminal: true,
        moves_cursor: true,
        text_columns: columns,
        line_columns: columns,
        ..Paper::piped()
    }
}

fn busy() -> Document {
    let mut document = sample::document();
    for number in 0..20 {
        let host = format!("a-node-with-a-long-name-{number}");
        document
            .managers
            .push(sample::full_manager(&number.to_string(), &host));
    }
    document.in_flight = 80;
    document.totals.managers_registered = 20;
    document.queue.tasks = 12_345;
    document.queue.bytes = 5 << 20;
    document.queue.oldest_s = Some(42.0);
    document.queue.priorities = vec![
        Priority {
            priority: Some(1.0),
            tasks: 345,
        },
        Priority {
            priority: None,
            tasks: 12_000,
        },
    ];
    document.events.push(sample::event(5.0, "registered", 0));
    document
}

#[test]
fn every_line_fits_a_terminal() {
    for columns in [40, 80, 132] {
        for managers in [false, true] {
            let screen = full(&busy(), &paper(columns), managers);
            for line in screen.lines() {
                assert!(width(line) <= columns, "{columns}: {line}");
            }
        }
    }
}

#[test]
fn a_restart_is_shown_with_its_reason() {
    let mut document = busy();
    assert!(!full(&document, &Paper::piped(), false).contains("Restarted"));
    document.restart = Some(sample::restart(2, 65.0));
    let screen = full(&document, &Paper::piped(), false);
    let told = "2 times, the last 1 min 05 s ago, after 24 ms without service: the old process was \
                killed (SIGKILL), as by the kernel";
    assert!(
        screen.contains(&format!("Restarted      {told}\n")),
        "{screen}"
    );
}

#[test]
fn a_screen_shows_the_whole_state() {
    let screen = full(&busy(), &Paper::piped(), false);
    for told in [
        "runinfo/003/htex",
        "process 4711 on login1, up 1 h 00 min",
        "Nothing is wrong.",
        "12,345 tasks, 5.0 MiB, the oldest for 42 s; by priority 1: 345, none: 12,000",
        "80 tasks (the longest for 7.0 s); 20 managers with 80 workers on 20 hosts",
        "Parsl 2026.10.26, Python 3.12.3, encrypted",
        "54321 of every address",
    ] {
        assert!(screen.contains(told), "{told} in\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'));
}

#[test]
fn evidence_is_below_a_problem_on_the_full_screen() {
    let mut document = busy();
    let shown = |screen: &str| screen.contains("Shown by: ");
    assert!(!shown(&full(&document, &Paper::piped(), false)));
    document.managers.clear();
    let screen = full(&document, &Paper::piped(), false);
    let told =
        "               Shown by: queue.tasks=12345, managers=[], totals.managers_registered=20";
    assert!(screen.contains(told), "{screen}");
    assert!(!shown(&short(&document, &Paper::piped())));
}

#[test]
fn a_manager_has_a_line_if_wanted() {
    let mut document = busy();
    document.managers[3].held = true;
    let screen = full(&document, &Paper::piped(), true);
    let line = screen
        .lines()
        .find(|line| line.contains("a-node-with-a-long-name-3 "))
        .unwrap();
    assert!(line.contains("held") && line.contains("4/4"), "{line}");
}

#[test]
fn slots_and_reservations_are_shown_where_tasks_ask_for_them() {
    let mut document = busy();
    for screen in [false, true].map(|managers| full(&document, &Paper::piped(), managers)) {
        let told = |word| screen.contains(word);
        assert!(
            !told("SLOTS") && !told("RESERVED") && !told("fit no manager"),
            "{screen}"
        );
    }
    document.managers.truncate(2);
    document.in_flight = 3;
    let [wide, reserved] = document.managers.as_mut_slice() else {
        panic!("two managers");
    };
    (wide.in_flight, wide.busy_slots) = (1, 4);
    (reserved.in_flight, reserved.busy_slots, reserved.reserved) = (2, 2, true);
    document.queue.asking = 12;
    document.queue.unmet = vec![Unmet {
        tasks: 12,
        needs: "8 cores".to_owned(),
        lack: Lack::Node,
    }];
    let blocks = full(&document, &Paper::piped(), false);
    let managers = full(&document, &Paper::piped(), true);
    for (screen, told) in [
        (&blocks, "; 12 fit no manager"),
        (&blocks, "3 tasks on 6 slots (the longest"),
        (
            &blocks,
            "SLOTS  SUSPECT  DRAINING  HELD  AWAITED  FULL  RESERVED  BUSY",
        ),
        (
            &blocks,
            "1/4    4/4        ·         ·     ·        ·     1         ·     ·",
        ),
        (&managers, "reserved        2/4    2/4"),
        (&managers, "full            1/4    4/4"),
    ] {
        assert!(screen.contains(told), "{told} in\n{screen}");
    }
}

#[test]
fn control_characters_of_peers_are_not_shown_on_the_screen() {
    let mut document = busy();
    document.managers[0].host = "evil\u{1b}[2J".to_owned();
    document.managers[0].block = "\r\n".to_owned();
    document.events[0].detail = "\u{1b}]0;title\u{7}".to_owned();
    for managers in [false, true] {
        let screen = full(&document, &Paper::piped(), managers);
        assert!(!screen.contains(['\u{1b}', '\u{7}', '\r']));
    }
}
