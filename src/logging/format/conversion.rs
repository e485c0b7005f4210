//! Converts one value like Python's `'%+08.3f' % value`.

use std::fmt::{self, Write};

use crate::record::python_repr;

/// A value to convert; its variant is the type of the attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Str(&'a str),
    Int(u64),
    Float(f64),
    Object(&'static str),
}

/// The flags, width, precision and conversion character that follow a field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    /// The conversion character: one of `diouxXeEfFgGcrsa`.
    pub(super) letter: char,
    /// Smallest number of characters; 0 if none is given.
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    left: bool,
    zeros: bool,
    alternate: bool,
    sign: &'static str,
}

/// The types of value that a conversion accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// `s`, `r` and `a` accept every type.
    Text,
    /// `d`, `i` and `u` accept any number.
    Decimal,
    /// `o` and `x` accept an int.
    Radix,
    /// `e`, `f` and `g` accept any number.
    Float,
    /// `c` accepts an int.
    Character,
}

impl Number {
    pub(super) fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            's' | 'r' | 'a' => Self::Text,
            'd' | 'i' | 'u' => Self::Decimal,
            'o' | 'x' | 'X' => Self::Radix,
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => Self::Float,
            'c' => Self::Character,
            _ => return None,
        })
    }
}

impl Conversion {
    pub(super) fn plain(letter: char) -> Self {
        Self {
            letter,
            width: 0,
            precision: None,
            left: false,
            zeros: false,
            alternate: false,
            sign: "",
        }
    }

    pub(super) fn is_plain(&self, letter: char) -> bool {
        *self == Self::plain(letter)
    }

    pub(super) fn set_flag(&mut self, flag: char) {
        match flag {
            '-' => self.left = true,
            '0' => self.zeros = true,
            '#' => self.alternate = true,
            '+' => self.sign = "+",
            // A plus overrides a blank, in either order.
            _ if self.sign.is_empty() => self.sign = " ",
            _ => {}
        }
    }

    pub(super) fn write(&self, value: Value<'_>, out: &mut impl Write) -> fmt::Result {
        match value {
            Value::Str(text) if self.is_plain('s') => return out.write_str(text),
            Value::Int(int) if self.is_plain('d') || self.is_plain('s') => {
                return write!(out, "{int}");
            }
            Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Object(_) => {}
        }
        match (self.letter, value) {
            ('r', Value::Str(text)) => self.write_text(&python_repr(text, false), out),
            ('a', Value::Str(text)) => self.write_text(&python_repr(text, true), out),
            ('s' | 'r' | 'a', Value::Int(int)) => self.write_text(&int.to_string(), out),
            // Rust and Python both print the shortest digits that read back as the same float.
            ('s' | 'r' | 'a', Value::Float(float)) => self.write_text(&format!("{float:?}"), out),
            ('c', Value::Int(int)) => {
                let code = u32::try_from(int).ok().and_then(char::from_u32);
                self.pad(
                    "",
                    code.unwrap_or(char::REPLACEMENT_CHARACTER)
                        .encode_utf8(&mut [0; 4]),
                    out,
                )
            }
            ('o' | 'x' | 'X', Value::Int(int)) => self.write_radix(int, out),
            ('d' | 'i' | 'u', Value::Int(int)) => self.write_digits("", &int.to_string(), out),
            // The float is rounded towards zero, as Python's `int` does.
            ('d' | 'i' | 'u', Value::Float(float)) => {
                let (sign, size) = split_sign(float.trunc());
                self.write_digits(sign, &format!("{size:.0}"), out)
            }
            (_, Value::Float(float)) => self.write_float(float, out),
            (_, Value::Int(int)) => self.write_float(int as f64, out),
            (_, Value::Str(text)) => self.write_text(text, out),
            (_, Value::Object(text)) => self.write_text(text, out),
        }
    }

    fn write_text(&self, text: &str, out: &mut impl Write) -> fmt::Result {
        let kept = match self.precision {
            Some(most) => text
                .char_indices()
                .nth(most)
                .map_or(text, |(end, _)| &text[..end]),
            None => text,
        };
        // Zero padding applies to numbers only.
        Self {
            zeros: false,
            ..*self
        }
        .pad("", kept, out)
    }

