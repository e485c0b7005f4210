//! Reads the textual arguments of protocol 0 as Python reads them: integers, floats, and quoted and
//! escaped strings. Also reads UTF-8 with lone surrogates.
//!
//! The unpicklers in C and in Python accept different lines in a few cases: an embedded NUL, a
//! leading zero, an underscore in a float. A line must be valid for both. No pickler writes lines
//! on which they differ, and refusing such a line is better than giving it two meanings.

use crate::error::Fault;

/// Maximum number of decimal digits that Python's `int()` accepts by default.
const MAX_DECIMAL_DIGITS: usize = 4300;

/// The value of a line of INT or LONG.
pub(crate) enum Integer<'a> {
    /// An int that fits `i64`.
    Small(i64),
    /// An int beyond `i64`.
    Big(BigText<'a>),
}

/// The value of a line of STRING or UNICODE.
pub(crate) enum Str<'a> {
    /// A str that is the line itself.
    Plain(&'a str),
    /// A str with escapes.
    Escaped(Escaped<'a>),
}

/// The digits of an int beyond `i64`, checked to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigText<'a> {
    negative: bool,
    radix: u32,
    /// Digits of the given radix, perhaps with single underscores between them.
    digits: &'a [u8],
}

/// A str with the escapes of STRING or UNICODE, checked to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escaped<'a> {
    /// The text between the quotes of STRING.
    String(&'a [u8]),
    /// A line of UNICODE: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
    RawUnicode(&'a [u8]),
}

/// Reads an int by the grammar of Python's `int(line, 0)`.
pub(crate) fn integer(line: &[u8]) -> Result<Integer<'_>, Fault> {
    let (negative, unsigned) = sign(trim(line));
    let (radix, digits) = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', b'o' | b'O', digits @ ..] => (8, digits),
        [b'0', b'b' | b'B', digits @ ..] => (2, digits),
        digits => (10, digits),
    };
    let digits = match digits {
        [b'_', after @ ..] if radix != 10 => after,
        _ => digits,
    };
    check_digits(digits, radix)?;
    let is_zero = digits.iter().all(|byte| matches!(byte, b'0' | b'_'));
    if radix == 10 && digits.first() == Some(&b'0') && !is_zero {
        return Err(Fault::BadNumber); // Python 3 rejects a leading zero
    }
    Ok(
        match magnitude(digits, radix).and_then(|value| signed(negative, value)) {
            Some(value) => Integer::Small(value),
            None => Integer::Big(BigText {
                negative,
                radix,
                digits,
            }),
        },
    )
}

/// Reads a memo index of GET or PUT, as `int(line)`. An index beyond `u64` is returned as
/// `u64::MAX`.
pub(crate) fn index(line: &[u8]) -> Result<u64, Fault> {
    let (negative, digits) = sign(trim(line));
    check_digits(digits, 10)?;
    match magnitude(digits, 10) {
        Some(value) if negative && value != 0 => Err(Fault::BadNumber),
        Some(value) => Ok(value),
        None if negative => Err(Fault::BadNumber),
        None => Ok(u64::MAX),
    }
}

/// Reads a line of FLOAT. Like the C unpickler, it accepts no blanks and no overflow.
pub(crate) fn float(line: &[u8]) -> Result<f64, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::BadNumber)?;
    let value: f64 = text.parse().map_err(|_| Fault::BadNumber)?;
    if value.is_infinite() && line.iter().any(u8::is_ascii_digit) {
        return Err(Fault::BadNumber);
    }
    Ok(value)
}

/// Reads a line of STRING.
pub(crate) fn string(line: &[u8]) -> Result<Str<'_>, Fault> {
    let ([b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"']) = line else {
        return Err(Fault::BadText);
    };
    if !inside.contains(&b'\\') {
        return match std::str::from_utf8(inside) {
            Ok(text) if text.is_ascii() => Ok(Str::Plain(text)),
            _ => Err(Fault::BadText),
        };
    }
    unescape(inside, |_| ())?;
    Ok(Str::Escaped(Escaped::String(inside)))
}

