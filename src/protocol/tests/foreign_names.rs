//! Tasks that look up names which a manager may not have.

use protocol::{Opaque, Stay, Task, UnreadWords};

use super::python;

fn foreign_name(protocol: u8, context: &str) -> Option<String> {
    let text = format!("{{'task_id': 7, 'context': {context}, 'buffer': b'b'}}");
    let bytes = python::pickle(protocol, &text);
    let task: Task<Opaque<Vec<u8>>> =
        Task::parse(bytes, Stay::Long, &mut UnreadWords::default()).expect("sound");
    assert_eq!(task.id.0, 7);
    task.foreign_name.map(String::from)
}

#[test]
fn names_of_parsl_and_plain_data_are_not_foreign() {
    for context in [
        "{}",
        "{'resource_spec': {'priority': 3}}",
        "{'resource_spec': {'priority': decimal.Decimal('1.5')}}",
        "{'resource_spec': {'priority': fractions.Fraction(1, 3)}}",
        // A task as an endpoint of Globus Compute sends it.
        "{'task_executor': {'f': 'users.no_such_function', 'a': (uuid.UUID(int=7), None), \
          'k': {'run_dir': 'd', 'run_in_sandbox': False}}}",
        "{'p': pathlib.PurePosixPath('/a'), 'd': datetime.datetime(2026, 1, 2, \
          tzinfo=datetime.timezone.utc), 't': datetime.timedelta(1), 'b': bytearray(b'x'), \
          'o': collections.OrderedDict(a=1), 'c': collections.Counter('ab'), \
          'q': collections.deque([1]), 'l': collections.defaultdict(list), 'z': 1j, \
          'r': range(3), 's': slice(1), 'e': Ellipsis, 'F': frozenset([1]), 'S': {1, 2}, \
          'k': (int, str, bytes, b'', b'x')}",
        // A name inside a text or bytes is not looked up.
        "{'x': 'users.Odd', 'y': b'cusers\\nOdd\\n.'}",
    ] {
        for protocol in 0..=5 {
            assert_eq!(
                foreign_name(protocol, context),
                None,
                "{protocol}: {context}"
            );
        }
    }
}

#[test]
fn any_other_name_is_foreign_wherever_it_stands() {
    for (context, name) in [
        ("{'x': users.Odd(1)}", "users.Odd"),
        ("{'x': users.Odd}", "users.Odd"),
        (
            "{'resource_spec': {'priority': users.Urgency.NOW}}",
            "users.Urgency",
        ),
        (
            "{'x': {'y': [uuid.UUID(int=1), (users.Number(5),)]}}",
            "users.Number",
        ),
        ("{users.Number(5): 1}", "users.Number"),
        ("{'x': users.Odd(users.Odd, [1])}", "users.Odd"),
        // A manager may have another version of numpy, or none.
        ("{'x': numpy.of('i8', '<q', 1)}", "numpy"),
        (
            "{'x': pathlib._local.PosixPath('a')}",
            "pathlib._local.PosixPath",
        ),
        ("{'x': __import__('struct').Struct}", "struct.Struct"),
        ("{'x': eval}", "eval"),
        // The name exists everywhere, but is a function and not data.
        ("{'x': __import__('os').path.join}", "posixpath.join"),
        ("{'x': [].append}", "getattr"),
    ] {
        for protocol in 2..=5 {
            let found = foreign_name(protocol, context);
            let found = found.unwrap_or_else(|| panic!("{protocol}: {context}"));
            assert!(found.contains(name), "{protocol}: {context}: {found}");
        }
    }
}

/// Returns a task whose context is the given global, looked up by a pickle of the given protocol.
fn task_that_names(protocol: u8, module: &str, name: &str) -> Vec<u8> {
    let prefix = (protocol > 0).then_some([0x80, protocol]);
    let mut bytes = Vec::from_iter(prefix.into_iter().flatten());
    bytes.extend(b"(dS'task_id'\nI1\nsS'buffer'\nS''\nsS'context'\n");
    bytes.extend(format!("c{module}\n{name}\ns.").bytes());
    bytes
}

