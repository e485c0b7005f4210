//! The order in which tasks wait: the lowest number first, as Parsl has it since 2025.06.02.

use std::cmp::Ordering;

use pickle::View;

/// A task's priority: any Python number, compared as Python compares them.
///
/// Held as the nearest float and the integer distance to it, so that integers beyond 2⁵³ keep
/// their exact order among each other and against floats. The distance of integers beyond 2¹¹⁶ is
/// clipped; their order among near neighbours is then the order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Priority {
    nearest: f64,
    distance: i64,
}

impl Priority {
    /// What a task without a priority has: it waits behind every other (Parsl takes `inf`).
    pub const LOWEST: Self = Self {
        nearest: f64::INFINITY,
        distance: 0,
    };

    /// An int, however large, is exact.
    pub fn from_i64(number: i64) -> Self {
        let nearest = number as f64;
        let distance = (i128::from(number) - nearest as i128) as i64;
        Self { nearest, distance }
    }

    /// `None` for NaN, which has no place in an order.
    pub fn from_f64(number: f64) -> Option<Self> {
        // −0.0 and 0.0 are one number.
        (!number.is_nan()).then_some(Self {
            nearest: number + 0.0,
            distance: 0,
        })
    }

    /// The nearest float; infinite if there is none.
    pub fn to_f64(self) -> f64 {
        self.nearest
    }

    /// Reads a priority out of a pickle: bool, int, float, and the number types whose pickle says
    /// their value (Decimal, Fraction, numpy scalars, enums).
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        read_number(view, 4)
    }
}

impl PartialEq for Priority {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Priority {}

impl PartialOrd for Priority {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Ascending numbers: the smallest is served first.
impl Ord for Priority {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nearest
            .total_cmp(&other.nearest)
            .then(self.distance.cmp(&other.distance))
    }
}

/// `depth_left` bounds how many wrappers (an enum of a Fraction …) are looked through.
fn read_number(view: View<'_, '_>, depth_left: u8) -> Option<Priority> {
    if let Some(flag) = view.as_bool() {
        return Some(Priority::from_i64(i64::from(flag)));
    }
    if let Some(number) = view.as_i64() {
        return Some(Priority::from_i64(number));
    }
    if let Some(number) = view.as_f64() {
        return Priority::from_f64(number);
    }
    if let Some(bytes) = view.as_big_int() {
        return Some(from_big_int(bytes));
    }
    if depth_left == 0 {
        return None;
    }
    read_instance(view, depth_left - 1)
}

fn read_instance(view: View<'_, '_>, depth_left: u8) -> Option<Priority> {
    let instance = view.instance()?;
    let (module, class) = instance.callable.class_name()?;
    let arguments: Vec<_> = instance.arguments.items()?.collect();
    match (module, class, arguments.as_slice()) {
        ("decimal" | "_decimal" | "_pydecimal", "Decimal", [text]) => {
            Priority::from_f64(text.as_str()?.trim().parse().ok()?)
        }
        // A Fraction is pickled as the text of its ratio, or as its two numbers.
        ("fractions", "Fraction", [ratio]) => match ratio.as_str() {
            Some(text) => from_ratio_text(text),
            None => read_number(*ratio, depth_left),
        },
        ("fractions", "Fraction", [over, under]) => {
            Priority::from_f64(as_float(*over, depth_left)? / as_float(*under, depth_left)?)
        }
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar", [dtype, bytes]) => {
            from_numpy(
                dtype.instance()?.arguments.items()?.next()?.as_str()?,
                bytes.as_bytes()?,
            )
        }
        // An enum member, or a subclass of a number, is its class called with the value.
        (_, _, [value]) => read_number(*value, depth_left),
        _ => None,
    }
}

fn as_float(view: View<'_, '_>, depth_left: u8) -> Option<f64> {
    read_number(view, depth_left).map(|number| number.nearest)
}

fn from_ratio_text(text: &str) -> Option<Priority> {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    let (over, under): (f64, f64) = (over.trim().parse().ok()?, under.trim().parse().ok()?);
    Priority::from_f64(over / under)
}

