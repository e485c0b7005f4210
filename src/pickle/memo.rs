//! What a walk over a pickle keeps in place of the memo.
//!
//! It takes nothing but the entries for a memo that is numbered without gaps; beyond that it costs
//! what was written, never how far the indices reach: one entry with a great index in a long
//! message must not take a table of the message's length.

use std::collections::BTreeMap;

use crate::error::Fault;

/// How many words of bits a page has. With 512 indices to a page a memo that touches every page
/// takes less than a third of a byte for each byte that was received.
const PAGE_WORDS: usize = 8;

/// Indices to a page.
const PAGE_INDICES: usize = PAGE_WORDS * u64::BITS as usize;

/// Which memo entries have been written: all below `dense`, and those whose bits are set.
#[derive(Debug)]
pub(crate) struct Memo {
    limit: usize,
    dense: usize,
    pages: BTreeMap<usize, [u64; PAGE_WORDS]>,
    scattered: usize,
}

impl Memo {
    /// The memo of a pickle of `limit` bytes, whose indices must stay below that.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            dense: 0,
            pages: BTreeMap::new(),
            scattered: 0,
        }
    }

    /// MEMOIZE: writes the entry whose index is the number of entries.
    #[inline]
    pub(crate) fn write_next(&mut self) -> Result<(), Fault> {
        self.write((self.dense + self.scattered) as u64)
    }

    /// PUT and its like.
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

    /// GET and its like.
    pub(crate) fn read(&self, index: u64) -> Result<(), Fault> {
        let place = usize::try_from(index).map_err(|_| Fault::MemoMissing(index))?;
        if place < self.dense || self.is_scattered(place) {
            Ok(())
        } else {
            Err(Fault::MemoMissing(index))
        }
    }

    /// A pickle that numbers its memo entries with gaps: one page for each stretch of indices of
    /// which it writes any.
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

/// A memo with its entries, for who builds objects: those without gaps in a row, the others by
/// their index.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    limit: usize,
    row: Vec<T>,
    far: BTreeMap<usize, T>,
}

impl<T: Copy> Entries<T> {
    /// The memo of a pickle of `limit` bytes, whose indices must stay below that.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            row: Vec::new(),
            far: BTreeMap::new(),
        }
    }

    /// MEMOIZE: writes the entry whose index is the number of entries.
    pub(crate) fn write_next(&mut self, entry: T) -> Result<(), Fault> {
        self.write((self.row.len() + self.far.len()) as u64, entry)
    }

    /// PUT and its like.
    pub(crate) fn write(&mut self, index: u64, entry: T) -> Result<(), Fault> {
        let place = place_below(self.limit, index)?;
        if let Some(known) = self.row.get_mut(place) {
            *known = entry;
        } else if place == self.row.len() {
            self.row.push(entry);
            // No entry stands in both, so that both together count them.
            self.far.remove(&place);
        } else {
            self.far.insert(place, entry);
        }
        Ok(())
    }

    /// GET and its like.
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

/// Page, word and bit of an index.
const fn coordinates(place: usize) -> (usize, usize, u64) {
    let within = place % PAGE_INDICES;
    let bits = u64::BITS as usize;
    (place / PAGE_INDICES, within / bits, 1 << (within % bits))
}
