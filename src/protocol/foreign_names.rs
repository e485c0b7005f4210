//! Which names in a task a manager may not be able to import.
//!
//! A manager loads a whole batch at once, on the thread that receives, answers and sends its
//! heartbeats. A name that it cannot import ends that thread, and with it everything in the batch.
//! What Parsl itself writes names nothing; applications put plain data of the standard library
//! beside it. Its kinds are named here one by one, and not by module. Such a name is the same in
//! every Python that Parsl runs on, and what it makes needs nothing but its value. Any other name
//! is foreign: a class of the user's, of `__main__`, of a package of other versions (numpy's
//! numbers), of one Python only (`pathlib._local`), or what wants something of the host
//! (`zoneinfo`: its files). So are functions, `os.path.join` too, although they are everywhere: a
//! list of them has no end, hardly anybody puts one beside a task, and it costs no more than a
//! batch.

use std::cell::LazyCell;

use pickle::{Arg, Instructions, Program, Tree, op};

/// More of a name is not shown.
const SHOWN_CHARACTERS: usize = 80;

/// From this protocol on the names of Python 2 are those of no module.
const PROTOCOL_OF_PYTHON_3: i64 = 3;

/// The first foreign name that a task looks up, as a log line shows it.
pub(crate) fn foreign_name(program: &Program, bytes: &[u8], tree: &Tree<'_>) -> Option<Box<str>> {
    if !program.looks_up_names() {
        return None;
    }
    // A task may have many names, and is read through once for all of them.
    let is_of_python_2 = LazyCell::new(|| are_names_of_python_2(bytes));
    let is_known = |(module, name)| {
        is_plain_data(module, name) || is_plain_data_of_python_2(module, name) && *is_of_python_2
    };
    let foreign = tree
        .globals()
        .find(|global| !global.class_name().is_some_and(is_known))?;
    let shown = match foreign.class_name() {
        Some((module, name)) => {
            let whole = format!("{module}.{name}");
            let shown = whole.chars().take(SHOWN_CHARACTERS);
            shown.flat_map(char::escape_debug).collect()
        }
        None => "a class by no proper text".to_owned(),
    };
    Some(shown.into())
}

/// The same of a task of too many objects to be looked through.
pub(crate) fn unseen_name(program: &Program) -> Option<Box<str>> {
    let looks_up = program.looks_up_names();
    looks_up.then(|| "something among too many objects to be looked through".into())
}

fn is_plain_data(module: &str, name: &str) -> bool {
    match module {
        "builtins" => matches!(
            name,
            "Ellipsis"
                | "NotImplemented"
                | "bool"
                | "bytearray"
                | "bytes"
                | "complex"
                | "dict"
                | "float"
                | "frozenset"
                | "int"
                | "list"
                | "object"
                | "range"
                | "set"
                | "slice"
                | "str"
                | "tuple"
        ),
        "_codecs" => name == "encode",
        "collections" => matches!(name, "Counter" | "OrderedDict" | "defaultdict" | "deque"),
        "copyreg" => matches!(name, "_reconstructor" | "__newobj__" | "__newobj_ex__"),
        "datetime" => matches!(
            name,
            "date" | "datetime" | "time" | "timedelta" | "timezone"
        ),
        "decimal" => name == "Decimal",
        "fractions" => name == "Fraction",
        "pathlib" => matches!(name, "PosixPath" | "PurePosixPath" | "PureWindowsPath"),
        "uuid" => matches!(name, "SafeUUID" | "UUID"),
        _ => false,
    }
}

/// The same things by the names that Python 3 writes for Python 2.
fn is_plain_data_of_python_2(module: &str, name: &str) -> bool {
    match module {
        "__builtin__" => {
            matches!(name, "long" | "unicode" | "xrange") || is_plain_data("builtins", name)
        }
        "copy_reg" => is_plain_data("copyreg", name),
        _ => false,
    }
}

/// Whether a loader takes the names in a pickle for those of Python 2, to its very end.
fn are_names_of_python_2(bytes: &[u8]) -> bool {
    let mut instructions = Instructions::new(bytes);
    while let Ok(instruction) = instructions.next() {
        match (instruction.code, instruction.arg) {
            (op::PROTO, Arg::Int(protocol)) if protocol >= PROTOCOL_OF_PYTHON_3 => return false,
            (op::STOP, _) => break,
            _ => {}
        }
    }
    true
}
