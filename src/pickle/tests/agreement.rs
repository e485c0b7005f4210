//! Compares the reader of flat dicts with the tree.

use pickle::{Flat, FlatDict, FlatValue, Tree, View, scan};

/// Returns whether the pickle was read as a flat dict, or an error if the tree disagrees.
pub(crate) fn agrees(bytes: &[u8]) -> Result<bool, String> {
    let Some(flat) = Flat::read(bytes) else {
        return Ok(false);
    };
    let program = scan(bytes).map_err(|error| format!("flat, but {error}"))?;
    let tree = Tree::read(bytes).map_err(|error| format!("flat, but {error}"))?;
    same(tree.root(), 8, &|key| flat.get(key), &flat)?;
    match flat.into_program() == program {
        true => Ok(true),
        false => Err(format!("another program than {program:?}")),
    }
}

fn same<'a>(
    dict: View<'_, 'a>,
    depth: u8,
    get: &dyn Fn(&str) -> Option<FlatValue<'a>>,
    flat: &Flat<'a>,
) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(()); // a dict that contains itself
    };
    if get("no such key").is_some() {
        return Err("a key out of nothing".to_owned());
    }
    for (key, _) in dict.entries().ok_or("no dict")? {
        let key = key.as_str().ok_or("a key that is no str")?;
        let theirs = dict.get(key).ok_or("a key that is not found")?;
        let ours = get(key).ok_or_else(|| format!("{key} is missing"))?;
        let agree = match ours {
            FlatValue::None => theirs.is_none(),
            FlatValue::Bool(value) => theirs.as_bool() == Some(value),
            FlatValue::Int(value) => theirs.as_i64() == Some(value),
            FlatValue::Float(value) => theirs.as_f64().map(f64::to_bits) == Some(value.to_bits()),
            FlatValue::Ascii(text) => theirs.as_str().map(str::as_bytes) == Some(text),
            FlatValue::Bytes(bytes) => theirs.as_bytes() == Some(bytes),
            FlatValue::Dict(inner) => {
                same(theirs, depth, &|key| entry(flat, inner, key), flat)?;
                true
            }
        };
        if !agree {
            return Err(format!("{key}: {ours:?}, but a {}", theirs.kind_name()));
        }
    }
    Ok(())
}

fn entry<'a>(flat: &Flat<'a>, dict: FlatDict, key: &str) -> Option<FlatValue<'a>> {
    flat.entry_of(dict, key)
}