/// Reads a line of UNICODE.
pub(crate) fn unicode(line: &[u8]) -> Result<Str<'_>, Fault> {
    if !line.contains(&b'\\')
        && line.is_ascii()
        && let Ok(text) = std::str::from_utf8(line)
    {
        return Ok(Str::Plain(text));
    }
    raw_unicode(line, |_| ())?;
    Ok(Str::Escaped(Escaped::RawUnicode(line)))
}

/// Checks UTF-8 that may contain lone surrogates, as Python's "surrogatepass" reads it.
pub(crate) fn check_surrogatepass(mut bytes: &[u8]) -> Result<(), Fault> {
    loop {
        let Err(error) = std::str::from_utf8(bytes) else {
            return Ok(());
        };
        let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
        bytes = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] => after,
            _ => return Err(Fault::BadText),
        };
    }
}

impl Escaped<'_> {
    /// Returns the unescaped str in UTF-8, which may contain lone surrogates.
    #[must_use]
    pub fn decode(self) -> Vec<u8> {
        let mut out = Vec::new();
        let checked = match self {
            Self::String(inside) => unescape(inside, |byte| out.push(byte)),
            Self::RawUnicode(line) => raw_unicode(line, |point| push_point(&mut out, point)),
        };
        debug_assert!(checked.is_ok(), "checked when it was read");
        out
    }
}

impl BigText<'_> {
    /// Returns the int as little-endian two's complement without redundant bytes.
    #[must_use]
    pub fn to_le_bytes(self) -> Vec<u8> {
        let digits = self
            .digits
            .iter()
            .filter_map(|&byte| char::from(byte).to_digit(self.radix));
        let mut bytes = match self.radix {
            10 => from_decimal(digits),
            radix => from_bits(digits.rev(), radix.trailing_zeros()),
        };
        bytes.push(0);
        if self.negative {
            let mut carry = true;
            for byte in &mut bytes {
                (*byte, carry) = (!*byte).overflowing_add(carry.into());
            }
        }
        while let [.., below, top] = bytes.as_slice()
            && *top == sign_byte(*below)
        {
            bytes.pop();
        }
        bytes
    }
}

/// Returns the byte that extends a two's complement number whose highest byte is `top`.
pub(crate) const fn sign_byte(top: u8) -> u8 {
    if top & 0x80 == 0 { 0 } else { 0xff }
}

/// Removes the blanks that Python's `int()` ignores. They include the vertical tab.
fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t'..=b'\r', rest @ ..] = line {
        line = rest;
    }
    while let [rest @ .., b' ' | b'\t'..=b'\r'] = line {
        line = rest;
    }
    line
}

fn sign(line: &[u8]) -> (bool, &[u8]) {
    match line {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, line),
    }
}

/// Checks for at least one digit, and for underscores that stand singly between digits.
fn check_digits(digits: &[u8], radix: u32) -> Result<(), Fault> {
    let mut count = 0;
    let mut after_digit = false;
    for &byte in digits {
        if char::from(byte).is_digit(radix) {
            count += 1;
            after_digit = true;
        } else if byte == b'_' && after_digit {
            after_digit = false;
        } else {
            return Err(Fault::BadNumber);
        }
    }
    if !after_digit || (radix == 10 && count > MAX_DECIMAL_DIGITS) {
        return Err(Fault::BadNumber);
    }
    Ok(())
}

