//! A slot for one record: a head, and the record's bytes behind it. Storing the head's word is the
//! last step of writing, and makes the record valid. Storing zero there is the first step of
//! dropping it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stores;

/// The head before the bytes of each record.
#[repr(C)]
struct Head {
    fields: [AtomicU64; 4],
    /// From low to high: 40 bits of the length, 8 bits of the kind and 16 bits of a check value.
    word: AtomicU64,
}

pub(crate) const HEAD_BYTES: usize = size_of::<Head>();
const LENGTH_BITS: u32 = 40;
const PROOF_BITS: u32 = 16;
/// Slots begin at multiples of this length.
const WORD_BYTES: usize = size_of::<u64>();

/// A slot in a mapping that exists.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    head: NonNull<Head>,
}

impl Slot {
    /// Returns the length of a slot for a record of this length. None if a record cannot be so
    /// long.
    pub(crate) fn bytes_for(length: usize) -> Option<usize> {
        let is_told = length as u64 >> LENGTH_BITS == 0;
        is_told.then(|| HEAD_BYTES + length)
    }

    /// # Safety
    /// The head and all bytes that are filled in have memory as long as the slot is used. The
    /// address is aligned to eight bytes.
    pub(crate) unsafe fn at(memory: NonNull<u8>) -> Self {
        Self {
            head: memory.cast(),
        }
    }

    /// Writes a record into the slot, which must be free and long enough.
    pub(crate) fn fill(self, place: u64, kind: u8, fields: [u64; 4], parts: &[&[u8]]) {
        let head = self.head();
        for (field, value) in head.fields.iter().zip(fields) {
            stores::store_relaxed(field, value);
        }
        let mut length = 0;
        for part in parts {
            // SAFETY: the slot was taken for this length, and no other code uses it.
            unsafe { stores::copy(part, self.start().add(length)) };
            length += part.len();
        }
        stores::store(&head.word, word_of(place, kind, length));
    }

    /// Makes the slot free.
    pub(crate) fn clear(self) {
        stores::store(&self.head().word, 0);
    }

    /// Whether the slot holds a record that fits into `room` bytes.
    pub(crate) fn is_record(self, place: u64, room: usize) -> bool {
        let word = self.head().word.load(Ordering::Acquire);
        let (kind, length) = (kind_of(word), length_of(word));
        word == word_of(place, kind, length) && HEAD_BYTES + length <= room
    }

    /// Returns the number of bytes of the slot that the record uses.
    pub(crate) fn taken_bytes(self) -> usize {
        HEAD_BYTES + length_of(self.word())
    }

    pub(crate) fn kind(self) -> u8 {
        kind_of(self.word())
    }

    pub(crate) fn field(self, index: usize) -> u64 {
        self.head().fields[index].load(Ordering::Acquire)
    }

    pub(crate) fn set_field(self, index: usize, value: u64) {
        stores::store(&self.head().fields[index], value);
    }

    /// # Safety
    /// The slot holds a record that exists as long as the bytes are used and is not overwritten in
    /// that time.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: this many bytes were written before the word was. For the rest, the caller's
        // promise holds.
        unsafe { std::slice::from_raw_parts(self.start(), length_of(self.word())) }
    }

    /// # Safety
    /// The slot holds a record of this length, and no code borrows its bytes.
    pub(crate) unsafe fn overwrite(self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: the word is within the record, and the head's size is a multiple of eight.
            let at = unsafe { &*self.start().cast::<AtomicU64>().add(index) };
            stores::store_relaxed(at, u64::from_ne_bytes(*word));
        }
        // SAFETY: the bytes are the rest of the record; for them the caller's promise holds.
        unsafe { stores::copy(rest, self.start().add(words.len() * WORD_BYTES)) };
    }

    fn word(self) -> u64 {
        self.head().word.load(Ordering::Relaxed)
    }

    fn head<'a>(self) -> &'a Head {
        // SAFETY: every bit pattern is a valid head, and all writes to it go through atomics.
        unsafe { self.head.as_ref() }
    }

    fn start(self) -> *mut u8 {
        // SAFETY: the end of the head is within the slot or at its end.
        unsafe { self.head.as_ptr().add(1).cast() }
    }
}

fn length_of(word: u64) -> usize {
    (word & ((1 << LENGTH_BITS) - 1)) as usize
}

fn kind_of(word: u64) -> u8 {
    (word >> LENGTH_BITS) as u8
}

/// Returns the head's word, which is never 0. It is valid at this place only, so that the bytes of
/// a task are hardly ever mistaken for it.
pub(crate) fn word_of(place: u64, kind: u8, length: usize) -> u64 {
    proven(length as u64 | u64::from(kind) << LENGTH_BITS, place)
}

/// Adds a check value in the upper bits, which are never all zero.
pub(crate) fn proven(value: u64, place: u64) -> u64 {
    // The mixing function of splitmix64.
    let mut mixed = value ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let proof = mixed >> (u64::BITS - PROOF_BITS) | 1;
    value | proof << (u64::BITS - PROOF_BITS)
}
