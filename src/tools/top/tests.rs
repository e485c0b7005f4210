//! Tests of the drawing, on terminals of many sizes, and of the keys.

use std::path::{Path, PathBuf};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{Action, App, Mode, Update};
use super::draw::draw;
use super::rows::Column;
use crate::running::client::{Answer, Found, Silent};
use crate::running::sample;
use status::document::{Document, Lack, Rate, Reservation, Unmet};

fn found(socket: &str, document: Document) -> Found {
    let json = String::new();
    Found {
        socket: PathBuf::from(socket),
        answer: Answer::Told {
            document: Box::new(document),
            json,
        },
    }
}

fn crew(managers: usize) -> Document {
    let mut document = sample::document();
    for number in 0..managers {
        let mut manager = sample::manager(&(number / 10).to_string(), &format!("node{number}"));
        manager.in_flight = number % 5;
        document.managers.push(manager);
    }
    document.events.push(sample::event(3.0, "registered", 0));
    document
}

fn app(managers: usize) -> App {
    App::new(vec![found("a", crew(managers))])
}

fn screen(app: &mut App, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal =
        Terminal::new(TestBackend::new(columns, rows)).expect("a test screen is always drawn");
    terminal
        .draw(|frame| draw(frame, app))
        .expect("a test screen is always drawn");
    let buffer = terminal.backend().buffer();
    let line = |row| {
        (0..columns)
            .map(|column| buffer[(column, row)].symbol())
            .collect()
    };
    (0..rows).map(line).collect()
}

fn text(app: &mut App) -> String {
    screen(app, 80, 24).join("\n")
}

fn press(app: &mut App, keys: &str) -> Option<Action> {
    let mut action = None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            key => KeyCode::Char(key),
        };
        action = app.handle_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    action
}

/// After a restart, the interchange has another process id and another socket.
#[test]
fn a_restarted_interchange_is_followed() {
    let mut app = app(3);
    app.handle_update(Update::Shown(PathBuf::from("a"), None));
    assert!(text(&mut app).contains("ENDED"));
    let mut document = crew(3);
    document.interchange.uptime_s += 1.0;
    document.restart = Some(sample::restart(1, 0.5));
    app.handle_update(Update::All(vec![found("b", document)]));
    assert_eq!((app.socket(), app.place()), (Path::new("b"), (1, 1)));
    let text = text(&mut app);
    assert!(
        text.contains("restarted 1 time") && !text.contains("ENDED"),
        "{text}"
    );
    let mut other = crew(3);
    other.interchange.started_at_s += 1.0;
    app.handle_update(Update::All(vec![found("c", other)]));
    assert_eq!(app.place(), (1, 2));
}

#[test]
fn a_usual_terminal_shows_everything() {
    let mut app = app(20);
    let text = text(&mut app);
    for told in [
        "runinfo/003/htex",
        "4711 on login1, up 1 h 00 min",
        "Nothing is wrong.",
        "queue 0  in flight 0",
        "BLOCK▲",
        "node7",
        "███░░░ 2/4",
        "done/s",
        "Latest changes of managers",
        "q quit",
    ] {
        assert!(text.contains(told), "{told} in\n{text}");
    }
}

#[test]
fn slots_are_shown_if_tasks_take_several() {
    let mut document = crew(3);
    let [wide, reserved, plain] = document.managers.as_mut_slice() else {
        panic!("three managers");
    };
    (wide.in_flight, wide.busy_slots) = (1, 4);
    (reserved.in_flight, reserved.busy_slots, reserved.reserved) = (1, 1, true);
    (plain.in_flight, plain.busy_slots) = (2, 2);
    document.reservation = Some(Reservation {
        manager: reserved.id.clone(),
        needs: "4 cores".to_owned(),
        tasks: 1,
        reserved_s: 12.0,
        passed_s: 17.0,
    });
    document.queue.unmet = vec![Unmet {
        tasks: 1200,
        needs: String::new(),
        lack: Lack::Node,
    }];
    let mut app = App::new(vec![found("a", document)]);
    let text = text(&mut app);
    for told in [
        "queue 0 (1,200 fit no manager)  in flight 0",
        "full     ██████ 4/4 slots",
        "reserved ██░░░░ 1/4 ",
        "busy     ███░░░ 2/4 ",
        "1,200 tasks need a node on which no manager runs.",
        "has been reserved for 12 s, for 1 task that ",
        "requires 4 cores",
    ] {
        assert!(text.contains(told), "{told} in\n{text}");
    }
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut app = app(50);
    for columns in [1, 2, 10, 20, 40, 60, 79, 80, 132, 300] {
        for rows in [1, 2, 3, 5, 10, 11, 12, 21, 22, 31, 32, 100] {
            for keys in ["", "↓", "?", "/n", "\u{1b}"] {
                press(&mut app, keys);
                screen(&mut app, columns, rows);
            }
        }
    }
    let small = screen(&mut app, 40, 10).join("\n");
    for told in ["node4", "STATE", "queue 0", "q quit"] {
        assert!(small.contains(told), "{told} in\n{small}");
    }
}

