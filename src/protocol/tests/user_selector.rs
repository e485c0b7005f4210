//! Questions to the process that runs a user's selector, and its answers.

use std::rc::Rc;

use protocol::{
    FromManager, ManagerId, NodeInfo, Opaque, SelectorAnswer, SelectorQuestion, TaskId,
};

use super::python;

fn record(tasks: &[i64]) -> NodeInfo<Opaque<Vec<u8>>> {
    let text = "{'type': 'registration', 'parsl_v': 'p', 'python_v': '3.11.7', 'block_id': '0', \
        'max_capacity': 2, 'uid': 'u', 'odd': (1, {2})}";
    let Ok(FromManager::Registration(registration)) = FromManager::parse(python::pickle(4, text))
    else {
        panic!("a registration");
    };
    NodeInfo {
        registration: Rc::from(registration),
        tasks: tasks.iter().copied().map(TaskId).collect(),
        active: true,
        draining: false,
        last_heartbeat_s: 1_790_000_000.5,
        idle_since_s: tasks.is_empty().then_some(1.25),
        timestamp_s: 0.0,
    }
}

/// Manager ids are bytes, as in Parsl. Times are numbers here, and datetimes in monitoring.
#[test]
fn a_question_holds_records_as_parsls_selectors_see_them() {
    let question = SelectorQuestion {
        number: 7,
        joined: vec![(ManagerId::new(b"m1"), record(&[]))],
        changed: vec![(ManagerId::new(b"\xff"), record(&[3, 4]))],
        gone: vec![ManagerId::new(b"m0")],
        candidates: vec![ManagerId::new(b"m1"), ManagerId::new(b"\xff")],
    };
    let bytes = question.encode();
    for (seen, expected) in [
        (
            "list(x)",
            "['number', 'joined', 'changed', 'gone', 'candidates']",
        ),
        (
            "x['number'], x['gone'], x['candidates']",
            "(7, [b'm0'], [b'm1', b'\\xff'])",
        ),
        ("list(x['joined'])", "[b'm1']"),
        (
            "[x['joined'][b'm1'][k] for k in ('block_id', 'max_capacity', 'tasks', 'active', \
              'draining', 'idle_since', 'last_heartbeat', 'odd', 'parsl_version')]",
            "['0', 2, [], True, False, 1.25, 1790000000.5, (1, {2}), 'p']",
        ),
        (
            "x['changed']",
            "{b'\\xff': {'tasks': [3, 4], 'active': True, 'draining': False, \
              'last_heartbeat': 1790000000.5, 'idle_since': None}}",
        ),
    ] {
        assert_eq!(python::load(&bytes, seen), expected);
    }
    let nothing: SelectorQuestion<Opaque<Vec<u8>>> = SelectorQuestion {
        number: 1,
        joined: Vec::new(),
        changed: Vec::new(),
        gone: Vec::new(),
        candidates: Vec::new(),
    };
    let expected = "{'number': 1, 'joined': {}, 'changed': {}, 'gone': [], 'candidates': []}";
    assert_eq!(python::load(&nothing.encode(), "x"), expected);
}

#[test]
fn answers() {
    let ids = |names: &[&str]| {
        names
            .iter()
            .map(|name| ManagerId::new(name.as_bytes()))
            .collect()
    };
    let failed = |number, traceback: &str| SelectorAnswer::Failed {
        number,
        traceback: traceback.to_owned(),
    };
    for protocol in 3..=5 {
        for (text, expected) in [
            ("(0, [], None)", SelectorAnswer::Loaded),
            (
                "(1, [b'm1', b'm2'], None)",
                SelectorAnswer::Order {
                    number: 1,
                    managers: ids(&["m1", "m2"]),
                },
            ),
            (
                "(2, (b'm1',), None)",
                SelectorAnswer::Order {
                    number: 2,
                    managers: ids(&["m1"]),
                },
            ),
            (
                "(3, [], None)",
                SelectorAnswer::Order {
                    number: 3,
                    managers: ids(&[]),
                },
            ),
            ("(4, None, 'Tráce\\nback')", failed(4, "Tráce\nback")),
            ("(0, None, 'no module')", failed(0, "no module")),
        ] {
            let answer = SelectorAnswer::parse(&python::pickle(protocol, text));
            assert_eq!(answer.unwrap(), expected, "{protocol}: {text}");
        }
    }
    for text in [
        "None",
        "[]",
        "(1, [])",
        "(1, [], None, None)",
        "('1', [], None)",
        "(-1, [], None)",
        "(1, ['m1'], None)",
        "(1, None, None)",
        "(1, 5, None)",
        "{}",
    ] {
        assert!(
            SelectorAnswer::parse(&python::pickle(4, text)).is_err(),
            "{text}"
        );
    }
    assert!(SelectorAnswer::parse(b"Traceback").is_err());
}
