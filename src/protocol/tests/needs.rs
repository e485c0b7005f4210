//! Requirements of tasks are found at every place and in every type. An unreadable value is logged
//! once and counts as absent.

use protocol::{Affinity, Amount, Needs, NodeNeeds, Priority, Routing, Stay, Task, UnreadWords};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::events::Events;
use super::python;

/// Parses a task that contains `middle`. Returns its requirements, its priority, and the warnings.
fn read(protocol: u8, middle: &str, unread: &mut UnreadWords) -> (Needs, Priority, Vec<String>) {
    let text = format!("{{'task_id': 7, {middle}, 'buffer': b'b'}}");
    let frame = python::pickle(protocol, &text);
    let events = Events::capture(LevelFilter::WARN);
    let task = Task::parse(frame, Stay::Long, unread);
    let task = task.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let lines = events.take();
    let lines = lines.into_iter().map(|line| {
        assert_eq!(line.level, Level::WARN);
        line.text
    });
    let needs = task.needs.map(|needs| {
        assert_ne!(*needs, Needs::default(), "{text}: nothing is no need");
        *needs
    });
    (needs.unwrap_or_default(), task.priority, lines.collect())
}

/// Returns the requirements of a placement whose values are all readable.
fn needs(protocol: u8, words: &str) -> Needs {
    let middle = format!("'context': {{'resource_spec': {{}}, 'placement': {words}}}");
    let (needs, priority, lines) = read(protocol, &middle, &mut UnreadWords::default());
    assert_eq!(lines, [""; 0], "{words}");
    assert_eq!(priority, Priority::LOWEST);
    needs
}

fn amount(number: f64) -> Option<Amount> {
    Some(Amount::new(number).expect("an amount"))
}

fn texts(texts: &[&str]) -> Vec<Box<str>> {
    texts.iter().map(|text| Box::from(*text)).collect()
}

fn affinity(protocol: u8, value: &str) -> Affinity {
    let needs = needs(protocol, &format!("{{'manager_affinity': {value}}}"));
    needs.affinity.unwrap_or_else(|| panic!("{value}"))
}

const WORDS: &str = "'cores': 4, 'memory': 2000.5, 'running_time_min': 60, \
    'manager_affinity': 'x', 'task_type': 'a', 'routing': 'hard'";

fn all_words() -> Needs {
    Needs {
        cores: amount(4.0),
        memory_mb: amount(2000.5),
        running_time_s: amount(60.0),
        affinity: Some(affinity(4, "'x'")),
        task_type: Some("a".into()),
        routing: Some(Routing::Hard),
        node: None,
    }
}

#[test]
fn every_place_and_every_protocol() {
    let three = Priority::from_i64(3);
    for (middle, priority) in [
        ("'context': {'placement': {W}}", Priority::LOWEST),
        (
            "'context': {'resource_spec': {'priority': 3}, 'placement': {W}}",
            three,
        ),
        (
            "'context': {'placement': {W}, 'resource_spec': {'priority': 3}}",
            three,
        ),
        ("'context': {'resource_spec': {'priority': 3, W}}", three),
        (
            "'context': {'resource_spec': {W}, 'placement': None}",
            Priority::LOWEST,
        ),
        ("'context': {'resource_spec': {W}}", Priority::LOWEST),
        ("'context': {}, 'resource_spec': {W}", Priority::LOWEST),
        (
            "'context': None, 'placement': {W}, 'resource_spec': {}",
            Priority::LOWEST,
        ),
        // Tasks of releases without a context.
        ("'resource_spec': {'priority': 3}, 'placement': {W}", three),
        ("'resource_spec': {W, 'priority': 3}", three),
        ("'resource_spec': {W}", Priority::LOWEST),
        // If there is a placement, keys beside the priority are ignored.
        (
            "'context': {'placement': {W}, 'resource_spec': {'cores': 9, 'node': 5}}",
            Priority::LOWEST,
        ),
        (
            "'placement': {'cores': 1}, 'context': {'placement': {W}}",
            Priority::LOWEST,
        ),
        // Tasks with more entries than a flat dict allows, and with values that it does not allow.
        (
            "'x': 1, 'y': 2, 'z': 3, 'context': {'placement': {W}}",
            Priority::LOWEST,
        ),
        (
            "'context': {'placement': {W, 'é': [users.Odd]}}",
            Priority::LOWEST,
        ),
    ] {
        let one_word = Needs {
            cores: amount(4.0),
            ..Needs::default()
        };
        for (words, expected) in [(WORDS, all_words()), ("'cores': 4", one_word)] {
            let middle = middle.replace('W', words);
            for protocol in 0..=5 {
                let found = read(protocol, &middle, &mut UnreadWords::default());
                let expected = (expected.clone(), priority, vec![]);
                assert_eq!(found, expected, "{protocol}: {middle}");
            }
        }
    }
}

