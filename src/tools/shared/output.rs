//! What a tool hands to its user: a text all at once, or the one line that it ends with.

use std::error::Error;
use std::io::{self, Write as _};

/// What ends a tool early; its text is all that the user gets to see.
pub(crate) type Trouble = Box<dyn Error>;

/// Writes to standard output all at once.
///
/// # Errors
/// The system's; a reader that has seen enough, as `head` has, is one.
pub(crate) fn say(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// What is wrong with arguments, without the usage behind it.
pub fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