fn is_known(protocol: u8, module: &str, name: &str) -> bool {
    let bytes = task_that_names(protocol, module, name);
    let task = Task::parse(bytes, Stay::Short, &mut UnreadWords::default()).expect("sound");
    task.foreign_name.is_none()
}

/// Modules of the standard library, followed by two of Python 2.
const MODULES: &str = "_codecs builtins collections copyreg datetime decimal fractions pathlib \
                       posixpath uuid zoneinfo __builtin__ copy_reg";

/// Returns the names in the existing modules, and further names of Python 2.
fn names_in_modules() -> String {
    let modules = format!("map(__import__, {MODULES:?}.split()[:-2])");
    let names = format!("' '.join({{name for module in {modules} for name in dir(module)}})");
    let found = python::load(b"N.", &names);
    format!("{found} basestring buffer long unichr unicode xrange")
}

#[test]
fn known_names_can_be_imported() {
    let names: Vec<String> = names_in_modules().split(' ').map(String::from).collect();
    let mut known = 0;
    for module in MODULES.split(' ') {
        for (name, protocol) in names
            .iter()
            .flat_map(|name| (0..=5).map(move |p| (name, p)))
        {
            if !is_known(protocol, module, name) {
                continue;
            }
            let bytes = task_that_names(protocol, module, name);
            let found = python::load(&bytes, "callable(x['context']) or x['context']");
            let is_found = ["True", "Ellipsis", "NotImplemented"].contains(&found.as_str());
            assert!(is_found, "{protocol}: {module}.{name}: {found}");
            known += 1;
        }
    }
    // 17 names of builtins and 20 others in each protocol, and 23 of Python 2 below protocol 3.
    assert_eq!(known, 37 * 6 + 23 * 3);
}

/// Includes a Python 2 pickle whose second half a loader reads as Python 3.
#[test]
fn names_of_python_2_are_known_to_its_protocols_alone() {
    for (module, name) in [("__builtin__", "set"), ("copy_reg", "_reconstructor")] {
        let known = [0, 1, 2, 3, 4, 5].map(|protocol| is_known(protocol, module, name));
        assert_eq!(known, [true, true, true, false, false, false], "{name}");
        let mut bytes = task_that_names(2, module, name);
        let place = bytes.len() - format!("c{module}\n{name}\ns.").len();
        bytes.splice(place..place, [0x80, 4]);
        assert!(python::load(&bytes, "x").starts_with("ModuleNotFoundError"));
        let task = Task::parse(bytes, Stay::Short, &mut UnreadWords::default()).expect("sound");
        assert!(task.foreign_name.is_some());
    }
    assert!(!is_known(2, "builtins", "long"));
}

#[test]
fn a_name_is_shown_in_a_line_of_a_log() {
    let global = |module: &str, name: &str| -> String {
        let bytes = [
            &b"\x80\x04}(\x8c\x07task_idK\x01\x8c\x06bufferC\x00\x8c\x01x"[..],
            b"X",
            &(module.len() as u32).to_le_bytes(),
            module.as_bytes(),
            b"X",
            &(name.len() as u32).to_le_bytes(),
            name.as_bytes(),
            b"\x93u.",
        ];
        let task =
            Task::parse(bytes.concat(), Stay::Short, &mut UnreadWords::default()).expect("sound");
        String::from(task.foreign_name.expect("foreign"))
    };
    assert_eq!(global("a\nb", "c\x1b"), "a\\nb.c\\u{1b}");
    assert_eq!(global(&"m".repeat(9999), "c"), "m".repeat(80));
}

/// A task that has too many objects to be searched: any name may be among them.
#[test]
fn a_task_too_large_to_be_searched() {
    let many = "{'x': [None] * 2**19}";
    assert_eq!(foreign_name(4, many), None);
    let many = "{'x': [None] * 2**19, 'y': users.Odd}";
    let found = foreign_name(4, many).expect("a name is looked up");
    assert!(found.contains("too many"), "{found}");
}