#[test]
fn tasks_without_requirements() {
    let nothing = (Needs::default(), Priority::LOWEST, vec![]);
    for middle in [
        "'context': {'placement': {}}",
        "'context': {'placement': None, 'resource_spec': None}",
        "'context': {'placement': {}, 'resource_spec': {'cores': 4}}",
        "'context': {'resource_spec': {'num_nodes': 2, 'launcher_options': '-x'}}",
        "'context': {'cores': 4}, 'memory': 5",
        "'context': 5, 'resource_spec': 5",
        "'context': {'placement': {b'cores': 4, 4: 'cores', ('cores',): 4, 'Cores': 4}}",
        "'context': {'placement': {'cores': None, 'memory': None, 'running_time_min': None, \
          'manager_affinity': None, 'task_type': None, 'routing': None, 'node': None}}",
        "'context': {'placement': {'cores': 0, 'memory': 0.0, 'running_time_min': -0.0}}",
        "'context': {'placement': {'node': {}}}",
        "'context': {'placement': {'node': {'hostname': [], 'block_id': (), 'cpu_count': 0, \
          'total_memory': None, 'x': 1}}}",
        // A routing without a task type.
        "'context': {'placement': {'routing': 'hard'}}",
    ] {
        for protocol in 2..=5 {
            let found = read(protocol, middle, &mut UnreadWords::default());
            assert_eq!(found, nothing, "{middle}");
        }
    }
}

#[test]
fn numbers_of_every_type() {
    for (number, expected) in [
        ("8", 8.0),
        ("8.0", 8.0),
        ("0.25", 0.25),
        ("2**70", 2f64.powi(70)),
        ("10**400", f64::MAX),
        ("5e-324", 5e-324),
        ("decimal.Decimal('1.5')", 1.5),
        ("fractions.Fraction(3, 2)", 1.5),
        ("users.Number(12)", 12.0),
        ("users.Level.HIGH", 7.0),
        ("numpy.of('i8', '<q', 16)", 16.0),
        ("numpy.of('u1', '<B', 200)", 200.0),
        ("numpy.of('f4', '<f', 0.5)", 0.5),
        ("numpy.of('f2', '<e', 0.5)", 0.5),
    ] {
        for protocol in 2..=5 {
            let words = format!(
                "{{'cores': {number}, 'memory': {number}, 'running_time_min': {number}, \
                  'node': {{'cpu_count': {number}, 'total_memory': {number}}}}}"
            );
            let found = needs(protocol, &words);
            let node = NodeNeeds {
                cpu_count: amount(expected),
                total_memory_mb: amount(expected),
                ..NodeNeeds::default()
            };
            let expected = Needs {
                cores: amount(expected),
                memory_mb: amount(expected),
                running_time_s: amount(expected),
                node: Some(Box::new(node)),
                ..Needs::default()
            };
            assert_eq!(found, expected, "{protocol}: {number}");
        }
    }
}

#[test]
fn texts_of_every_type() {
    for text in [
        "'gpu'",
        "users.Name('gpu')",
        "users.Kind.GPU",
        "numpy.of('U5', '<20s', 'gpu'.encode('utf-32-le'))",
    ] {
        for protocol in 2..=5 {
            let found = needs(
                protocol,
                &format!(
                    "{{'task_type': {text}, 'node': {{'hostname': {text}, 'block_id': ({text},)}}}}"
                ),
            );
            assert_eq!(found.task_type.as_deref(), Some("gpu"), "{text}");
            let node = found.node.expect("asked for");
            assert_eq!(node.hostname, texts(&["gpu"]), "{text}");
            assert_eq!(node.block_id, texts(&["gpu"]), "{text}");
        }
    }
    assert_eq!(needs(4, "{'task_type': ''}").task_type.as_deref(), Some(""));
    assert_eq!(
        needs(4, "{'task_type': 'é'}").task_type.as_deref(),
        Some("é")
    );
    for (routing, expected) in [
        ("'soft'", Routing::Soft),
        ("users.Name('hard')", Routing::Hard),
    ] {
        let found = needs(4, &format!("{{'task_type': 'a', 'routing': {routing}}}"));
        assert_eq!(found.routing, Some(expected));
    }
}

