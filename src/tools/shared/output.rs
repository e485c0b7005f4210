//! What a tool hands to its user: a text all at once, or the one line that it ends with.

use std::error::Error;
use std::io::{self, Write as _};

use super::charset::Charset;

/// Exit status where a word on the command line names nothing that is there; as clap's.
pub(crate) const WRONG_ARGUMENTS: u8 = 2;

/// What ends a tool early; its text is all that the user gets to see.
pub(crate) type Trouble = Box<dyn Error>;

/// Writes a text for people to standard output all at once, in characters that they can see.
///
/// # Errors
/// The system's; a reader that has seen enough, as `head` has, is one.
pub(crate) fn say(text: impl AsRef<str>) -> io::Result<()> {
    say_as_it_is(Charset::of_reader().text(text.as_ref()))
}

/// The same for what programs read: JSON, a script, a page that `man` sets.
///
/// # Errors
/// As for [`say`].
pub(crate) fn say_as_it_is(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// Writes a text for people to standard error; who cannot be told is not.
pub(crate) fn complain(text: impl AsRef<str>) {
    let text = Charset::of_reader().text(text.as_ref());
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What is wrong with arguments, without the usage behind it.
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
