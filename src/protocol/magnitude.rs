//! A natural number of any size, with the operations that comparing numbers needs.

/// A natural number in digits of 32 bits, the least significant first. The last digit is not 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Magnitude(Vec<u32>);

/// The largest power of five that fits into a digit.
const FIVES: u32 = 13;

impl Magnitude {
    pub(crate) fn new(number: u64) -> Self {
        Self::trimmed(vec![number as u32, (number >> 32) as u32])
    }

    /// Reads an int of any size in little-endian two's complement. Returns whether it is negative,
    /// and its absolute value.
    pub(crate) fn of_twos_complement(bytes: &[u8]) -> (bool, Self) {
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if is_negative { 0xff } else { 0 };
        let mut digits: Vec<u32> = bytes
            .chunks(4)
            .map(|chunk| {
                let mut digit = [fill; 4];
                digit[..chunk.len()].copy_from_slice(chunk);
                u32::from_le_bytes(digit)
            })
            .collect();
        if is_negative {
            let mut carry = true;
            for digit in &mut digits {
                (*digit, carry) = (!*digit).overflowing_add(carry.into());
            }
        }
        (is_negative, Self::trimmed(digits))
    }

    /// Reads decimal digits. Returns `None` if there are other characters among them.
    pub(crate) fn of_digits(digits: impl Iterator<Item = u8>) -> Option<Self> {
        let mut number = Self(Vec::new());
        for digit in digits {
            let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
            number.multiply_and_add(10, digit);
        }
        Some(number)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number's bytes, little-endian, without zeros at the end.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|digit| digit.to_le_bytes())
            .collect();
        let last = bytes.iter().rposition(|byte| *byte != 0);
        bytes.truncate(last.map_or(0, |last| last + 1));
        bytes
    }

    /// Divides by two as often as possible. Returns the number of divisions.
    pub(crate) fn take_twos(&mut self) -> i64 {
        let Some(zeros) = self.0.iter().position(|digit| *digit != 0) else {
            return 0;
        };
        self.0.drain(..zeros);
        let shift = self.0.first().map_or(0, |digit| digit.trailing_zeros());
        let mut above = 0;
        for digit in self.0.iter_mut().rev() {
            let wide = u64::from(above) << 32 | u64::from(*digit);
            above = *digit;
            *digit = (wide >> shift) as u32;
        }
        self.trim();
        zeros as i64 * 32 + i64::from(shift)
    }

    /// Divides by five as often as possible, at most `at_most` times. Returns the number of
    /// divisions.
    pub(crate) fn take_fives(&mut self, at_most: u32) -> u32 {
        let mut taken = 0;
        for step in [FIVES, 1] {
            while taken + step <= at_most && self.divide_exactly(5u32.pow(step)) {
                taken += step;
            }
        }
        taken
    }

    pub(crate) fn multiply_by_fives(&mut self, fives: u32) {
        for _ in 0..fives / FIVES {
            self.multiply_and_add(5u32.pow(FIVES), 0);
        }
        self.multiply_and_add(5u32.pow(fives % FIVES), 0);
    }

    /// Divides the number and returns true, if there is no remainder. Otherwise the number is
    /// unchanged.
    fn divide_exactly(&mut self, by: u32) -> bool {
        let mut rest = 0;
        let mut quotient = self.0.clone();
        for digit in quotient.iter_mut().rev() {
            let wide = rest << 32 | u64::from(*digit);
            *digit = (wide / u64::from(by)) as u32;
            rest = wide % u64::from(by);
        }
        let is_exact = rest == 0 && !self.is_zero();
        if is_exact {
            *self = Self::trimmed(quotient);
        }
        is_exact
    }

    fn multiply_and_add(&mut self, by: u32, more: u32) {
        let mut carry = u64::from(more);
        for digit in &mut self.0 {
            let wide = u64::from(*digit) * u64::from(by) + carry;
            *digit = wide as u32;
            carry = wide >> 32;
        }
        self.0.extend((carry != 0).then_some(carry as u32));
    }

    fn trimmed(digits: Vec<u32>) -> Self {
        let mut number = Self(digits);
        number.trim();
        number
    }

    fn trim(&mut self) {
        let last = self.0.iter().rposition(|digit| *digit != 0);
        self.0.truncate(last.map_or(0, |last| last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_digits(text: &str) -> Magnitude {
        Magnitude::of_digits(text.bytes()).expect("digits")
    }

    #[test]
    fn digits_and_twos_complement_agree() {
        for (text, bytes) in [
            ("0", &[][..]),
            ("255", &[0xff, 0]),
            ("4294967296", &[0, 0, 0, 0, 1]),
            ("18446744073709551616", &[0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            assert_eq!(
                Magnitude::of_twos_complement(bytes),
                (false, of_digits(text))
            );
        }
        for (text, bytes) in [
            ("1", &[0xff][..]),
            ("128", &[0x80]),
            ("2147483648", &[0, 0, 0, 0x80]),
            ("4294967296", &[0, 0, 0, 0, 0xff]),
        ] {
            let expected = (true, of_digits(text));
            assert_eq!(Magnitude::of_twos_complement(bytes), expected);
        }
        assert_eq!(Magnitude::of_digits(b"1_0".iter().copied()), None);
    }

    #[test]
    fn powers_of_two_and_five_are_divided_and_multiplied() {
        let mut number = of_digits("3");
        number.multiply_by_fives(40);
        assert_eq!(number, of_digits("27284841053187847137451171875"));
        assert_eq!(number.take_fives(33), 33);
        assert_eq!(number, of_digits("234375"));
        assert_eq!(number.take_fives(33), 7);
        assert_eq!(number, of_digits("3"));
        let mut number = Magnitude::of_twos_complement(&[&[0; 9][..], &[0x30]].concat()).1;
        assert_eq!(number.take_twos(), 76);
        assert_eq!(number, Magnitude::new(3));
        assert_eq!(Magnitude::new(0).take_twos(), 0);
        assert_eq!(Magnitude::new(0).take_fives(3), 0);
    }
}
