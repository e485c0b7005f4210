//! Tasks: the id and the priority are found in every dialect, and every odd message has a defined
//! outcome.

use protocol::{AnyTaskId, Opaque, Priority, Stay, Task, UnreadWords, UnreadableTask};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::events::Events;
use super::python;

fn parse(bytes: Vec<u8>) -> Result<Task<Opaque<Vec<u8>>>, UnreadableTask> {
    Task::parse(bytes, Stay::Long, &mut UnreadWords::default())
}

/// Returns the task's id, its priority, and the number of warnings.
fn routing(protocol: u8, expression: &str) -> (i64, Priority, usize) {
    let events = Events::capture(LevelFilter::WARN);
    let task = parse(python::pickle(protocol, expression));
    let task = task.unwrap_or_else(|error| panic!("{expression}: {error:?}"));
    let lines = events.take();
    for line in &lines {
        assert_eq!(line.level, Level::WARN);
        assert!(line.text.contains(&task.id.to_string()), "{line:?}");
    }
    (task.id.0, task.priority, lines.len())
}

fn with_priority(priority: &str) -> String {
    format!(
        "{{'task_id': 7, 'context': {{'resource_spec': {{'priority': {priority}}}}}, \
         'buffer': b'b'}}"
    )
}

#[test]
fn every_dialect_and_every_protocol() {
    let three = Priority::from_i64(3);
    let none = Priority::LOWEST;
    for protocol in 0..=5 {
        for (text, expected) in [
            (
                "{'task_id': 7, 'context': {'resource_spec': {'priority': 3}}, 'buffer': b'b'}",
                three,
            ),
            (
                "{'task_id': 7, 'context': {'resource_spec': {'cores': 1}}, 'buffer': b'b'}",
                none,
            ),
            (
                "{'task_id': 7, 'context': {'resource_spec': {}}, 'buffer': b'b'}",
                none,
            ),
            ("{'task_id': 7, 'context': {}, 'buffer': b'b'}", none),
            ("{'task_id': 7, 'context': None, 'buffer': b'b'}", none),
            (
                "{'task_id': 7, 'context': {'resource_spec': None}, 'buffer': b'b'}",
                none,
            ),
            // The form until 2025.09.22.
            (
                "{'task_id': 7, 'resource_spec': {'priority': 3}, 'buffer': b'b'}",
                three,
            ),
            ("{'task_id': 7, 'resource_spec': {}, 'buffer': b'b'}", none),
            ("{'task_id': 7, 'buffer': b'b'}", none),
            // A task of Parsl's MPIExecutor.
            (
                "{'task_id': 7, 'context': {'resource_spec': {'num_nodes': 2, 'num_ranks': 4, \
                  'launcher_options': '-x'}}, 'buffer': b'b'}",
                none,
            ),
            // Keys in another order, with unknown keys among them.
            (
                "{'buffer': b'priority', 'x': None, 'context': {'y': {'task_id': 1}, \
                  'resource_spec': {'z': 9, 'priority': 3}}, 'task_id': 7}",
                three,
            ),
        ] {
            assert_eq!(
                routing(protocol, text),
                (7, expected, 0),
                "{protocol}: {text}"
            );
        }
    }
}

#[test]
fn ids_of_every_width() {
    for id in [
        "0",
        "1",
        "255",
        "256",
        "65535",
        "65536",
        "2**31 - 1",
        "2**31",
        "2**63 - 1",
        "-1",
        "-2",
        "-2**31 - 1",
        "-2**63",
    ] {
        for protocol in 0..=5 {
            let text = format!("{{'task_id': {id}, 'context': {{}}, 'buffer': b''}}");
            let expected = python::load(&python::pickle(4, id), "x");
            assert_eq!(routing(protocol, &text).0.to_string(), expected);
        }
    }
}

/// The expected order is Python's own order of these numbers.
#[test]
fn priorities_are_ordered_as_python_orders_them() {
    const NUMBERS: &str = "[3, -3, 0, True, False, 1.5, -1.5, 0.1, 2**53, 2**53 + 1, 2.0**53, \
        2**60 + 1, 2**60, 2**60 - 1, 2.0**60, 2**63 - 1, 2**63, 2**63 + 1, -2**63, -2**63 - 1, \
        2**64, 2**100, 2**100 + 1, -2**100, 10**30, 10**300, 10**400, -10**400, 1e300, -1e300, \
        float('inf'), float('-inf'), 1e-300, -1e-300, decimal.Decimal('1.25'), \
        decimal.Decimal('-7'), decimal.Decimal('Infinity'), decimal.Decimal('1E+3'), \
        fractions.Fraction(1, 3), fractions.Fraction(-7, 2), users.Urgency.NOW, \
        users.Number(12)]";
    for protocol in 2..=5 {
        let count: usize = python::load(&python::pickle(protocol, NUMBERS), "len(x)")
            .parse()
            .unwrap();
        let mut places: Vec<(Priority, usize)> = (0..count)
            .map(|place| {
                let (_, priority, warned) =
                    routing(protocol, &with_priority(&format!("{NUMBERS}[{place}]")));
                assert_eq!(warned, 0, "number {place}");
                (priority, place)
            })
            .collect();
        places.sort();
        let ours: Vec<usize> = places.into_iter().map(|(_, place)| place).collect();
        let numbers = python::pickle(protocol, NUMBERS);
        let sorted = "sorted(range(len(x)), key=lambda i: (x[i], i))";
        assert_eq!(
            format!("{ours:?}"),
            python::load(&numbers, sorted),
            "protocol {protocol}"
        );
    }
}