fn magnitude(digits: &[u8], radix: u32) -> Option<u64> {
    let values = digits
        .iter()
        .filter_map(|&byte| char::from(byte).to_digit(radix));
    values.into_iter().try_fold(0_u64, |sum, digit| {
        sum.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

fn signed(negative: bool, magnitude: u64) -> Option<i64> {
    if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Converts decimal digits, nine at a time. The cost is quadratic, but the number of digits is
/// bounded.
fn from_decimal(mut digits: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut limbs: Vec<u32> = Vec::new();
    loop {
        let (mut scale, mut group) = (1_u32, 0);
        for digit in digits.by_ref().take(9) {
            scale *= 10;
            group = group * 10 + digit;
        }
        if scale == 1 {
            return limbs.into_iter().flat_map(u32::to_le_bytes).collect();
        }
        let mut carry = group;
        for limb in &mut limbs {
            (*limb, carry) = halves(u64::from(*limb) * u64::from(scale) + u64::from(carry));
        }
        if carry != 0 {
            limbs.push(carry);
        }
    }
}

/// Returns the low half and the high half.
const fn halves(value: u64) -> (u32, u32) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the halves are what is wanted"
    )]
    (value as u32, (value >> 32) as u32)
}

/// Converts digits of `width` bits each, the least significant first.
fn from_bits(digits: impl Iterator<Item = u32>, width: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut pending, mut bits) = (0_u32, 0);
    for digit in digits {
        pending |= digit << bits;
        bits += width;
        if bits >= 8 {
            bytes.push(pending.to_le_bytes()[0]);
            pending >>= 8;
            bits -= 8;
        }
    }
    bytes.push(pending.to_le_bytes()[0]);
    bytes
}

/// Decodes Python's escapes for bytes as `codecs.escape_decode` does. The result must be ASCII.
fn unescape(mut text: &[u8], mut emit: impl FnMut(u8)) -> Result<(), Fault> {
    while let [first, rest @ ..] = text {
        let (byte, after) = match (first, rest) {
            (b'\\', []) => return Err(Fault::BadText),
            (b'\\', [b'x', hex @ ..]) => {
                let (value, after) = hex_digits(hex, 2)?;
                (value.to_le_bytes()[0], after)
            }
            (b'\\', [b'0'..=b'7', ..]) => octal_digits(rest),
            (b'\\', [letter, after @ ..]) => match simple_escape(*letter) {
                Some(byte) => (byte, after),
                None => (b'\\', rest), // Python keeps an unknown escape unchanged
            },
            _ => (*first, rest),
        };
        if !byte.is_ascii() {
            return Err(Fault::BadText);
        }
        emit(byte);
        text = after;
    }
    Ok(())
}

const fn simple_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'\\' | b'\'' | b'"' => letter,
        b'b' => 0x08,
        b'f' => 0x0c,
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'a' => 0x07,
        _ => return None,
    })
}

/// Reads one to three octal digits and returns the low eight bits of their value.
fn octal_digits(mut text: &[u8]) -> (u8, &[u8]) {
    let mut value = 0_u8;
    for _ in 0..3 {
        let [digit @ b'0'..=b'7', rest @ ..] = text else {
            break;
        };
        value = (value << 3) | (digit - b'0');
        text = rest;
    }
    (value, text)
}

fn hex_digits(text: &[u8], count: usize) -> Result<(u32, &[u8]), Fault> {
    let (digits, rest) = text.split_at_checked(count).ok_or(Fault::BadText)?;
    let mut value = 0_u32;
    for &digit in digits {
        value = (value << 4) | char::from(digit).to_digit(16).ok_or(Fault::BadText)?;
    }
    Ok((value, rest))
}

/// Decodes raw-unicode-escape. A backslash that follows another backslash begins no escape.
fn raw_unicode(mut line: &[u8], mut emit: impl FnMut(u32)) -> Result<(), Fault> {
    while let [first, rest @ ..] = line {
        let (point, after) = match (first, rest) {
            (b'\\', [b'u', hex @ ..]) => hex_digits(hex, 4)?,
            (b'\\', [b'U', hex @ ..]) => hex_digits(hex, 8)?,
            (b'\\', [second, after @ ..]) => {
                emit(u32::from(b'\\'));
                (u32::from(*second), after)
            }
            _ => (u32::from(*first), rest),
        };
        if point > u32::from(char::MAX) {
            return Err(Fault::BadText);
        }
        emit(point);
        line = after;
    }
    Ok(())
}

fn push_point(out: &mut Vec<u8>, point: u32) {
    if let Some(character) = char::from_u32(point) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        // A surrogate is encoded in three bytes, by the same rule as the code points around it.
        let [low, high, ..] = point.to_le_bytes();
        out.extend([
            0xe0 | (high >> 4),
            0x80 | ((high & 0x0f) << 2) | (low >> 6),
            0x80 | (low & 0x3f),
        ]);
    }
}
