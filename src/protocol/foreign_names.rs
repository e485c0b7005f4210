//! Which names in a task a manager may not be able to import.
//!
//! A manager loads a whole batch at once, on the thread that receives, answers and sends its
//! heartbeats. A name that it cannot import ends that thread, and with it everything in the batch.
//! What Parsl itself writes names nothing; applications put plain data of the standard library
//! beside it. These kinds of data are named here one by one, and not by module: they are in every
//! Python that Parsl runs on, and made by nothing but their value. Any other name is foreign: it
//! may be a class of the user's, of `__main__`, of a package of other versions (numpy's numbers),
//! or of another Python (`pathlib._local`).

use pickle::{Program, Tree, View};

/// More of a name is not shown.
const SHOWN_CHARACTERS: usize = 80;

/// The first foreign name that a task looks up, as a log line shows it.
pub(crate) fn foreign_name(program: &Program, tree: &Tree<'_>) -> Option<Box<str>> {
    if !program.looks_up_names() {
        return None;
    }
    let foreign = tree.globals().find(|global| !is_known(*global))?;
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

fn is_known(global: View<'_, '_>) -> bool {
    global
        .class_name()
        .is_some_and(|(module, name)| is_plain_data(module, name))
}

/// By the names of Python 2 as well, which pickles below protocol 3 use.
fn is_plain_data(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => matches!(
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
                | "long"
                | "object"
                | "range"
                | "set"
                | "slice"
                | "str"
                | "tuple"
                | "unicode"
                | "xrange"
        ),
        "_codecs" => name == "encode",
        "collections" => matches!(name, "Counter" | "OrderedDict" | "defaultdict" | "deque"),
        "copyreg" | "copy_reg" => {
            matches!(name, "_reconstructor" | "__newobj__" | "__newobj_ex__")
        }
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