/// `code` is numpy's: a kind and a width in bytes. Scalars are written little-endian by every
/// machine that Parsl runs on.
fn from_numpy(code: &str, bytes: &[u8]) -> Option<Priority> {
    let code = code.trim_start_matches(['<', '=', '|']);
    match (code.as_bytes().first()?, bytes.len()) {
        (b'f', 8) => Priority::from_f64(f64::from_le_bytes(bytes.try_into().ok()?)),
        (b'f', 4) => Priority::from_f64(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        (b'f', 2) => Priority::from_f64(half_to_f64(u16::from_le_bytes(bytes.try_into().ok()?))),
        (b'i', 1..=8) => Some(from_big_int(bytes)),
        (b'u' | b'b', 1..=8) => Some(from_big_int(&[bytes, &[0]].concat())),
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

/// An integer of any size, little-endian two's complement, as pickles hold it.
fn from_big_int(bytes: &[u8]) -> Priority {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    if bytes.len() <= 16 {
        let mut wide = [fill; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        return from_i128(i128::from_le_bytes(wide));
    }
    // Beyond 128 bits only the size matters: the leading bytes, scaled.
    let mut nearest = 0f64;
    for byte in bytes.iter().rev() {
        nearest = nearest * 256.0 + f64::from(byte ^ fill);
    }
    // No integer is as large as infinity, so a larger one stays below it.
    let nearest = nearest.min(f64::MAX);
    let distance = if nearest == f64::MAX { i64::MAX } else { 0 };
    if negative {
        Priority {
            nearest: -nearest,
            distance: -distance,
        }
    } else {
        Priority { nearest, distance }
    }
}

fn from_i128(number: i128) -> Priority {
    let nearest = number as f64;
    let distance = number.saturating_sub(nearest as i128);
    let distance = distance.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
    Priority { nearest, distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(number: i64) -> Priority {
        Priority::from_i64(number)
    }

    #[test]
    fn integers_beyond_the_precision_of_floats_keep_their_order() {
        let base = 1i64 << 60;
        assert!(int(base) < int(base + 1));
        assert!(int(-base - 1) < int(-base));
        assert!(int(base - 1) < Priority::from_f64(base as f64).unwrap());
        assert!(Priority::from_f64(base as f64).unwrap() < int(base + 1));
        assert!(int(i64::MAX) > int(i64::MAX - 1));
    }

    #[test]
    fn lowest_is_behind_every_number_and_nan_is_none() {
        assert!(int(i64::MAX) < Priority::LOWEST);
        assert!(from_big_int(&[0x7f; 500]) < Priority::LOWEST);
        assert!(from_big_int(&[0x80; 500]) > Priority::from_f64(f64::NEG_INFINITY).unwrap());
        assert!(Priority::from_f64(f64::NAN).is_none());
        assert_eq!(Priority::from_f64(-0.0).unwrap(), int(0));
    }

    #[test]
    fn wide_integers_compare_with_narrow_ones() {
        assert!(from_big_int(&[0, 0, 0, 0, 0, 0, 0, 0, 1]) > int(i64::MAX));
        assert!(from_big_int(&[0xff; 9]) == int(-1));
        assert!(from_big_int(&[0x7f; 20]) > from_big_int(&[0x7f; 19]));
    }

    #[test]
    fn numpy_scalars_are_read_by_kind_and_width() {
        assert_eq!(
            from_numpy("f8", &1.5f64.to_le_bytes()),
            Priority::from_f64(1.5)
        );
        assert_eq!(from_numpy("<i4", &(-7i32).to_le_bytes()), Some(int(-7)));
        assert_eq!(from_numpy("u1", &[200]), Some(int(200)));
        assert_eq!(
            from_numpy("f2", &0x3e00u16.to_le_bytes()),
            Priority::from_f64(1.5)
        );
        assert_eq!(from_numpy("U3", b"abc"), None);
    }
}