#[test]
fn patterns_are_the_same_in_any_order() {
    for patterns in ["['b*', 'a', 'b*']", "('a', 'b*')", "['b*', 'a']"] {
        for protocol in 2..=5 {
            let words = format!("{{'node': {{'hostname': {patterns}, 'block_id': '0'}}}}");
            let node = needs(protocol, &words).node.expect("asked for");
            assert_eq!(node.hostname, texts(&["a", "b*"]));
            assert_eq!(node.block_id, texts(&["0"]));
        }
    }
}

/// Keys with unreadable values.
const UNREADABLE: [(&str, &[&str]); 11] = [
    ("cores", NO_AMOUNTS),
    ("memory", NO_AMOUNTS),
    ("running_time_min", NO_AMOUNTS),
    (
        "manager_affinity",
        &[
            "float('nan')",
            "decimal.Decimal('NaN')",
            "decimal.Decimal('1E+99999999')",
            "[1]",
            "{}",
            "{1}",
            "frozenset([1])",
            "bytearray(b'x')",
            "1j",
            "users.Odd",
            "users.Odd(1, 2)",
            "datetime.date(2026, 1, 1)",
            "'x' * 1025",
            "b'x' * 1025",
            "2**9000",
            "-2**9000 - 1",
            "tuple(range(1000))",
            "(1, [2])",
            "(float('nan'),)",
            "eval('(' * 9 + '1' + ',)' * 9)",
        ],
    ),
    ("task_type", NO_TEXTS),
    (
        "routing",
        &[
            "'Hard'", "''", "'strict'", "True", "1", "b'hard'", "['hard']",
        ],
    ),
    (
        "node",
        &[
            "1",
            "'gpu*'",
            "['gpu*']",
            "True",
            "collections.OrderedDict(cpu_count=1)",
        ],
    ),
    ("hostname", NO_PATTERNS),
    ("block_id", NO_PATTERNS),
    ("cpu_count", NO_AMOUNTS),
    ("total_memory", NO_AMOUNTS),
];

const NO_AMOUNTS: &[&str] = &[
    "True",
    "False",
    "-1",
    "-0.5",
    "-2**70",
    "float('nan')",
    "float('inf')",
    "float('-inf')",
    "'8'",
    "b'8'",
    "[8]",
    "(8,)",
    "{}",
    "8j",
    "users.Odd(1, 2)",
    "users.Odd",
    "decimal.Decimal('NaN')",
    "decimal.Decimal('-1')",
    "fractions.Fraction(-1, 3)",
    "numpy.of('b1', '<?', True)",
    "numpy.of('f8', '<d', float('nan'))",
    "numpy.of('i8', '<q', -1)",
];

const NO_TEXTS: &[&str] = &[
    "1",
    "True",
    "1.5",
    "b'a'",
    "{}",
    "('a', 1)",
    "'x' * 1025",
    "'é' * 513",
    "'\\ud800'",
    "users.Odd('a', 'b')",
    "decimal.Decimal('1')",
    "numpy.of('S3', '<3s', b'abc')",
    "numpy.of('U1', '<4s', b'\\xff\\xff\\xff\\xff')",
];

const NO_PATTERNS: &[&str] = &[
    "1",
    "b'a'",
    "{'a'}",
    "{'a': 1}",
    "['a', 1]",
    "['a', ['b']]",
    "('a', None)",
    "['a'] * 65",
    "['a', 'x' * 1025]",
    "'x' * 1025",
];

#[test]
fn unreadable_values_are_logged_once_and_count_as_absent() {
    for protocol in 2..=5 {
        let mut of_all = UnreadWords::default();
        for (word, values) in UNREADABLE {
            for (number, value) in values.iter().enumerate() {
                let words = match word {
                    "hostname" | "block_id" | "cpu_count" | "total_memory" => {
                        format!("'node': {{'{word}': {value}}}")
                    }
                    _ => format!("'{word}': {value}"),
                };
                let beside = match word {
                    "cores" => "'memory': 1",
                    _ => "'cores': 1",
                };
                let middle = format!("'context': {{'placement': {{{words}, {beside}}}}}");
                let expected = needs(protocol, &format!("{{{beside}}}"));
                let (found, _, lines) = read(protocol, &middle, &mut UnreadWords::default());
                assert_eq!(found, expected, "{middle}");
                let [line] = &lines[..] else {
                    panic!("{middle}: {lines:?}");
                };
                assert!(line.contains(&format!("'{word}' of task 7")), "{line}");
                // Of many tasks with this mistake, only the first is logged.
                let (_, _, lines) = read(protocol, &middle, &mut of_all);
                assert_eq!(lines.len(), usize::from(number == 0), "{middle}: {lines:?}");
            }
        }
    }
}

