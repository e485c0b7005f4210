//! Where a record stands: its head, and its bytes behind. It counts from the store of its word,
//! which is the last, until zero is stored there, which is the first of all that follows.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stores;

/// What stands before the bytes of each record.
#[repr(C)]
struct Head {
    fields: [AtomicU64; 4],
    /// From low to high: 40 bits of the length, 8 of the kind and 16 that prove it.
    word: AtomicU64,
}

pub(crate) const HEAD_BYTES: usize = size_of::<Head>();
const LENGTH_BITS: u32 = 40;
const PROOF_BITS: u32 = 16;
/// Slots stand at multiples of it.
const WORD_BYTES: usize = size_of::<u64>();

/// Of a mapping that lives.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    head: NonNull<Head>,
}

impl Slot {
    /// How much a record of this length takes. None if there are no such records.
    pub(crate) fn bytes_for(length: usize) -> Option<usize> {
        let is_told = length as u64 >> LENGTH_BITS == 0;
        is_told.then(|| HEAD_BYTES + length)
    }

    /// # Safety
    /// There is memory for the head and all that is filled in, as long as it is used; it is aligned
    /// to eight bytes.
    pub(crate) unsafe fn at(memory: NonNull<u8>) -> Self {
        Self {
            head: memory.cast(),
        }
    }

    /// Makes a record of it. The slot is free, and has room.
    pub(crate) fn fill(self, place: u64, kind: u8, fields: [u64; 4], parts: &[&[u8]]) {
        let head = self.head();
        for (field, value) in head.fields.iter().zip(fields) {
            stores::store_relaxed(field, value);
        }
        let mut length = 0;
        for part in parts {
            // SAFETY: it was taken for this length, and nobody knows of it.
            unsafe { stores::copy(part, self.start().add(length)) };
            length += part.len();
        }
        stores::store(&head.word, word_of(place, kind, length));
    }

    /// It is free.
    pub(crate) fn clear(self) {
        stores::store(&self.head().word, 0);
    }

    /// Whether there is a record, for which there is room.
    pub(crate) fn is_record(self, place: u64, room: usize) -> bool {
        let word = self.head().word.load(Ordering::Acquire);
        let (kind, length) = (kind_of(word), length_of(word));
        word == word_of(place, kind, length) && HEAD_BYTES + length <= room
    }

    /// How much of its slot a record takes.
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
    /// It holds a record, which lives as long as they are used and is not overwritten meanwhile.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: so many were written before the word was, and for the rest the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start(), length_of(self.word())) }
    }

    /// # Safety
    /// It holds a record of this length, and nobody borrows its bytes.
    pub(crate) unsafe fn overwrite(self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: it stands within the record, and the head's size is a multiple of eight.
            let at = unsafe { &*self.start().cast::<AtomicU64>().add(index) };
            stores::store_relaxed(at, u64::from_ne_bytes(*word));
        }
        // SAFETY: the rest of the record, and the caller's promise.
        unsafe { stores::copy(rest, self.start().add(words.len() * WORD_BYTES)) };
    }

    fn word(self) -> u64 {
        self.head().word.load(Ordering::Relaxed)
    }

    fn head<'a>(self) -> &'a Head {
        // SAFETY: any bits are a head, and nobody writes there but through it.
        unsafe { self.head.as_ref() }
    }

    fn start(self) -> *mut u8 {
        // SAFETY: the end of the head is within the slot, or its end.
        unsafe { self.head.as_ptr().add(1).cast() }
    }
}

fn length_of(word: u64) -> usize {
    (word & ((1 << LENGTH_BITS) - 1)) as usize
}

fn kind_of(word: u64) -> u8 {
    (word >> LENGTH_BITS) as u8
}

/// Never 0. It counts at this place alone, so that bytes of a task are hardly ever taken for it.
pub(crate) fn word_of(place: u64, kind: u8, length: usize) -> u64 {
    proven(length as u64 | u64::from(kind) << LENGTH_BITS, place)
}

/// With proof in its upper bits, which are never zero.
pub(crate) fn proven(value: u64, place: u64) -> u64 {
    // The mixer of splitmix64.
    let mut mixed = value ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let proof = mixed >> (u64::BITS - PROOF_BITS) | 1;
    value | proof << (u64::BITS - PROOF_BITS)
}
