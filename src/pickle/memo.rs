//! Models of the memo for a walk over a pickle.
//!
//! A memo that is numbered without gaps costs no more than its entries. With gaps, the cost depends
//! on the entries written, never on the largest index: one entry with a large index in a long
//! message must not allocate a table of the message's length.

use std::collections::BTreeMap;

use crate::error::Fault;

/// Words of bits in a page. With 512 indices in a page, a memo that touches every page takes less
/// than a third of a byte for each received byte.
const PAGE_WORDS: usize = 8;

/// Number of indices in a page.
const PAGE_INDICES: usize = PAGE_WORDS * u64::BITS as usize;

/// The set of memo entries that have been written: all below `dense`, and those whose bits are set.
#[derive(Debug)]
pub(crate) struct Memo {
    limit: usize,
    dense: usize,
    pages: BTreeMap<usize, [u64; PAGE_WORDS]>,
    scattered: usize,
}

impl Memo {
    /// Creates an empty memo for a pickle of `limit` bytes. All indices must be below `limit`.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            dense: 0,
            pages: BTreeMap::new(),
            scattered: 0,
        }
    }

    /// Executes MEMOIZE: writes the entry whose index is the number of entries.
    #[inline]
    pub(crate) fn write_next(&mut self) -> Result<(), Fault> {
        self.write((self.dense + self.scattered) as u64)
    }

    /// Executes PUT or one of its variants.
    #[inline]
    pub(crate) fn write(&mut self, index: u64) -> Result<(), Fault> {
        let place = place_below(self.limit, index)?;
        if place == self.dense && self.scattered == 0 {
            self.dense += 1;
        } else if place >= self.dense {
            self.scatter(place);
        }
        Ok(())
    }

    /// Executes GET or one of its variants.
    pub(crate) fn read(&self, index: u64) -> Result<(), Fault> {
        let place = usize::try_from(index).map_err(|_| Fault::MemoMissing(index))?;
        if place < self.dense || self.is_scattered(place) {
            Ok(())
        } else {
            Err(Fault::MemoMissing(index))
        }
    }

    /// Marks an entry as written in a memo that has gaps. Each range of indices with any entry
    /// takes one page.
    #[cold]
    fn scatter(&mut self, place: usize) {
        let (page, word, bit) = coordinates(place);
        let words = self.pages.entry(page).or_insert([0; PAGE_WORDS]);
        if let Some(word) = words.get_mut(word) {
            self.scattered += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn is_scattered(&self, place: usize) -> bool {
        let (page, word, bit) = coordinates(place);
        let words = self.pages.get(&page);
        words
            .and_then(|words| words.get(word))
            .is_some_and(|word| word & bit != 0)
    }
}

/// A memo with its entries, for a walk that builds objects. Entries without gaps are in a `Vec`,
/// all others in a map by index.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    limit: usize,
    row: Vec<T>,
    far: BTreeMap<usize, T>,
}

impl<T: Copy> Entries<T> {
    /// Creates an empty memo for a pickle of `limit` bytes. All indices must be below `limit`.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            row: Vec::new(),
            far: BTreeMap::new(),
        }
    }

    /// Executes MEMOIZE: writes the entry whose index is the number of entries.
    pub(crate) fn write_next(&mut self, entry: T) -> Result<(), Fault> {
        self.write((self.row.len() + self.far.len()) as u64, entry)
    }

    /// Executes PUT or one of its variants.
    pub(crate) fn write(&mut self, index: u64, entry: T) -> Result<(), Fault> {
        let place = place_below(self.limit, index)?;
        if let Some(known) = self.row.get_mut(place) {
            *known = entry;
        } else if place == self.row.len() {
            self.row.push(entry);
            // An entry is never in both collections, so the sum of their lengths is the number of
            // entries.
            self.far.remove(&place);
        } else {
            self.far.insert(place, entry);
        }
        Ok(())
    }

    /// Executes GET or one of its variants.
    pub(crate) fn read(&self, index: u64) -> Result<T, Fault> {
        let entry = usize::try_from(index)
            .ok()
            .and_then(|place| self.row.get(place).or_else(|| self.far.get(&place)));
        entry.copied().ok_or(Fault::MemoMissing(index))
    }
}

#[inline]
fn place_below(limit: usize, index: u64) -> Result<usize, Fault> {
    let place = usize::try_from(index).ok().filter(|&place| place < limit);
    place.ok_or(Fault::MemoIndexTooLarge(index))
}

/// Returns the page, the word and the bit of an index.
const fn coordinates(place: usize) -> (usize, usize, u64) {
    let within = place % PAGE_INDICES;
    let bits = u64::BITS as usize;
    (place / PAGE_INDICES, within / bits, 1 << (within % bits))
}