    fn write_radix(&self, int: u64, out: &mut impl Write) -> fmt::Result {
        let (prefix, digits) = match self.letter {
            'o' => ("0o", format!("{int:o}")),
            'x' => ("0x", format!("{int:x}")),
            _ => ("0X", format!("{int:X}")),
        };
        let prefix = if self.alternate { prefix } else { "" };
        self.pad(
            &format!("{}{prefix}", self.sign),
            &self.lengthened(&digits),
            out,
        )
    }

    fn write_digits(&self, minus: &str, digits: &str, out: &mut impl Write) -> fmt::Result {
        self.pad(self.sign_for(minus), &self.lengthened(digits), out)
    }

    /// Pads a whole number with zeros: for such numbers the precision is the smallest number of
    /// digits.
    fn lengthened(&self, digits: &str) -> String {
        format!("{digits:0>width$}", width = self.precision.unwrap_or(0))
    }

    fn write_float(&self, float: f64, out: &mut impl Write) -> fmt::Result {
        let (minus, size) = split_sign(float);
        let precision = self.precision.unwrap_or(6);
        let mut digits = match self.letter.to_ascii_lowercase() {
            'f' => fixed(size, precision, self.alternate),
            'e' => scientific(size, precision, self.alternate),
            _ => general(size, precision.max(1), self.alternate),
        };
        if self.letter.is_ascii_uppercase() {
            digits.make_ascii_uppercase();
        }
        self.pad(self.sign_for(minus), &digits, out)
    }

    fn sign_for<'a>(&self, minus: &'a str) -> &'a str {
        if minus.is_empty() { self.sign } else { minus }
    }

    fn pad(&self, prefix: &str, body: &str, out: &mut impl Write) -> fmt::Result {
        let length = prefix.chars().count() + body.chars().count();
        let fill = self.width.saturating_sub(length);
        let (before, zeros, after) = match (self.left, self.zeros) {
            (true, _) => (0, 0, fill),
            (false, true) => (0, fill, 0),
            (false, false) => (fill, 0, 0),
        };
        write!(
            out,
            "{:before$}{prefix}{:0<zeros$}{body}{:after$}",
            "", "", ""
        )
    }
}

fn split_sign(float: f64) -> (&'static str, f64) {
    if float.is_sign_negative() {
        ("-", -float)
    } else {
        ("", float)
    }
}

fn fixed(size: f64, precision: usize, point: bool) -> String {
    let point = if point && precision == 0 { "." } else { "" };
    format!("{size:.precision$}{point}")
}

/// Formats in exponent notation. Like Python, writes the exponent's sign and at least two digits.
fn scientific(size: f64, precision: usize, point: bool) -> String {
    let (mantissa, exponent) = mantissa_and_exponent(size, precision);
    let point = if point && precision == 0 { "." } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{point}e{sign}{:02}", exponent.unsigned_abs())
}

/// Formats like C's `%g`: the precision counts significant digits, and the shorter notation is
/// used.
fn general(size: f64, precision: usize, keep_zeros: bool) -> String {
    let (_, exponent) = mantissa_and_exponent(size, precision - 1);
    let significant = i32::try_from(precision).unwrap_or(i32::MAX);
    if (-4..significant).contains(&exponent) {
        let decimals = usize::try_from(significant - 1 - exponent).unwrap_or(0);
        let text = fixed(size, decimals, keep_zeros);
        return if keep_zeros {
            text
        } else {
            without_zeros(&text).to_owned()
        };
    }
    let text = scientific(size, precision - 1, keep_zeros);
    match text.split_once('e') {
        Some((mantissa, exponent)) if !keep_zeros => {
            format!("{}e{exponent}", without_zeros(mantissa))
        }
        _ => text,
    }
}

fn mantissa_and_exponent(size: f64, precision: usize) -> (String, i32) {
    let text = format!("{size:.precision$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse().unwrap_or(0)),
        // The number is infinite or NaN, which no attribute is.
        None => (text, 0),
    }
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}
