//! The value that keeps tasks on one manager. Values that Python calls equal are equal here.

use std::fmt;
use std::rc::Rc;

use crate::magnitude::Magnitude;
use crate::number::Number;
use crate::text::{read_bytes, read_text};
use pickle::{FlatValue, View};

/// Maximum length of a text or bytes value. Other values may take as much.
const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of the header before a text.
const HEAD_BYTES: usize = 3;
/// Initial capacity, enough for most values.
const SHORT_BYTES: usize = 32;
/// Maximum depth of nested tuples.
const DEPTH_MAX: u8 = 8;
/// Limit for powers of ten. A number with a larger one does not fit into a form.
const TENS_MAX: i64 = 4 * VALUE_BYTES_MAX as i64;
/// Maximum number of characters shown in texts such as log lines.
const SHOWN_CHARACTERS: usize = 40;

const NONE: u8 = b'0';
const NUMBER: u8 = b'n';
const INFINITE: u8 = b'i';
const TEXT: u8 = b's';
const BYTES: u8 = b'b';
const TUPLE: u8 = b'(';
const TUPLE_END: u8 = b')';

/// A plain Python value: None, a number, a str, bytes, or a tuple of plain values. Its encoded form
/// is equal for values that Python calls equal: 1, 1.0 and True are one value. An enum member
/// counts as its value.
///
/// A number is ±2ⁿ × p / q, where p and q are odd and have no common divisor. This form is the same
/// for an int, a float, a Decimal and a Fraction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity(Rc<[u8]>);

impl Affinity {
    /// Creates an affinity from its encoded form.
    pub fn new(form: &[u8]) -> Self {
        Self(form.into())
    }

    /// Returns the encoded form, from which [`Self::new`] creates an equal affinity.
    pub fn form(&self) -> &[u8] {
        &self.0
    }

    /// Reads a value. Returns `None` if it is not plain, is too large, or equals nothing (NaN).
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        let mut form = Form::new();
        form.value(view, DEPTH_MAX)?;
        Some(Self(form.0.into()))
    }

    /// Reads a value in a flat dict, like [`Self::read`].
    pub(crate) fn of_flat(value: FlatValue<'_>) -> Option<Self> {
        let mut form = Form::new();
        match value {
            FlatValue::None => form.push(&[NONE])?,
            FlatValue::Bool(flag) => form.number(&Number::Bool(flag))?,
            FlatValue::Int(number) => form.number(&Number::Int(number))?,
            FlatValue::Float(number) => form.number(&Number::Float(number))?,
            FlatValue::Ascii(text) => form.text(TEXT, text)?,
            FlatValue::Bytes(bytes) => form.text(BYTES, bytes)?,
            FlatValue::Dict(_) => return None,
        }
        Some(Self(form.0.into()))
    }
}

/// Shows the value approximately as Python writes it; a long value is cut.
impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        if show(&self.0, DEPTH_MAX, &mut shown).is_none() {
            shown = self.0.escape_ascii().to_string();
        }
        match shown.char_indices().nth(SHOWN_CHARACTERS) {
            None => f.write_str(&shown),
            Some((end, _)) => write!(f, "{}…", &shown[..end]),
        }
    }
}

/// An encoded form that is being written. Its methods return `None` if the form becomes too large.
struct Form(Vec<u8>);

impl Form {
    fn new() -> Self {
        Self(Vec::with_capacity(SHORT_BYTES))
    }

    fn value(&mut self, view: View<'_, '_>, depth_left: u8) -> Option<()> {
        if view.is_none() {
            return self.push(&[NONE]);
        }
        if view.is_tuple() {
            let depth_left = depth_left.checked_sub(1)?;
            self.push(&[TUPLE])?;
            for item in view.items()? {
                self.value(item, depth_left)?;
            }
            return self.push(&[TUPLE_END]);
        }
        if let Some(number) = Number::read(view) {
            return self.number(&number);
        }
        match (read_text(view), read_bytes(view)) {
            (Some(text), _) => self.text(TEXT, &text),
            (None, Some(bytes)) => self.text(BYTES, &bytes),
            (None, None) => None,
        }
    }

    fn text(&mut self, kind: u8, bytes: &[u8]) -> Option<()> {
        let len = u16::try_from(bytes.len()).ok()?;
        self.push(&[kind])?;
        self.push(&len.to_le_bytes())?;
        self.push(bytes)
    }

