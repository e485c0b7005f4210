//! The ZPL files that pyzmq writes, parsed as pyzmq's `load_certificate` parses them.
//!
//! The parser looks at lines, not at sections. It takes each line that begins with `public-key` or
//! `secret-key`, splits it at the first `=` and strips blanks and quotes. A key may contain `=` and
//! `#`, so text behind the value is not a comment. Reading ends when both keys are found; until
//! then a later line replaces an earlier one.

/// The two keys of a file, as unchecked text.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entries<'a> {
    pub(super) public_key: Option<&'a [u8]>,
    pub(super) secret_key: Option<&'a [u8]>,
}

/// A line that names a key and has no `=`; line numbers count from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoEquals {
    pub(super) line: usize,
}

/// Finds the two entries in a file's content.
pub(super) fn entries(content: &[u8]) -> Result<Entries<'_>, NoEquals> {
    let mut found = Entries::default();
    for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = strip(line, b" \t\n\r\x0b\x0c");
        if line.starts_with(b"public-key") {
            found.public_key = Some(value(line, index)?);
        } else if line.starts_with(b"secret-key") {
            found.secret_key = Some(value(line, index)?);
        }
        if is_filled(found.public_key) && is_filled(found.secret_key) {
            break;
        }
    }
    Ok(found)
}

fn value(line: &[u8], index: usize) -> Result<&[u8], NoEquals> {
    match line.iter().position(|&byte| byte == b'=') {
        Some(equals) => Ok(strip(&line[equals + 1..], b" \t'\"")),
        None => Err(NoEquals { line: index + 1 }),
    }
}

fn is_filled(entry: Option<&[u8]>) -> bool {
    entry.is_some_and(|text| !text.is_empty())
}

/// Strips `blanks` from both ends, like Python's `bytes.strip`.
fn strip<'a>(mut text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    while let [first, rest @ ..] = text
        && blanks.contains(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blanks.contains(last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_pyzmq_is_read() {
        let file = "#   ****  Generated on 2026-10-26 12:00:00 by pyzmq  ****\n\
                    #   public-key = \"not this\"\n\nmetadata\n    public = x\ncurve\n    \
                    public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n    \
                    secret-key = \"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\"\n";
        assert_eq!(
            keys(file),
            (
                Some("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"),
                Some("D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs")
            )
        );
    }

    /// Each expectation is the result of pyzmq 27's `load_certificate`.
    #[test]
    fn odd_lines_are_read_as_pyzmq_reads_them() {
        let cases: [(&str, Option<&str>, Option<&str>); 14] = [
            ("", None, None),
            ("public-key = a=b#c=", Some("a=b#c="), None),
            (
                "public-key='a'\r\nsecret-key=\t\"b\" \t\r\n",
                Some("a"),
                Some("b"),
            ),
            ("public-key = \"a\" # said", Some("a\" # said"), None),
            ("public-key = \"'a", Some("a"), None),
            ("  # public-key = a", None, None),
            ("public-keyring = a", Some("a"), None),
            ("Public-Key = a", None, None),
            ("x public-key = a", None, None),
            ("public-key = a\npublic-key = b", Some("b"), None),
            (
                "public-key = a\nsecret-key = s\npublic-key = b",
                Some("a"),
                Some("s"),
            ),
            (
                "public-key = a\nsecret-key = \nsecret-key = t",
                Some("a"),
                Some("t"),
            ),
            ("public-key =", Some(""), None),
            (
                "public-key = a\rsecret-key = s",
                Some("a\rsecret-key = s"),
                None,
            ),
        ];
        for (file, public_key, secret_key) in cases {
            assert_eq!(keys(file), (public_key, secret_key), "{file:?}");
        }
    }

    #[test]
    fn a_key_without_equals_is_an_error_where_pyzmq_sees_it() {
        assert_eq!(
            entries(b"curve\n  public-key \"a\"").err(),
            Some(NoEquals { line: 2 })
        );
        assert!(entries(b"public-key = a\nsecret-key = s\nsecret-key").is_ok());
    }

    fn keys(file: &str) -> (Option<&str>, Option<&str>) {
        let found = entries(file.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {file:?}"));
        let text = |entry: &'static str, bytes| std::str::from_utf8(bytes).expect(entry);
        let public_key = found.public_key.map(|bytes| text("public", bytes));
        (
            public_key,
            found.secret_key.map(|bytes| text("secret", bytes)),
        )
    }
}