#[test]
fn equal_numbers_of_different_types_are_equal() {
    let one = [
        "1",
        "True",
        "1.0",
        "decimal.Decimal('1.000')",
        "fractions.Fraction(2, 2)",
        "users.Number(1)",
        "numpy.of('i8', '<q', 1)",
        "numpy.of('u1', '<B', 1)",
        "numpy.of('f8', '<d', 1)",
        "numpy.of('f4', '<f', 1)",
        "numpy.of('f2', '<e', 1)",
        "numpy.of('b1', '<?', True)",
        "numpy.of('i4', '<i', 1)",
    ];
    for number in one {
        let expected = (7, Priority::from_i64(1), 0);
        assert_eq!(routing(4, &with_priority(number)), expected, "{number}");
        assert_eq!(routing(5, &with_priority(number)), expected, "{number}");
    }
    for (number, expected) in [
        ("users.Level.HIGH", Priority::from_i64(7)),
        ("numpy.of('i8', '<q', -2**63)", Priority::from_i64(i64::MIN)),
        ("numpy.of('i1', '<b', -1)", Priority::from_i64(-1)),
        ("numpy.of('u1', '<B', 255)", Priority::from_i64(255)),
        ("numpy.of('f8', '<d', float('inf'))", Priority::LOWEST),
        ("float('inf')", Priority::LOWEST),
        ("-0.0", Priority::from_i64(0)),
    ] {
        assert_eq!(
            routing(4, &with_priority(number)),
            (7, expected, 0),
            "{number}"
        );
    }
}

#[test]
fn a_priority_that_is_no_number_is_lowest_with_one_warning() {
    for odd in [
        "'high'",
        "None",
        "b'1'",
        "[1]",
        "(1,)",
        "{}",
        "{1}",
        "float('nan')",
        "decimal.Decimal('NaN')",
        "1j",
        "users.Odd()",
        "users.Odd('x')",
        "users.Odd(1, 2)",
        "users.Odd",
        "datetime.datetime(2026, 1, 1)",
        "uuid.UUID(int=1)",
        "numpy.of('U3', '<3s', b'abc')",
        "numpy.of('f8', '<d', float('nan'))",
    ] {
        assert_eq!(
            routing(4, &with_priority(odd)),
            (7, Priority::LOWEST, 1),
            "{odd}"
        );
    }
}

#[test]
fn numbers_wrapped_in_classes_without_end() {
    let nested = |depth| format!("{}1{}", "users.Odd(".repeat(depth), ")".repeat(depth));
    assert_eq!(
        routing(4, &with_priority(&nested(2))),
        (7, Priority::from_i64(1), 0)
    );
    assert_eq!(
        routing(4, &with_priority(&nested(90))),
        (7, Priority::LOWEST, 1)
    );
}

