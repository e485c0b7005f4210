//! Requests and replies of the command channel.

use std::rc::Rc;

use protocol::{
    BlockId, Command, FromManager, ManagerFact, ManagerId, ManagerStatus, Observation, OfManager,
    Opaque, Registration, Reply, refusal,
};

use super::python;

type Answer = Reply<Opaque<Vec<u8>>>;

#[test]
fn every_name_of_every_release_in_every_protocol() {
    for protocol in 0..=5 {
        for (text, expected) in [
            ("'WORKER_BINDS'", Command::WorkerBinds),
            ("'CONNECTED_BLOCKS'", Command::ConnectedBlocks),
            ("'MANAGERS'", Command::Managers),
            ("'MANAGERS_PACKAGES'", Command::ManagersPackages),
            ("'WORKERS'", Command::Workers),
            ("'OUTSTANDING_C'", Command::Outstanding),
            ("'WORKER_PORTS'", Command::WorkerPorts),
            (
                "['HOLD_MANAGER', 'abc']",
                Command::Hold(ManagerId::new(b"abc")),
            ),
            ("['HOLD_MANAGER', '']", Command::Hold(ManagerId::new(b""))),
            ("'HOLD_WORKER;abc'", Command::Hold(ManagerId::new(b"abc"))),
            ("'HOLD_WORKER;a;b'", Command::Hold(ManagerId::new(b"a;b"))),
        ] {
            let bytes = python::pickle(protocol, text);
            assert_eq!(
                Command::parse(&bytes).unwrap(),
                expected,
                "{protocol}: {text}"
            );
        }
    }
}

/// Protocols below 3 write bytes as a call, but no executor uses them.
#[test]
fn a_hold_where_ids_are_bytes() {
    for protocol in 3..=5 {
        let bytes = python::pickle(protocol, "['HOLD_WORKER', b'a\\xff']");
        let hold = Command::Hold(ManagerId::new(b"a\xff"));
        assert_eq!(Command::parse(&bytes).unwrap(), hold);
    }
}

#[test]
fn everything_else_is_an_unknown_command() {
    for text in [
        "'MANGERS_PACKAGES'",
        "''",
        "'managers'",
        "'HOLD_WORKER'",
        "None",
        "5",
        "b'MANAGERS'",
        "{}",
        "{'MANAGERS': 1}",
        "['MANAGERS']",
        "[]",
        "()",
        "['HOLD_MANAGER']",
        "['HOLD_MANAGER', 5]",
        "['HOLD_MANAGER', None]",
        "['HOLD_MANAGER', b'abc']",
        "['HOLD_WORKER', 'abc']",
        "['HOLD_MANAGER', 'a', 'b']",
        "[b'HOLD_MANAGER', 'a']",
        "users.Odd()",
        "users.Odd",
        "float('nan')",
        "'\\ud800'",
    ] {
        let bytes = python::pickle(4, text);
        let command = Command::parse(&bytes);
        assert!(
            matches!(command, Ok(Command::Unknown(_))),
            "{text}: {command:?}"
        );
    }
    assert!(Command::parse(b"MANAGERS").is_err());
    assert!(Command::parse(b"").is_err());
}

#[test]
fn a_long_name_is_cut_for_the_log() {
    let bytes = python::pickle(4, "'é' * 100000");
    let Ok(Command::Unknown(name)) = Command::parse(&bytes) else {
        panic!("unknown");
    };
    assert!(name.chars().count() <= 80 && name.starts_with("éé"));
}

#[test]
fn plain_answers() {
    let blocks = vec![
        BlockId::Text("0".into()),
        BlockId::Number(0),
        BlockId::Text("é".into()),
    ];
    for (reply, expected) in [
        (Answer::None, "None"),
        (Answer::Number(54321), "54321"),
        (Answer::Number(0), "0"),
        (Answer::Number(i64::MAX), "9223372036854775807"),
        (Answer::Number(i64::MIN), "-9223372036854775808"),
        (Answer::Blocks(Rc::default()), "[]"),
        (Answer::Blocks(Rc::new(blocks)), "['0', 0, 'é']"),
        (Answer::Managers(Vec::new()), "[]"),
        (Answer::Packages(Vec::new()), "{}"),
    ] {
        assert_eq!(python::load(&reply.encode(), "repr(x)"), expected);
    }
}

#[test]
fn managers_are_dicts_with_stocks_keys_and_types() {
    let status = |manager: &[u8], block| ManagerStatus {
        manager: ManagerId::new(manager),
        block,
        worker_count: 4,
        tasks: 2,
        idle_duration_s: 0.0,
        active: true,
        parsl_version: "2026.10.26".to_owned(),
        python_version: "3.11.7".to_owned(),
        draining: false,
    };
    let reply = Answer::Managers(vec![
        status(b"abc", BlockId::Text("0".into())),
        ManagerStatus {
            idle_duration_s: 1.5,
            active: false,
            draining: true,
            ..status(b"\xff\xfe", BlockId::Number(7))
        },
    ]);
    assert_eq!(
        python::load(&reply.encode(), "repr(x)"),
        "[{'manager': 'abc', 'block_id': '0', 'worker_count': 4, 'tasks': 2, \
         'idle_duration': 0.0, 'active': True, 'parsl_version': '2026.10.26', \
         'python_version': '3.11.7', 'draining': False}, \
         {'manager': '\u{fffd}\u{fffd}', 'block_id': 7, 'worker_count': 4, 'tasks': 2, \
         'idle_duration': 1.5, 'active': False, 'parsl_version': '2026.10.26', \
         'python_version': '3.11.7', 'draining': True}]"
    );
}

