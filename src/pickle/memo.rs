//! Which memo entries have been written: what a walk over a pickle keeps instead of the entries.
//!
//! It never takes more than a bit for each byte that was received, and nothing at all for a memo
//! that is numbered without gaps.

use crate::error::Fault;

/// Which memo entries have been written: all below `dense`, and those whose bits are set.
#[derive(Debug)]
pub(crate) struct Memo {
    limit: usize,
    dense: usize,
    bits: Vec<u64>,
    scattered: usize,
}

impl Memo {
    /// The memo of a pickle of `limit` bytes, whose indices must stay below that.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            dense: 0,
            bits: Vec::new(),
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
        let place = usize::try_from(index)
            .ok()
            .filter(|&place| place < self.limit);
        let place = place.ok_or(Fault::MemoIndexTooLarge(index))?;
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
        let bit = 1 << (place % 64);
        let scattered = self
            .bits
            .get(place / 64)
            .is_some_and(|word| word & bit != 0);
        if place < self.dense || scattered {
            Ok(())
        } else {
            Err(Fault::MemoMissing(index))
        }
    }

    /// A pickle that numbers its memo entries with gaps: one bit for each index up to the largest,
    /// which is less than one for each byte received.
    #[cold]
    fn scatter(&mut self, place: usize) {
        if self.bits.len() <= place / 64 {
            self.bits.resize(place / 64 + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(place / 64) {
            let bit = 1 << (place % 64);
            self.scattered += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }
}
