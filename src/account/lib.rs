//! Counts the bytes that were handed over to libzmq and that libzmq has not released.
//!
//! The event loop counts the bytes that it hands over. The thread that drops a [`Receipt`] counts
//! the bytes that are released. So no counter is written by both. There is no reference count
//! either: counters live as long as the process and are reused.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bit in a counter that is set while its account does not count towards the whole.
const SET_APART: usize = 1 << (usize::BITS - 1);

/// The bytes that were handed over, and how many of them are not released yet.
#[derive(Debug)]
pub struct Account {
    handed_over: usize,
    released: &'static Released,
    /// Counters of closed parts, for reuse.
    spare: Vec<&'static Released>,
}

/// Stands for bytes that were handed over. It is dropped when the bytes are released.
#[derive(Debug)]
pub struct Receipt {
    bytes: usize,
    released: &'static Released,
}

/// The counter of released bytes. It has its own cache line because another thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Released {
    bytes: AtomicUsize,
    whole: Option<&'static Self>,
}

impl Default for Account {
    fn default() -> Self {
        let released = Released::default();
        Self {
            handed_over: 0,
            released: Box::leak(Box::new(released)),
            spare: Vec::new(),
        }
    }
}

impl Account {
    /// Makes an account that is a part of `whole`: its bytes also count in `whole`.
    pub fn part_of(whole: &mut Self) -> Self {
        let released = whole.spare.pop().unwrap_or_else(|| {
            Box::leak(Box::new(Released {
                bytes: AtomicUsize::new(0),
                whole: Some(whole.released),
            }))
        });
        Self {
            handed_over: released.bytes.load(Ordering::Relaxed),
            released,
            spare: Vec::new(),
        }
    }

    /// Ends this part of `whole`. Its counter is reused if no bytes of the part are pending.
    pub fn close(mut self, whole: &mut Self) {
        self.rejoin(whole);
        if self.bytes() == 0 {
            whole.spare.push(self.released);
        }
    }

    /// Returns the number of bytes that were handed over and are not released.
    pub fn bytes(&self) -> usize {
        self.handed_over - (self.counter() & !SET_APART)
    }

    /// Counts bytes as handed over until the receipt is dropped.
    pub fn hand_over(&mut self, bytes: usize) -> Receipt {
        self.handed_over += bytes;
        Receipt {
            bytes,
            released: self.released,
        }
    }

    /// The same as [`Self::hand_over`], for an account that is a part of `whole`.
    pub fn hand_over_of(&mut self, whole: &mut Self, bytes: usize) -> Receipt {
        self.rejoin(whole);
        whole.handed_over += bytes;
        self.hand_over(bytes)
    }

    /// Excludes the pending bytes of this part from `whole`.
    pub fn set_apart(&mut self, whole: &mut Self) {
        let before = self.released.bytes.fetch_or(SET_APART, Ordering::Relaxed);
        if before & SET_APART == 0 {
            whole.handed_over -= self.handed_over - before;
        }
    }

    /// Counts the pending bytes of this part in `whole` again.
    pub fn rejoin(&mut self, whole: &mut Self) {
        if self.is_set_apart() {
            let before = self.released.bytes.fetch_and(!SET_APART, Ordering::Relaxed);
            whole.handed_over += self.handed_over - (before & !SET_APART);
        }
    }

    /// Whether the pending bytes of this account are excluded from the whole.
    pub fn is_set_apart(&self) -> bool {
        self.counter() & SET_APART != 0
    }

    fn counter(&self) -> usize {
        self.released.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Receipt {
    /// Counts the bytes as released. Any thread may drop a receipt.
    fn drop(&mut self) {
        let counter = &self.released.bytes;
        let before = counter.fetch_add(self.bytes, Ordering::Relaxed);
        if before & SET_APART == 0
            && let Some(whole) = self.released.whole
        {
            whole.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_counts_for_the_whole_unless_it_is_set_apart() {
        let mut whole = Account::default();
        let [mut gone, mut there] = [(); 2].map(|()| Account::part_of(&mut whole));
        let of_gone = [10, 4].map(|bytes| gone.hand_over_of(&mut whole, bytes));
        let of_there = there.hand_over_of(&mut whole, 5);
        let [first, second] = of_gone;
        for _ in 0..2 {
            gone.set_apart(&mut whole);
            assert_eq!((gone.bytes(), whole.bytes()), (14, 5));
        }
        drop(first);
        assert_eq!((gone.bytes(), whole.bytes()), (4, 5));
        for _ in 0..2 {
            gone.rejoin(&mut whole);
            assert_eq!((gone.bytes(), whole.bytes()), (4, 9));
        }
        drop(second);
        drop(of_there);
        assert_eq!((gone.bytes(), there.bytes(), whole.bytes()), (0, 0, 0));
    }

    #[test]
    fn a_part_counts_again_once_it_is_handed_more() {
        let mut whole = Account::default();
        let mut part = Account::part_of(&mut whole);
        let _before = part.hand_over_of(&mut whole, 10);
        part.set_apart(&mut whole);
        let _after = part.hand_over_of(&mut whole, 1);
        assert_eq!((part.bytes(), whole.bytes()), (11, 11));
    }

    #[test]
    fn a_counter_is_reused_once_all_bytes_are_released() {
        let mut whole = Account::default();
        let mut part = Account::part_of(&mut whole);
        drop(part.hand_over_of(&mut whole, 10));
        part.set_apart(&mut whole);
        part.close(&mut whole);
        assert_eq!(whole.spare.len(), 1);
        let mut next = Account::part_of(&mut whole);
        assert!(whole.spare.is_empty());
        let receipt = next.hand_over_of(&mut whole, 3);
        assert_eq!((next.bytes(), whole.bytes()), (3, 3));
        next.close(&mut whole);
        assert!(whole.spare.is_empty());
        drop(receipt);
        assert_eq!(whole.bytes(), 0);
    }
}