    fn number(&mut self, number: &Number<'_>) -> Option<()> {
        let ratio = match number {
            Number::Bool(flag) => Ratio::of_u64(u64::from(*flag)),
            Number::Int(number) => Ratio::of_u64(number.unsigned_abs()).signed(*number < 0),
            Number::BigInt(bytes) if bytes.len() <= VALUE_BYTES_MAX => Ratio::of_big_int(bytes),
            Number::BigInt(_) => return None,
            Number::Float(number) if number.is_infinite() => return self.infinite(*number < 0.0),
            Number::Float(number) => Ratio::of_float(*number)?,
            Number::Decimal(text) => match text.strip_prefix('-').unwrap_or(text) {
                "Infinity" => return self.infinite(text.starts_with('-')),
                _ => Ratio::of_decimal(text)?,
            },
            Number::Ratio(terms) => Ratio::of_ints(terms)?,
        };
        let twos = i16::try_from(ratio.twos).ok()?;
        self.push(&[NUMBER, u8::from(ratio.is_negative)])?;
        self.push(&twos.to_le_bytes())?;
        for term in [ratio.over, ratio.under] {
            let bytes = term.to_bytes();
            self.push(&u16::try_from(bytes.len()).ok()?.to_le_bytes())?;
            self.push(&bytes)?;
        }
        Some(())
    }

    fn infinite(&mut self, is_negative: bool) -> Option<()> {
        self.push(&[INFINITE, u8::from(is_negative)])
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let has_room = self.0.len() + bytes.len() <= VALUE_BYTES_MAX + HEAD_BYTES;
        has_room.then(|| self.0.extend_from_slice(bytes))
    }
}

/// The number ±2ⁿ × over / under, where both are odd. 0 is 2⁰ × 0 / 1.
struct Ratio {
    is_negative: bool,
    twos: i64,
    over: Magnitude,
    under: Magnitude,
}

impl Ratio {
    fn new(mut over: Magnitude, mut under: Magnitude, twos: i64) -> Self {
        let twos = twos + over.take_twos() - under.take_twos();
        Self {
            is_negative: false,
            twos: if over.is_zero() { 0 } else { twos },
            over,
            under,
        }
    }

    /// Sets the sign; −0.0 becomes 0.
    fn signed(mut self, is_negative: bool) -> Self {
        self.is_negative = is_negative && !self.over.is_zero();
        self
    }

    fn of_u64(number: u64) -> Self {
        Self::new(Magnitude::new(number), Magnitude::new(1), 0)
    }

    fn of_big_int(bytes: &[u8]) -> Self {
        let (is_negative, magnitude) = Magnitude::of_twos_complement(bytes);
        Self::new(magnitude, Magnitude::new(1), 0).signed(is_negative)
    }

    fn of_float(number: f64) -> Option<Self> {
        const FRACTION_BITS: u64 = 52;
        if number.is_nan() {
            return None;
        }
        let bits = number.to_bits();
        let fraction = bits & ((1 << FRACTION_BITS) - 1);
        let exponent = (bits >> FRACTION_BITS & 0x7ff) as i64;
        let (mantissa, exponent) = match exponent {
            0 => (fraction, 1),
            _ => (fraction | 1 << FRACTION_BITS, exponent),
        };
        let (over, under) = (Magnitude::new(mantissa), Magnitude::new(1));
        Some(Self::new(over, under, exponent - 1075).signed(number.is_sign_negative()))
    }

