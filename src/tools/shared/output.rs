//! Output of tools: a whole text at once, or the one line with which a tool fails.

use std::error::Error;
use std::io::{self, Write as _};

use super::charset::Charset;

/// Exit status, as clap's, if an argument names something that does not exist.
pub(crate) const WRONG_ARGUMENTS: u8 = 2;

/// An error that ends a tool early. Its text is all that the user sees.
pub(crate) type Trouble = Box<dyn Error>;

/// Writes a text for people to standard output at once, in characters that their terminal can show.
///
/// # Errors
/// The system's. One of them is a closed pipe, after a reader such as `head` has ended.
pub(crate) fn say(text: impl AsRef<str>) -> io::Result<()> {
    say_as_it_is(Charset::of_reader().text(text.as_ref()))
}

/// Writes bytes for programs to standard output at once, unchanged: JSON, a script, a manual page.
///
/// # Errors
/// As for [`say`].
pub(crate) fn say_as_it_is(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// Writes a text for people to standard error. Ignores errors.
pub(crate) fn complain(text: impl AsRef<str>) {
    let text = Charset::of_reader().text(text.as_ref());
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Returns the message of an error in the arguments, without the usage.
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
