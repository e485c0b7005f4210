//! The order in which tasks are served: the lowest number first, as in Parsl since 2025.06.02.

use std::cmp::Ordering;

use crate::number::Number;
use pickle::View;

/// A task's priority: any Python number, compared as in Python.
///
/// It is stored as the nearest float and the integer distance from it. Integers beyond 2⁵³
/// therefore keep their exact order, also compared with floats. The distance of integers beyond
/// 2¹¹⁶ is clipped. Such integers that lie close together are then served in order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Priority {
    nearest: f64,
    distance: i64,
}

impl Priority {
    /// The priority of a task that has none: behind all others (Parsl uses `inf`).
    pub const LOWEST: Self = Self {
        nearest: f64::INFINITY,
        distance: 0,
    };

    /// Creates a priority from an int, without loss of precision.
    pub fn from_i64(number: i64) -> Self {
        let nearest = number as f64;
        let distance = (i128::from(number) - nearest as i128) as i64;
        Self { nearest, distance }
    }

    /// Creates a priority from a float. Returns `None` for NaN, which has no order.
    pub fn from_f64(number: f64) -> Option<Self> {
        // −0.0 becomes 0.0, so that both are equal.
        (!number.is_nan()).then_some(Self {
            nearest: number + 0.0,
            distance: 0,
        })
    }

    /// Returns the nearest float; an infinite one if the priority is infinite.
    pub fn to_f64(self) -> f64 {
        self.nearest
    }

    /// Reads a priority in a pickle. Returns `None` for NaN, and for an object that is not a
    /// number.
    pub(crate) fn read(view: View<'_, '_>) -> Option<Self> {
        Self::of(&Number::read(view)?)
    }

    /// Creates a priority from any number. Returns `None` for NaN.
    pub(crate) fn of(number: &Number<'_>) -> Option<Self> {
        match number {
            Number::Bool(flag) => Some(Self::from_i64(i64::from(*flag))),
            Number::Int(number) => Some(Self::from_i64(*number)),
            Number::BigInt(bytes) => Some(from_big_int(bytes)),
            Number::Float(number) => Self::from_f64(*number),
            Number::Decimal(text) => Self::from_f64(text.parse().ok()?),
            Number::Ratio(terms) => {
                let [over, under] = &**terms;
                Self::from_f64(Self::of(over)?.nearest / Self::of(under)?.nearest)
            }
        }
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

/// Ascending order: the smallest number is served first.
impl Ord for Priority {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nearest
            .total_cmp(&other.nearest)
            .then(self.distance.cmp(&other.distance))
    }
}

/// Converts an integer of any size from little-endian two's complement, as in a pickle.
fn from_big_int(bytes: &[u8]) -> Priority {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    if bytes.len() <= 16 {
        let mut wide = [fill; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        return from_i128(i128::from_le_bytes(wide));
    }
    // Beyond 128 bits an approximate value is enough. It is summed up from the bytes as a float.
    let mut nearest = 0f64;
    for byte in bytes.iter().rev() {
        nearest = nearest * 256.0 + f64::from(byte ^ fill);
    }
    // No integer equals infinity, so an integer beyond the largest float stays below infinity.
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
}
