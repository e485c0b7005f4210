//! Names of files as Python has them: a byte that is not UTF-8 is a lone surrogate in its str
//! (PEP 383, "surrogateescape"), which stands for that very byte wherever a file is named.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// What the system gets for such a str, in UTF-8 in which surrogates may stand by themselves. None
/// for one with a surrogate that stands for no byte, which Python cannot name a file by either.
pub(super) fn encode(text: &[u8]) -> Option<OsString> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match rest {
            // U+DC80 to U+DCFF are bytes; the others below U+E000 are surrogates of UTF-16.
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
    fn each_byte_beyond_ascii_comes_back() {
        for byte in 0x80..=0xff_u8 {
            // As `chr(0xdc00 + byte).encode("utf-8", "surrogatepass")`.
            let text = [0xed, 0xb0 | (byte >> 6), 0x80 | (byte & 0x3f)];
            assert_eq!(
                encode(&text),
                Some(OsString::from_vec(vec![byte])),
                "{byte}"
            );
        }
    }

    #[test]
    fn what_is_utf_8_stays_as_it_is() {
        // U+D7FF and U+E000 are the neighbours of the surrogates.
        let text = "/scratch/Zoë/\u{d7ff}\u{e000}\u{1F600}/\u{b2}";
        assert_eq!(encode(text.as_bytes()), Some(OsString::from(text)));
    }

    #[test]
    fn a_surrogate_that_is_no_byte_names_nothing() {
        for second in (0xa0..=0xb1).chain(0xb4..=0xbf_u8) {
            assert_eq!(encode(&[b'a', 0xed, second, 0x80]), None, "{second:x}");
        }
        assert_eq!(
            encode(b"/a\xed"),
            Some(OsString::from_vec(b"/a\xed".to_vec()))
        );
    }
}