fn registration(protocol: u8, packages: &str) -> Rc<Registration<Opaque<Vec<u8>>>> {
    let text = format!(
        "{{'type': 'registration', 'parsl_v': 'p', 'python_v': '3.11.7', 'block_id': '0', \
         'max_capacity': 1, {packages}}}"
    );
    let frame = python::pickle(protocol, &text);
    let message = FromManager::parse(frame).expect("a message");
    let FromManager::Registration(registration) = message else {
        panic!("{message:?}");
    };
    Rc::from(registration)
}

#[test]
fn packages_come_back_as_they_were_sent() {
    // Registrations of more than 8 KiB stay in their own buffer.
    let many = "'packages': {str(i): 'v' * 50 for i in range(1000)}";
    for protocol in 0..=5 {
        let managers = vec![
            (
                ManagerId::new(b"m1"),
                registration(protocol, "'packages': {'a': '1', None: None}"),
            ),
            (ManagerId::new(b"m2"), registration(protocol, "")),
            (
                ManagerId::new(b"m3"),
                registration(protocol, "'packages': None"),
            ),
            (ManagerId::new(b"m4"), registration(protocol, many)),
            (
                ManagerId::new(b"m5"),
                registration(protocol, "'packages': {}"),
            ),
        ];
        let reply = Answer::Packages(managers).encode();
        assert_eq!(
            python::load(
                &reply,
                "[x.pop('m4') == {str(i): 'v' * 50 for i in range(1000)}, x]"
            ),
            "[True, {'m1': {'a': '1', None: None}, 'm2': {}, 'm3': None, 'm5': {}}]"
        );
    }
}

#[test]
fn an_observation_is_a_single_value() {
    let of_manager = |what| Observation::Manager {
        manager: ManagerId::new(b"m\xff"),
        what,
    };
    let fact = |fact| of_manager(OfManager::Fact(fact));
    let packages = registration(4, "'packages': {'a': '1'}");
    let blocks = vec![BlockId::Text("0".into()), BlockId::Number(7)];
    let of_run = |key: &str, value: &str| {
        format!("{{'type': 'observation', 'key': '{key}', 'value': {value}}}")
    };
    let of_m = |key: &str, value: &str| {
        format!(
            "{{'type': 'manager-observation', 'manager': b'm\\xff', 'key': '{key}', \
             'value': {value}}}"
        )
    };
    for (told, expected) in [
        (
            Observation::WorkerPort(54321),
            of_run("worker_port", "54321"),
        ),
        (
            Observation::ConnectedBlocks(Rc::new(blocks)),
            of_run("connected_blocks", "['0', 7]"),
        ),
        (
            of_manager(OfManager::Packages(packages)),
            of_m("packages", "{'a': '1'}"),
        ),
        (
            of_manager(OfManager::Packages(registration(4, ""))),
            of_m("packages", "{}"),
        ),
        (
            fact(ManagerFact::Manager(ManagerId::new(b"m\xff"))),
            of_m("manager", "b'm\\xff'"),
        ),
        (
            fact(ManagerFact::Block(BlockId::Text("0".into()))),
            of_m("block_id", "'0'"),
        ),
        (fact(ManagerFact::WorkerCount(4)), of_m("worker_count", "4")),
        (fact(ManagerFact::Tasks(2)), of_m("tasks", "2")),
        (
            fact(ManagerFact::IdleDurationS(1.5)),
            of_m("idle_duration", "1.5"),
        ),
        (fact(ManagerFact::Active(false)), of_m("active", "False")),
        (
            fact(ManagerFact::ParslVersion("2026.10.26".to_owned())),
            of_m("parsl_version", "'2026.10.26'"),
        ),
        (
            fact(ManagerFact::PythonVersion("3.11.7".to_owned())),
            of_m("python_version", "'3.11.7'"),
        ),
        (fact(ManagerFact::Draining(true)), of_m("draining", "True")),
    ] {
        assert_eq!(python::load(&told.encode(), "repr(x)"), expected);
    }
}

/// `parsl.load()` raises the exception that loading the reply raises, with the whole text.
#[test]
fn a_refusal_raises_where_it_is_loaded() {
    for reason in [
        "htex-interchange refused to start: no ports",
        "",
        "two\nlines\r\n\tand 'quotes' \"of\" \\ both {kinds} %s",
        "nön-ÄSCII 日本 🦀 \u{0}",
        &"long ".repeat(60),
        &"ü".repeat(100_000),
    ] {
        assert_eq!(
            python::load(&refusal(reason), "x"),
            format!("ValueError: {reason}")
        );
    }
}
