//! What Python could not format.

/// Widest field, in characters, and highest precision.
pub(super) const MAX_WIDTH: usize = 1_000;

/// Why a format string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// Python's own check refuses such a format too.
    #[error("no field, such as %(message)s, in it")]
    NoField,
    /// Python fails at each line with a KeyError.
    #[error("log records have no field {0:?}")]
    UnknownField(String),
    /// `%s` (Python prints the whole record) or a width of `*` (it fails at each line).
    #[error("the conversion at byte {0} takes a value that has no name")]
    NoName(usize),
    /// Python fails at each line.
    #[error("the conversion that begins at byte {0} is incomplete")]
    Incomplete(usize),
    /// Python fails at each line.
    #[error("no such conversion: %({field}){conversion}")]
    UnknownConversion {
        /// The field's name.
        field: String,
        /// What stands where one of `diouxXeEfFgGcrsa` should.
        conversion: char,
    },
    /// Python fails at each line with a TypeError.
    #[error("the value of {field} does not fit %{conversion}")]
    WrongType {
        /// The field's name.
        field: String,
        /// The conversion.
        conversion: char,
    },
    /// Nobody means it, and each line would be that long.
    #[error("a width or precision above {max}", max = MAX_WIDTH)]
    TooWide,
}
