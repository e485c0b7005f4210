//! Identifies the message that the broker is processing, so that a message which repeatedly ends
//! the broker is recognised.

use std::fmt;

/// Number of bytes at each end of a message that identify it.
const ENDS_BYTES: usize = 64;
const WORD_BYTES: usize = size_of::<u64>();
const WORDS: usize = ENDS_BYTES / WORD_BYTES;

/// The sender of a message.
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

/// The features by which a message is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The sender of the message.
    pub kind: MessageKind,
    /// Length of the message.
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

/// Computes a digest of the bytes at both ends. Every message gets one, so it is fast: the steps do
/// not depend on each other.
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

/// Combines the words with keys. Each word is XORed with the key of its position, and the halves of
/// the result are multiplied; one instruction does this for several words at once. The word itself
/// is added, so that a half that is zero does not hide changes in the other.
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

/// One key per position of a word, so that swapped words change the digest.
const KEYS: [[u64; WORDS]; 2] = {
    let mut keys = [[0; WORDS]; 2];
    let mut place = 0;
    while place < 2 * WORDS {
        // The bits of the golden ratio.
        let key = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * place as u64 + 1);
        keys[place / WORDS][place % WORDS] = key;
        place += 1;
    }
    keys
};

/// Formats a number such as `1,234,567`.
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
    fn a_message_is_described_by_its_kind_and_size() {
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

    /// Any changed bit at either end changes the digest, and so do swapped words.
    #[test]
    fn a_difference_at_either_end_changes_the_digest() {
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