#[test]
fn thousands_of_managers_can_be_scrolled() {
    let mut app = app(8192);
    assert!(text(&mut app).contains("node0 "));
    press(&mut app, "G");
    let bottom = text(&mut app);
    assert!(
        bottom.contains("node8191") && !bottom.contains("node0 "),
        "{bottom}"
    );
    assert_eq!(app.selected_line(), Some(8191));
    press(&mut app, "g");
    assert!(text(&mut app).contains("node0 "));
    press(&mut app, "↓↓↓");
    assert_eq!(app.selected_line(), Some(3));
}

#[test]
fn keys_sort_and_reverse() {
    let mut app = app(12);
    press(&mut app, "ssss");
    assert_eq!(app.order.by, Column::InFlight);
    let shown = text(&mut app);
    assert!(shown.contains("IN FLIGHT▼"), "{shown}");
    assert!(
        shown.find("node4 ").expect("it is shown") < shown.find("node3 ").expect("it is shown")
    );
    press(&mut app, "r");
    let shown = text(&mut app);
    assert!(shown.contains("IN FLIGHT▲"), "{shown}");
    assert!(
        shown.find("node0 ").expect("it is shown") < shown.find("node1 ").expect("it is shown")
    );
    press(&mut app, "SSSSS");
    assert_eq!(app.order.by, Column::Idle);
}

#[test]
fn a_filter_is_typed_kept_and_forgotten() {
    let mut app = app(12);
    press(&mut app, "/node1q");
    assert_eq!(app.mode, Mode::Filtering(String::new()));
    assert!(text(&mut app).contains("/node1q"));
    assert!(text(&mut app).contains("No manager matches the filter"));
    app.handle_key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    press(&mut app, "\n");
    let shown = text(&mut app);
    assert!(shown.contains("[node1: 3]") && shown.contains("node11") && !shown.contains("node2"));
    press(&mut app, "/x\u{1b}");
    assert_eq!(app.filter, "node1");
    assert_eq!(press(&mut app, "\u{1b}"), None);
    assert_eq!(app.filter, "");
    assert_eq!(press(&mut app, "\u{1b}"), Some(Action::Quit));
}

#[test]
fn a_manager_is_held_after_a_question() {
    let mut app = app(3);
    assert_eq!(press(&mut app, "h"), None);
    assert!(text(&mut app).contains("First select a manager"));
    press(&mut app, "↓↓h");
    assert!(text(&mut app).contains("Hold node1-manager?"));
    assert_eq!(press(&mut app, "n"), None);
    assert!(text(&mut app).contains("The manager was not held."));
    let manager = "node1-manager".to_owned();
    assert_eq!(press(&mut app, "hy"), Some(Action::Hold { manager }));
    app.handle_update(Update::Held("node1-manager is held.".to_owned()));
    assert!(text(&mut app).contains("node1-manager is held."));
}

/// The same manager stays selected when its line changes. When that manager is gone, none is
/// selected.
#[test]
fn a_selection_is_a_manager_and_not_a_line() {
    let mut app = app(5);
    press(&mut app, "↓↓↓");
    assert_eq!(app.selected_line(), Some(2));
    press(&mut app, "r");
    let mut document = crew(5);
    document.managers.remove(0);
    app.handle_update(Update::Shown(
        PathBuf::from("a"),
        Some(found("a", document)),
    ));
    assert_eq!(app.selected_line(), Some(1));
    app.handle_update(Update::Shown(PathBuf::from("a"), Some(found("a", crew(2)))));
    assert_eq!(app.selected_line(), None);
}