#[test]
fn a_task_of_another_shape_is_refused_with_the_reason() {
    for (text, id, reason) in [
        ("[1, 2]", None, "list"),
        ("None", None, "NoneType"),
        (
            "collections.OrderedDict(task_id=7, buffer=b'')",
            None,
            "instance",
        ),
        ("{'context': {}, 'buffer': b''}", None, "'task_id'"),
        (
            "{'task_id': '7', 'context': {}, 'buffer': b''}",
            None,
            "'task_id'",
        ),
        (
            "{'task_id': 7.0, 'context': {}, 'buffer': b''}",
            None,
            "'task_id'",
        ),
        (
            "{b'task_id': 7, 'context': {}, 'buffer': b''}",
            None,
            "'task_id'",
        ),
        ("{'task_id': 7, 'context': {}}", Some(7), "'buffer'"),
        ("{'task_id': 7}", Some(7), "'buffer'"),
        ("{'task_id': -7}", Some(-7), "'buffer'"),
        ("{'task_id': True}", Some(1), "'buffer'"),
        // An exception under the id −1 would fail every task.
        ("{'task_id': -1}", None, "'buffer'"),
    ] {
        for protocol in 2..=5 {
            let refused = parse(python::pickle(protocol, text)).expect_err(text);
            assert_eq!(ordinary(&refused), id, "{text}");
            let told = refused.reason.to_string();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}

fn ordinary(refused: &UnreadableTask) -> Option<i64> {
    match refused.id {
        Some(AnyTaskId::Ordinary(id)) => Some(id.0),
        Some(AnyTaskId::Wide(_)) | None => None,
    }
}

/// In Python, bools are the ints 0 and 1, and equal these as ids.
#[test]
fn bools_are_ids() {
    for (id, expected) in [("False", 0), ("True", 1)] {
        for protocol in 0..=5 {
            let text = format!("{{'task_id': {id}, 'context': {{}}, 'buffer': b''}}");
            assert_eq!(routing(protocol, &text).0, expected);
        }
    }
}

/// Ids beyond 64 bits are refused. The answer has exactly the received id.
#[test]
fn ids_beyond_64_bits_can_be_answered() {
    for id in [
        "2**63",
        "-2**63 - 1",
        "2**64",
        "-2**64",
        "10**400",
        "2**14000",
        "-2**14000",
    ] {
        for protocol in 0..=5 {
            let text = format!("{{'task_id': {id}, 'context': {{}}, 'buffer': b''}}");
            let refused = parse(python::pickle(protocol, &text)).expect_err("beyond");
            let reason = refused.reason.to_string();
            assert!(reason.contains("64 bits"), "{reason}");
            assert!(reason.len() < 150, "{reason}");
            let Some(AnyTaskId::Wide(task)) = refused.id else {
                panic!("{id} is an id beyond 64 bits");
            };
            let answer = protocol::Failure::WideId { task, reason }.encode();
            let seen = format!(
                "x['task_id'] == {id}, x['type'], \
                 type(pickle.loads(x['exception'][3:])).__name__"
            );
            assert_eq!(
                python::load(&answer, &seen),
                "(True, 'result', 'OverflowError')"
            );
        }
    }
}

#[test]
fn an_id_beyond_64_bits_is_shown_as_python_reads_it() {
    for (id, shown) in [
        ("2**63", "0x8000000000000000"),
        ("-2**63 - 1", "-0x8000000000000001"),
        ("-2**64", "-0x10000000000000000"),
    ] {
        let text = format!("{{'task_id': {id}, 'buffer': b''}}");
        let refused = parse(python::pickle(4, &text)).expect_err("beyond");
        let reason = refused.reason.to_string();
        assert!(reason.contains(&format!(" {shown} ")), "{reason}");
    }
}

/// The pickle is cut after the id, or has more objects than are decoded.
#[test]
fn any_int_id_is_found_in_an_unreadable_task() {
    for (id, expected) in [
        ("True", Some("1")),
        ("-7", Some("-7")),
        ("-1", None),
        ("2**63", Some("0x8000000000000000")),
    ] {
        let cut = python::pickle(4, &format!("{{'task_id': {id}, 'buffer': b'b' * 99}}"));
        let refused = parse(cut[..cut.len() - 9].to_vec()).expect_err("cut");
        let found = refused.id.map(|id| match id {
            AnyTaskId::Ordinary(id) => id.to_string(),
            AnyTaskId::Wide(id) => id.to_string(),
        });
        assert_eq!(found.as_deref(), expected, "{id}");
    }
    let many = "{'task_id': 2**64, 'context': [None] * 2**19, 'buffer': b''}";
    let refused = parse(python::pickle(4, many)).expect_err("beyond");
    assert!(refused.reason.to_string().contains("64 bits"));
}

#[test]
fn later_values_for_a_key_count_as_in_python() {
    // SETITEMS twice: {'task_id': 1, 'buffer': b''} and then 'task_id' again.
    let bytes = b"\x80\x04}(\x8c\x07task_idK\x01\x8c\x06bufferC\x00u(\x8c\x07task_idK\x02u.";
    assert_eq!(python::load(bytes, "x['task_id']"), "2");
    assert_eq!(parse(bytes.to_vec()).unwrap().id.0, 2);
}

#[test]
fn a_task_that_no_worker_could_load_is_refused_but_has_its_id() {
    // A persistent id in the context, which cannot be resolved.
    let bytes = b"\x80\x04}(\x8c\x07task_idK\x05\x8c\x07contextPx\n\x8c\x06bufferC\x00u.";
    let refused = parse(bytes.to_vec()).unwrap_err();
    assert_eq!(ordinary(&refused), Some(5));
    assert!(refused.reason.to_string().contains("persistent"));
}