    /// Reads a number of the form `[-]digits[.digits][E[+-]digits]`.
    fn of_decimal(text: &str) -> Option<Self> {
        let is_negative = text.starts_with('-');
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (digits, exponent) = match text.split_once(['E', 'e']) {
            Some((digits, exponent)) => (digits, exponent.parse().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_short = (1..=VALUE_BYTES_MAX).contains(&(whole.len() + fraction.len()));
        let digits = is_short.then(|| whole.bytes().chain(fraction.bytes()))?;
        let mut over = Magnitude::of_digits(digits)?;
        if over.is_zero() {
            return Some(Self::of_u64(0));
        }
        let tens = i64::checked_sub(exponent, fraction.len() as i64)?;
        if !(-TENS_MAX..=TENS_MAX).contains(&tens) {
            return None;
        }
        let mut under = Magnitude::new(1);
        match u32::try_from(tens) {
            Ok(fives) => over.multiply_by_fives(fives),
            Err(_) => {
                let fives = tens.unsigned_abs() as u32;
                under.multiply_by_fives(fives - over.take_fives(fives));
            }
        }
        Some(Self::new(over, under, tens).signed(is_negative))
    }

    fn of_ints([over, under]: &[Number<'_>; 2]) -> Option<Self> {
        let (over, under) = (Self::of_int(over)?, Self::of_int(under)?);
        let is_negative = over.is_negative != under.is_negative;
        let twos = over.twos - under.twos;
        let is_ratio = !under.over.is_zero();
        is_ratio.then(|| Self::new(over.over, under.over, twos).signed(is_negative))
    }

    fn of_int(number: &Number<'_>) -> Option<Self> {
        match number {
            Number::Int(number) => Some(Self::of_u64(number.unsigned_abs()).signed(*number < 0)),
            Number::BigInt(bytes) if bytes.len() <= VALUE_BYTES_MAX => {
                Some(Self::of_big_int(bytes))
            }
            Number::Decimal(text) if !text.contains(['.', 'E', 'e']) => Self::of_decimal(text),
            Number::Bool(_)
            | Number::BigInt(_)
            | Number::Float(_)
            | Number::Decimal(_)
            | Number::Ratio(_) => None,
        }
    }
}

/// Shows the value at the start of a form, and returns the rest of the form. Returns `None` if the
/// form is invalid.
fn show<'f>(form: &'f [u8], depth_left: u8, out: &mut String) -> Option<&'f [u8]> {
    let (kind, rest) = form.split_first()?;
    match *kind {
        NONE => out.push_str("None"),
        INFINITE => {
            let (is_negative, rest) = rest.split_first()?;
            out.push_str(if *is_negative == 0 { "inf" } else { "-inf" });
            return Some(rest);
        }
        NUMBER => return show_number(rest, out),
        TEXT => {
            let (text, rest) = sized(rest)?;
            let text = String::from_utf8_lossy(text);
            out.extend(['"'].into_iter().chain(text.escape_debug()).chain(['"']));
            return Some(rest);
        }
        BYTES => {
            let (bytes, rest) = sized(rest)?;
            *out += &format!("b\"{}\"", bytes.escape_ascii());
            return Some(rest);
        }
        TUPLE => {
            let mut rest = rest;
            let mut before = "(";
            while *rest.first()? != TUPLE_END {
                out.push_str(before);
                before = ", ";
                rest = show(rest, depth_left.checked_sub(1)?, out)?;
            }
            out.push_str(if before == "(" { "()" } else { ")" });
            return rest.get(1..);
        }
        _ => return None,
    }
    Some(rest)
}

fn show_number<'f>(form: &'f [u8], out: &mut String) -> Option<&'f [u8]> {
    let ([is_negative, twos @ ..], rest) = form.split_first_chunk::<3>()?;
    let twos = i32::from(i16::from_le_bytes(*twos));
    let (over, rest) = sized(rest)?;
    let (under, rest) = sized(rest)?;
    if *is_negative != 0 {
        out.push('-');
    }
    let (over, over_bits) = leading(over);
    let (under, under_bits) = leading(under);
    let is_int = under == 1 && over_bits == 0 && (0..=over.leading_zeros() as i32).contains(&twos);
    if is_int {
        *out += &(over << twos).to_string();
        return Some(rest);
    }
    let exponent = twos + over_bits - under_bits;
    // The power is applied in two steps, because the smallest floats have an exponent whose own
    // power of two is not a float.
    let power = |exponent| 2f64.powi(exponent);
    let value = over as f64 / under as f64 * power(exponent / 2) * power(exponent - exponent / 2);
    *out += &match value.is_finite() {
        true => format!("{value:?}"),
        false => format!("2**{}", exponent + over.ilog2() as i32),
    };
    Some(rest)
}

/// Returns the highest bytes of an integer, and the number of lower bits that are cut off.
fn leading(bytes: &[u8]) -> (u128, i32) {
    let cut = bytes.len().saturating_sub(16);
    let mut wide = [0; 16];
    let kept = &bytes[cut..];
    wide[..kept.len()].copy_from_slice(kept);
    (u128::from_le_bytes(wide), 8 * cut as i32)
}

/// Splits off bytes that follow their length. Returns these bytes and the rest.
fn sized(form: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = form.split_first_chunk()?;
    rest.split_at_checked(u16::from_le_bytes(*len).into())
}