#[test]
fn a_placement_that_is_no_dict_is_logged_and_ignored() {
    let middle = "'context': {'placement': 5, 'resource_spec': {'cores': 2}}";
    let (found, _, lines) = read(4, middle, &mut UnreadWords::default());
    assert_eq!(found.cores, amount(2.0));
    assert_eq!(
        lines,
        ["Ignoring the 'placement' of task 7: its type is int; not reported for later tasks"]
    );
}

#[test]
fn the_largest_accepted_values() {
    let longest = "x".repeat(1024);
    let found = needs(
        4,
        "{'task_type': 'x' * 1024, 'manager_affinity': 'x' * 1024, \
          'node': {'hostname': ['x' * 1024] + [str(i) for i in range(63)]}}",
    );
    assert_eq!(found.task_type.as_deref(), Some(&*longest));
    assert_eq!(found.node.expect("asked for").hostname.len(), 64);
    assert!(found.affinity.is_some());
    for value in [
        "b'x' * 1024",
        "2**8000 - 1",
        "-2**8000",
        "eval('(' * 8 + '1' + ',)' * 8)",
    ] {
        affinity(4, value);
    }
}

/// Tuples that contain the same tuple twice, many levels deep. They are too large for an affinity.
#[test]
fn tuples_that_double_each_time() {
    let mut bytes =
        b"\x80\x04}(\x8c\x07task_idK\x07\x8c\x09placement}\x8c\x10manager_affinity)".to_vec();
    for level in 0..7 {
        bytes.extend([b'q', level, b'h', level, 0x86]);
    }
    let end = b"s\x8c\x06bufferC\x00u.";
    let task = |bytes: &[u8]| {
        let frame = [bytes, end].concat();
        Task::parse(frame, Stay::Long, &mut UnreadWords::default()).expect("a task")
    };
    assert!(task(&bytes).needs.is_some());
    for level in 7..250 {
        bytes.extend([b'q', level, b'h', level, 0x86]);
    }
    assert!(task(&bytes).needs.is_none());
}

/// Compares all pairs of values with Python's own `==`.
#[test]
fn affinities_are_equal_if_python_calls_them_equal() {
    const VALUES: &str = "\
        [0, False, 0.0, -0.0, 1, True, 1.0, -1, -1.0, users.Number(1), 2, 3, 5, 10, 10.0, 255, \
        256, 0.1, 0.5, 2.5, 1e300, int(1e300), 5e-324, 2.0**53, 2**53, 2**53 + 1, 2**63, \
        2.0**63, -2**63, -2.0**63, 2**64, 2**64 + 1, 2**100, 2.0**100, -2**100, 10**30, 1e30, \
        10**300, float('inf'), float('-inf'), decimal.Decimal('Infinity'), \
        decimal.Decimal('-Infinity'), decimal.Decimal(1), decimal.Decimal('1.000'), \
        decimal.Decimal('0.1'), decimal.Decimal(0.1), decimal.Decimal('2.5'), \
        decimal.Decimal('1E+30'), decimal.Decimal('-0'), decimal.Decimal('1E-7'), \
        decimal.Decimal('1E+1000'), 10**1000, decimal.Decimal('1E-1000'), \
        decimal.Decimal('10'), fractions.Fraction(1), fractions.Fraction(1, 10), \
        fractions.Fraction(1, 3), fractions.Fraction(-1, 3), fractions.Fraction(5, 2), \
        fractions.Fraction(5, 3), fractions.Fraction(10**40, 3), fractions.Fraction(0.1), \
        fractions.Fraction(1, 10**7), '', 'a', 'b', 'ab', '1', 'é', '\\ud800', \
        users.Name('a'), users.Kind.GPU, 'gpu', b'', b'a', b'ab', b'1', b'\\xe9', b'\\0', (), \
        (1,), (1.0,), (True,), ((1,),), ((),), (1, 2), (2, 1), ('a', 'b'), ('ab',), ('a', \
        ('b',)), (('a',), 'b'), (None,), ('',), (b'',), ((), ()), (1, (2, (3, (b'x', 'y', \
        None)))), (fractions.Fraction(1), (2.0, (3, (b'x', 'y', None))))]";
    for protocol in 2..=5 {
        let values = python::pickle(protocol, VALUES);
        let count: usize = python::load(&values, "len(x)").parse().unwrap();
        let ours: Vec<_> = (0..count)
            .map(|place| affinity(protocol, &format!("{VALUES}[{place}]")))
            .collect();
        let equal = |a: &Affinity| ours.iter().map(|b| u8::from(a == b)).collect::<Vec<_>>();
        let ours: Vec<_> = ours.iter().map(equal).collect();
        let theirs = "[[int(a == b) for b in x] for a in x]";
        assert_eq!(format!("{ours:?}"), python::load(&values, theirs));
    }
}

