//! Reads a Python number in a pickle, whatever its type.

use std::borrow::Cow;

use crate::text::numpy_scalar;
use pickle::{Instance, View};

/// Maximum depth of wrappers that are followed, such as an enum of a Fraction.
const WRAPPERS_MAX: u8 = 4;

/// A number exactly as its pickle states it, not yet converted.
#[derive(Debug)]
pub(crate) enum Number<'t> {
    /// A bool, which Python calls equal to 0 or 1.
    Bool(bool),
    /// An int that fits `i64`.
    Int(i64),
    /// Any other int, in little-endian two's complement.
    BigInt(Cow<'t, [u8]>),
    /// A float.
    Float(f64),
    /// A Decimal, or an int in decimal digits, as `str` writes it.
    Decimal(&'t str),
    /// A Fraction: two ints without a common divisor.
    Ratio(Box<[Number<'t>; 2]>),
}

impl<'t> Number<'t> {
    /// Reads a bool, an int, a float, or a number type whose pickle states its value: Decimal,
    /// Fraction, numpy scalars, enums, and users' number classes.
    pub(crate) fn read(view: View<'t, '_>) -> Option<Self> {
        read(view, WRAPPERS_MAX)
    }
}

/// Reads a number. `depth_left` limits the depth of wrappers.
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
        // A Fraction is pickled either as the text of its ratio or as two numbers.
        ("fractions", "Fraction", [ratio]) => match ratio.as_str() {
            Some(text) => Some(of_ratio_text(text)),
            None => read(*ratio, depth_left),
        },
        ("fractions", "Fraction", [over, under]) => {
            let (over, under) = (read(*over, depth_left)?, read(*under, depth_left)?);
            Some(Number::Ratio(Box::new([over, under])))
        }
        // An enum member or an instance of a number's subclass is pickled as a call of its class
        // with the value.
        (_, _, [value]) => read(*value, depth_left),
        _ => None,
    }
}

fn of_ratio_text(text: &str) -> Number<'_> {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    let terms = [over, under].map(|digits| Number::Decimal(digits.trim()));
    Number::Ratio(Box::new(terms))
}

/// Reads a numpy scalar. `code` is numpy's type code: a kind and a width in bytes. Every machine
/// that Parsl runs on writes scalars in little-endian order.
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

/// Converts an IEEE 754 binary16 number.
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