#[test]
fn the_shown_interchange_can_be_switched_and_paused() {
    let mut other = crew(1);
    other.interchange.logdir = "/runs/runinfo/004/mpi".to_owned();
    let mut app = App::new(vec![found("a", crew(3)), found("b", other)]);
    assert!(text(&mut app).contains("runinfo/004/mpi (2 of 2, Tab: next)"));
    assert_eq!(press(&mut app, "\t"), Some(Action::Switch));
    assert!(text(&mut app).contains("runinfo/003/htex (1 of 2, Tab: next)"));
    press(&mut app, "p");
    assert!(text(&mut app).contains("PAUSED"));
    app.handle_update(Update::Shown(PathBuf::from("a"), Some(found("a", crew(7)))));
    assert_eq!(app.listed.len(), 3);
    press(&mut app, "p");
    app.handle_update(Update::Shown(PathBuf::from("a"), Some(found("a", crew(7)))));
    assert_eq!(app.listed.len(), 7);
}

#[test]
fn ended_and_new_interchanges_are_shown() {
    let mut app = app(2);
    let silent = Found {
        socket: PathBuf::from("a"),
        answer: Answer::Silent(Silent {
            pid: Some(7),
            state: Some("T (stopped)".to_owned()),
            logdir: None,
        }),
    };
    app.handle_update(Update::Shown(PathBuf::from("a"), Some(silent)));
    assert!(text(&mut app).contains("Process 7 does not answer: it is stopped (SIGSTOP)"));
    app.handle_update(Update::Shown(PathBuf::from("a"), None));
    let shown = text(&mut app);
    assert!(
        shown.contains("ENDED: it has ended") && shown.contains("node1"),
        "{shown}"
    );
    app.handle_update(Update::All(vec![found("b", crew(1))]));
    assert!(text(&mut app).contains("(1 of 2, Tab: next)"));
}

#[test]
fn help_is_shown_until_a_key() {
    let mut app = app(2);
    press(&mut app, "?");
    assert!(text(&mut app).contains("hold the selected one"));
    press(&mut app, "q");
    assert!(!text(&mut app).contains("hold the selected one"));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut app, "?");
    assert_eq!(app.handle_key(control_c), Some(Action::Quit));
}

#[test]
fn control_characters_in_names_are_not_shown() {
    let mut document = crew(1);
    document.managers[0].host = "\u{1b}[2J\n".to_owned();
    let mut app = App::new(vec![found("a", document)]);
    let text = text(&mut app);
    assert!(text.contains("\u{fffd}[2J\u{fffd}"), "{text}");
}

/// The README shows what the program draws. `HTEX_TEST_STORE_GUIDE=1` updates it.
#[test]
fn the_picture_in_readme_is_drawn_by_the_program() {
    let mut document = crew(0);
    for number in 0..6 {
        let mut manager = sample::manager(&(number / 2).to_string(), &format!("node{number:02}"));
        (manager.in_flight, manager.busy_slots) = (4, 4);
        manager.tasks_done = 310 + number * number % 7;
        manager.last_heard_s = 0.1 + 0.3 * number as f64;
        document.managers.push(manager);
    }
    (document.queue.tasks, document.queue.bytes) = (1_284, 1_284 << 10);
    document.queue.oldest_s = Some(6.5);
    document.in_flight = 24;
    document.rates.last_5_s = Rate {
        received: 12.0,
        dispatched: 9.4,
        done: 9.4,
    };
    document.rates.last_60_s = document.rates.last_5_s;
    let mut app = App::new(vec![found("a", document)]);
    let drawn: String = screen(&mut app, 90, 14)
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    let begin = "<!-- begin: made by top -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&path).expect("README is there");
    let (before, rest) = text.split_once(begin).expect("the mark is there");
    let (stored, after) = rest.split_once("<!-- end -->").expect("and its end");
    let made = format!("\n```text\n{}\n```\n\n", drawn.trim_end());
    if std::env::var_os("HTEX_TEST_STORE_GUIDE").is_some() {
        let text = format!("{before}{begin}{made}<!-- end -->{after}");
        std::fs::write(&path, text).expect("README can be written");
        return;
    }
    assert_eq!(stored, made);
}
