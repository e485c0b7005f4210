//! The message that the broker has in hand, so that it is known which one ends it.

use std::fmt;

/// Of a message, what stands in so many bytes at either end of it makes it known again.
const ENDS_BYTES: usize = 64;
const WORD_BYTES: usize = size_of::<u64>();
const WORDS: usize = ENDS_BYTES / WORD_BYTES;

/// Who sends such a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// The executor, on the channel of tasks.
    Task = 1,
    /// A manager.
    Manager = 2,
    /// The executor, on the channel of commands.
    Command = 3,
}

impl MessageKind {
    const ALL: [Self; 3] = [Self::Task, Self::Manager, Self::Command];

    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Task => "a task message",
            Self::Manager => "a manager's message",
            Self::Command => "a command",
        }
    }
}

/// A message, as far as it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub kind: MessageKind,
    /// How long it is.
    pub bytes: u64,
    pub(super) digest: u64,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = (self.kind.name(), self.bytes);
        let plural = if bytes == 1 { "" } else { "s" };
        write!(f, "{name} of {} byte{plural}", grouped(bytes))
    }
}

/// Of the bytes at both ends. It is taken of every message: no step waits for the one before it.
#[inline]
pub(super) fn digest(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => sum(first, &KEYS[0]).wrapping_add(sum(last, &KEYS[1])),
        _ => {
            let mut all = [0; ENDS_BYTES];
            all[..bytes.len()].copy_from_slice(bytes);
            sum(&all, &KEYS[0])
        }
    }
}

/// The halves of a word, each with a key of its place, are multiplied with each other, which one
/// instruction does for several words at once; and the word itself is added, so that a half that
/// comes to nothing hides no other.
#[inline]
fn sum(bytes: &[u8; ENDS_BYTES], keys: &[u64; WORDS]) -> u64 {
    let (words, _) = bytes.as_chunks::<WORD_BYTES>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    let products = words.zip(keys).map(|(word, key)| {
        let keyed = word ^ key;
        (keyed & u64::from(u32::MAX))
            .wrapping_mul(keyed >> 32)
            .wrapping_add(word)
    });
    products.fold(0, u64::wrapping_add)
}

/// One for each place of a word, so that words that change places are seen.
const KEYS: [[u64; WORDS]; 2] = {
    let mut keys = [[0; WORDS]; 2];
    let mut place = 0;
    while place < 2 * WORDS {
        // The golden ratio's bits.
        let key = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * place as u64 + 1);
        keys[place / WORDS][place % WORDS] = key;
        place += 1;
    }
    keys
};

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_message_is_told_by_its_kind_and_size() {
        let told = |kind, bytes| {
            let message = Message {
                kind,
                bytes,
                digest: 0,
            };
            message.to_string()
        };
        assert_eq!(
            told(MessageKind::Task, 1234),
            "a task message of 1,234 bytes"
        );
        assert_eq!(
            told(MessageKind::Manager, 1),
            "a manager's message of 1 byte"
        );
        assert_eq!(told(MessageKind::Command, 0), "a command of 0 bytes");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    /// Any bit of either end changes it, and so do words that change places.
    #[test]
    fn what_differs_at_an_end_is_another_message() {
        for length in [1, 7, 8, 9, 63, 64, 65, 100, 128, 1000] {
            let message: Vec<u8> = (0..length).map(|place| (place * 7) as u8).collect();
            let mut seen = HashSet::from([digest(&message)]);
            let ends = (0..length).filter(|place| *place < 64 || *place + 64 >= length);
            for place in ends {
                let mut other = message.clone();
                other[place] ^= 0x80;
                assert!(seen.insert(digest(&other)), "byte {place} of {length}");
            }
            if length >= 16 {
                let mut other = message.clone();
                other[..16].rotate_left(8);
                assert!(seen.insert(digest(&other)), "{length}");
            }
        }
        assert_eq!(digest(&[0; 1000]), digest(&[0; 1000]));
    }
}
