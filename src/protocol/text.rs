//! Reads texts and bytes in a pickle, whatever their type.

use std::borrow::Cow;

use pickle::{Instance, View};

/// Maximum depth of wrappers that are followed, such as an enum of a text.
const WRAPPERS_MAX: u8 = 4;

/// Reads a str, a numpy str, or an instance of a user's str class (such as an enum member). The
/// result is UTF-8, with lone surrogates encoded as by Python's "surrogatepass".
pub(crate) fn read_text<'t>(view: View<'t, '_>) -> Option<Cow<'t, [u8]>> {
    let mut view = view;
    for _ in 0..=WRAPPERS_MAX {
        if let Some(text) = view.as_wtf8() {
            return Some(text.into());
        }
        let instance = view.instance()?;
        if let Some((code, bytes)) = numpy_scalar(&instance) {
            return match is_of_kind(code, 'U') {
                true => of_utf_32(&bytes),
                false => None,
            };
        }
        // Classes of these modules are called with a text too, but their instances are not texts.
        let (module, _) = instance.callable.class_name()?;
        if matches!(module, "decimal" | "fractions" | "pathlib" | "uuid") {
            return None;
        }
        let mut arguments = instance.arguments.items()?;
        view = match (arguments.next(), arguments.next()) {
            (Some(value), None) => value,
            _ => return None,
        };
    }
    None
}

/// Reads bytes or numpy bytes.
pub(crate) fn read_bytes<'t>(view: View<'t, '_>) -> Option<Cow<'t, [u8]>> {
    if let Some((code, bytes)) = view.instance().as_ref().and_then(numpy_scalar) {
        // A numpy scalar is padded with zeros to the width of its array, and its own length is not
        // recorded.
        let last = bytes.iter().rposition(|byte| *byte != 0);
        let len = last.map_or(0, |last| last + 1);
        return is_of_kind(code, 'S').then(|| bytes[..len].to_vec().into());
    }
    plain_bytes(view)
}

/// Reads bytes. Protocols below 3 write them as a call.
fn plain_bytes<'t>(view: View<'t, '_>) -> Option<Cow<'t, [u8]>> {
    if let Some(bytes) = view.as_bytes() {
        return Some(bytes.into());
    }
    let call = view.instance()?;
    let mut arguments = call.arguments.items()?;
    match call.callable.class_name()? {
        ("_codecs", "encode") => {
            let (text, encoding) = (arguments.next()?, arguments.next()?);
            let characters = text.as_str()?.chars();
            let bytes: Option<Vec<u8>> = characters.map(|c| u8::try_from(c).ok()).collect();
            bytes
                .filter(|_| encoding.as_str() == Some("latin1"))
                .map(Cow::Owned)
        }
        ("__builtin__" | "builtins", "bytes") => {
            let is_empty = arguments.next().is_none();
            is_empty.then_some(Cow::Borrowed(&[]))
        }
        _ => None,
    }
}

/// Reads a numpy scalar: the code of its type (a kind and a width), and its bytes.
pub(crate) fn numpy_scalar<'t>(instance: &Instance<'t, '_>) -> Option<(&'t str, Cow<'t, [u8]>)> {
    let ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") =
        instance.callable.class_name()?
    else {
        return None;
    };
    let mut arguments = instance.arguments.items()?;
    let (dtype, bytes) = (arguments.next()?, arguments.next()?);
    let code = dtype.instance()?.arguments.items()?.next()?.as_str()?;
    Some((code, plain_bytes(bytes)?))
}

fn is_of_kind(code: &str, kind: char) -> bool {
    let code = code.trim_start_matches(['<', '=', '|']);
    code.starts_with(kind)
}

/// Converts a numpy str. The text is padded with zeros to the width of its array, and its own
/// length is not recorded.
fn of_utf_32<'t>(bytes: &[u8]) -> Option<Cow<'t, [u8]>> {
    let (codes, []) = bytes.as_chunks() else {
        return None;
    };
    let characters = codes
        .iter()
        .map(|code| char::from_u32(u32::from_le_bytes(*code)));
    let text: String = characters.collect::<Option<_>>()?;
    let text = text.trim_end_matches('\0');
    Some(Cow::Owned(text.as_bytes().to_vec()))
}
