//! A Python number in a pickle, whatever type it is of.

use std::borrow::Cow;

use crate::text::numpy_scalar;
use pickle::{Instance, View};

/// Wrappers (an enum of a Fraction …) that are looked through.
const WRAPPERS_MAX: u8 = 4;

/// A number as its pickle says it: exact, and not yet anything else.
#[derive(Debug)]
pub(crate) enum Number<'t> {
    /// One of the two that Python calls equal to 0 and 1.
    Bool(bool),
    /// An int that fits.
    Int(i64),
    /// Another one: little-endian two's complement.
    BigInt(Cow<'t, [u8]>),
    /// A float.
    Float(f64),
    /// A Decimal, or an int in digits: as `str` writes it.
    Decimal(&'t str),
    /// A Fraction: two ints without a common divisor.
    Ratio(Box<[Number<'t>; 2]>),
}

impl<'t> Number<'t> {
    /// Bool, int, float, and the types of numbers whose pickle says their value (Decimal, Fraction,
    /// numpy scalars, enums, classes of the user's that are numbers).
    pub(crate) fn read(view: View<'t, '_>) -> Option<Self> {
        read(view, WRAPPERS_MAX)
    }
}

/// `depth_left` bounds how many wrappers are looked through.
fn read<'t>(view: View<'t, '_>, depth_left: u8) -> Option<Number<'t>> {
    if let Some(flag) = view.as_bool() {
        return Some(Number::Bool(flag));
    }
    if let Some(number) = view.as_i64() {
        return Some(Number::Int(number));
    }
    if let Some(number) = view.as_f64() {
        return Some(Number::Float(number));
    }
    if let Some(bytes) = view.as_big_int() {
        return Some(Number::BigInt(bytes.into()));
    }
    read_instance(&view.instance()?, depth_left.checked_sub(1)?)
}

fn read_instance<'t>(instance: &Instance<'t, '_>, depth_left: u8) -> Option<Number<'t>> {
    if let Some((code, bytes)) = numpy_scalar(instance) {
        return of_numpy(code, &bytes);
    }
    let (module, class) = instance.callable.class_name()?;
    let arguments: Vec<_> = instance.arguments.items()?.collect();
    match (module, class, arguments.as_slice()) {
        ("decimal" | "_decimal" | "_pydecimal", "Decimal", [text]) => {
            Some(Number::Decimal(text.as_str()?.trim()))
        }
        // A Fraction is pickled as the text of its ratio, or as its two numbers.
        ("fractions", "Fraction", [ratio]) => match ratio.as_str() {
            Some(text) => Some(of_ratio_text(text)),
            None => read(*ratio, depth_left),
        },
        ("fractions", "Fraction", [over, under]) => {
            let (over, under) = (read(*over, depth_left)?, read(*under, depth_left)?);
            Some(Number::Ratio(Box::new([over, under])))
        }
        // An enum member, or a subclass of a number, is its class called with the value.
        (_, _, [value]) => read(*value, depth_left),
        _ => None,
    }
}

fn of_ratio_text(text: &str) -> Number<'_> {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    let terms = [over, under].map(|digits| Number::Decimal(digits.trim()));
    Number::Ratio(Box::new(terms))
}

/// `code` is numpy's: a kind and a width in bytes. Scalars are written little-endian by every
/// machine that Parsl runs on.
fn of_numpy<'t>(code: &str, bytes: &[u8]) -> Option<Number<'t>> {
    let code = code.trim_start_matches(['<', '=', '|']);
    match (code.as_bytes().first()?, bytes.len()) {
        (b'f', 8) => Some(Number::Float(f64::from_le_bytes(bytes.try_into().ok()?))),
        (b'f', 4) => Some(Number::Float(
            f32::from_le_bytes(bytes.try_into().ok()?).into(),
        )),
        (b'f', 2) => {
            let bits = u16::from_le_bytes(bytes.try_into().ok()?);
            Some(Number::Float(half_to_f64(bits)))
        }
        (b'i', 1..=8) => Some(Number::BigInt(bytes.to_vec().into())),
        (b'u', 1..=8) => Some(Number::BigInt([bytes, &[0]].concat().into())),
        (b'b', 1) => Some(Number::Bool(bytes != [0])),
        _ => None,
    }
}

/// IEEE 754 binary16.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::priority::Priority;

    #[test]
    fn numpy_scalars_are_read_by_kind_and_width() {
        let read = |code, bytes: &[u8]| of_numpy(code, bytes).as_ref().and_then(Priority::of);
        assert_eq!(read("f8", &1.5f64.to_le_bytes()), Priority::from_f64(1.5));
        let minus_seven = (-7i32).to_le_bytes();
        assert_eq!(read("<i4", &minus_seven), Some(Priority::from_i64(-7)));
        assert_eq!(read("u1", &[200]), Some(Priority::from_i64(200)));
        assert_eq!(
            read("f2", &0x3e00u16.to_le_bytes()),
            Priority::from_f64(1.5)
        );
        assert_eq!(read("U3", b"abc"), None);
    }
}
