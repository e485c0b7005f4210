//! Finds the names in a task that a manager may not be able to import.
//!
//! A manager loads a whole batch at once, on the thread that receives, replies and sends
//! heartbeats. A name that it cannot import ends that thread, and all tasks of the batch are lost.
//! Messages that Parsl itself writes contain no names. Applications add plain data of the standard
//! library.
//!
//! The plain classes are listed here one by one, not by module. Each such name is the same in every
//! Python that Parsl runs on, and its objects need nothing but their value. Any other name is
//! foreign: a user's class, a class of `__main__`, a class of a package whose version may differ
//! (numpy's numbers), of one Python release only (`pathlib._local`), or one that needs something of
//! the host (`zoneinfo`: its files).
//!
//! Functions are foreign too, even those that exist everywhere, such as `os.path.join`. A list of
//! them would never be complete, tasks rarely contain one, and the only cost is that the task
//! travels in a batch of its own.

use std::cell::LazyCell;

use pickle::{Arg, Instructions, Program, Tree, op};

/// Maximum number of characters of a name that are shown.
const SHOWN_CHARACTERS: usize = 80;

/// The first protocol in which the module names of Python 2 no longer resolve.
const PROTOCOL_OF_PYTHON_3: i64 = 3;

/// Returns the first foreign name that a task looks up, in the form for a log line.
pub(crate) fn foreign_name(program: &Program, bytes: &[u8], tree: &Tree<'_>) -> Option<Box<str>> {
    if !program.looks_up_names() {
        return None;
    }
    // A task may have many names. The pickle is read at most once for all of them.
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
        None => "a class whose name is not text".to_owned(),
    };
    Some(shown.into())
}

/// Returns a text in place of the name for a task that has too many objects to be searched.
pub(crate) fn unseen_name(program: &Program) -> Option<Box<str>> {
    let looks_up = program.looks_up_names();
    looks_up.then(|| "an unknown name (too many objects to search)".into())
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

/// Whether the name is plain data under the module name that Python 3 writes for Python 2.
fn is_plain_data_of_python_2(module: &str, name: &str) -> bool {
    match module {
        "__builtin__" => {
            matches!(name, "long" | "unicode" | "xrange") || is_plain_data("builtins", name)
        }
        "copy_reg" => is_plain_data("copyreg", name),
        _ => false,
    }
}

/// Whether the loader resolves all names in a pickle as those of Python 2, up to its end.
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
