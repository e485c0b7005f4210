//! The reasons why Python could not format with a format string.

/// Largest field width, in characters, and largest precision.
pub(super) const MAX_WIDTH: usize = 1_000;

/// Why a format string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// The format has no field; Python's own check refuses it too.
    #[error("it contains no field such as %(message)s")]
    NoField,
    /// `LogRecord` has no such attribute; Python would fail at each line with a KeyError.
    #[error("log records have no field {0:?}")]
    UnknownField(String),
    /// The conversion has no name, as in `%s` (Python would print the whole record), or its width
    /// is `*` (Python would fail at each line).
    #[error("the conversion at byte {0} names no field")]
    NoName(usize),
    /// The format ends inside a conversion; Python would fail at each line.
    #[error("the conversion that begins at byte {0} is incomplete")]
    Incomplete(usize),
    /// The conversion character does not exist; Python would fail at each line.
    #[error("no such conversion: %({field}){conversion}")]
    UnknownConversion {
        /// The field's name.
        field: String,
        /// The character found in place of one of `diouxXeEfFgGcrsa`.
        conversion: char,
    },
    /// The field's type does not fit the conversion; Python would fail at each line with a
    /// TypeError.
    #[error("the value of {field} does not fit %{conversion}")]
    WrongType {
        /// The field's name.
        field: String,
        /// The conversion character.
        conversion: char,
    },
    /// The width or precision is above the limit. It cannot be intended, and each line would be
    /// that long.
    #[error("a width or precision above {max}", max = MAX_WIDTH)]
    TooWide,
}