#[test]
fn affinities_of_numpy_are_those_of_python() {
    for (numpy, plain) in [
        ("numpy.of('i8', '<q', 1)", "1"),
        ("numpy.of('i1', '<b', -1)", "-1"),
        ("numpy.of('u8', '<Q', 2**64 - 1)", "2**64 - 1"),
        ("numpy.of('f4', '<f', 0.5)", "0.5"),
        ("numpy.of('b1', '<?', True)", "True"),
        ("numpy.of('U3', '<12s', 'é'.encode('utf-32-le'))", "'é'"),
        ("numpy.of('S3', '<3s', b'ab')", "b'ab'"),
        ("(numpy.of('i8', '<q', 1), 'x')", "(1, 'x')"),
    ] {
        for protocol in 2..=5 {
            assert_eq!(
                affinity(protocol, numpy),
                affinity(protocol, plain),
                "{numpy}"
            );
        }
    }
}

#[test]
fn needs_are_shown_in_a_line() {
    for (words, shown) in [
        ("{'cores': 1}", "1 core"),
        (
            "{'cores': 8, 'memory': 4000, 'running_time_min': 60, 'manager_affinity': 'x', \
              'task_type': 'a', 'routing': 'hard', 'node': {'hostname': 'gpu*'}}",
            "8 cores, 4000 MB, 60 s left, affinity \"x\", type \"a\" (hard), host gpu*",
        ),
        (
            "{'cores': 1.5, 'memory': 10**400, 'running_time_min': 1e-9}",
            "1.5 cores, 1.7976931348623157e308 MB, 1e-9 s left",
        ),
        ("{'task_type': 'a'}", "type \"a\""),
        (
            "{'task_type': 'a\\n\\x1b\"', 'routing': 'soft'}",
            "type \"a\\n\\u{1b}\\\"\" (soft)",
        ),
        (
            "{'node': {'hostname': ['d', 'c', 'b', 'a', 'a\\r'], 'block_id': '1', \
              'cpu_count': 64, 'total_memory': 256000}}",
            "host a or a\\r or b or 2 more, block 1, node of 64 cores, node of 256000 MB",
        ),
    ] {
        assert_eq!(needs(4, words).to_string(), shown);
    }
    let long = needs(
        4,
        "{'task_type': 'x' * 999, 'node': {'block_id': 'é' * 41}}",
    );
    let (x, e) = ("x".repeat(40), "é".repeat(40));
    assert_eq!(long.to_string(), format!("type \"{x}…\", block {e}…"));
}

#[test]
fn affinities_are_shown_as_python_writes_them() {
    for (value, shown) in [
        ("1", "1"),
        ("True", "1"),
        ("-20", "-20"),
        ("10**20", "100000000000000000000"),
        ("2**127", "170141183460469231731687303715884105728"),
        ("2**128", "3.402823669209385e38"),
        ("-2**8000", "-2**8000"),
        ("0.1", "0.1"),
        ("-2.5", "-2.5"),
        ("1e300", "1e300"),
        ("5e-324", "5e-324"),
        ("float('-inf')", "-inf"),
        ("decimal.Decimal('0.1')", "0.1"),
        ("fractions.Fraction(-1, 4)", "-0.25"),
        ("'a\\n\"é'", "\"a\\n\\\"é\""),
        ("b'\\0a'", "b\"\\x00a\""),
        ("()", "()"),
        ("(1, ('a', (), None))", "(1, (\"a\", (), None))"),
        ("'x' * 99", &format!("\"{}…", "x".repeat(39))),
    ] {
        assert_eq!(affinity(4, value).to_string(), shown, "{value}");
    }
    assert_eq!(Affinity::new(b"\x1bany").to_string(), "\\x1bany");
    assert_eq!(Affinity::new(&[b'('; 999]).to_string().chars().count(), 41);
}
