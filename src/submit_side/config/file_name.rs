//! File names as Python represents them. A byte that is not UTF-8 is a lone surrogate in the str
//! (PEP 383, "surrogateescape"); wherever the str names a file, the surrogate stands for that byte.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// Converts a file name from Python's str, encoded as UTF-8 with lone surrogates, to the bytes that
/// the system uses. Returns None if a surrogate stands for no byte: Python cannot name such a file
/// either.
pub(super) fn encode(text: &[u8]) -> Option<OsString> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match rest {
            // U+DC80 to U+DCFF stand for bytes; the other code points from U+D800 to U+DFFF do not.
            [0xed, second @ 0xb2..=0xb3, third @ 0x80..=0xbf, after @ ..] => {
                name.push(((second & 0x03) << 6) | (third & 0x3f));
                after
            }
            [0xed, 0xa0..=0xbf, ..] => return None,
            _ => {
                name.push(*first);
                after
            }
        };
    }
    Some(OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_non_ascii_byte_is_restored() {
        for byte in 0x80..=0xff_u8 {
            // The result of Python's `chr(0xdc00 + byte).encode("utf-8", "surrogatepass")`.
            let text = [0xed, 0xb0 | (byte >> 6), 0x80 | (byte & 0x3f)];
            assert_eq!(
                encode(&text),
                Some(OsString::from_vec(vec![byte])),
                "{byte}"
            );
        }
    }

    #[test]
    fn utf_8_names_are_unchanged() {
        // U+D7FF and U+E000 are the code points directly before and after the surrogates.
        let text = "/scratch/Zoë/\u{d7ff}\u{e000}\u{1F600}/\u{b2}";
        assert_eq!(encode(text.as_bytes()), Some(OsString::from(text)));
    }

    #[test]
    fn surrogates_without_a_byte_are_refused() {
        for second in (0xa0..=0xb1).chain(0xb4..=0xbf_u8) {
            assert_eq!(encode(&[b'a', 0xed, second, 0x80]), None, "{second:x}");
        }
        assert_eq!(
            encode(b"/a\xed"),
            Some(OsString::from_vec(b"/a\xed".to_vec()))
        );
    }
}
