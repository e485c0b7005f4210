//! The broker's state in memory that outlives the broker. Each record is either there completely or
//! not at all, at whatever instruction its writer is killed.
//!
//! [`Memory`] is a file without a name. A process opens it as a [`Journal`], writes records and
//! drops them. When the process has ended, the next one opens the same memory and finds every
//! record that was written and not dropped, at its place.
//!
//! The parts, from small to large:
//!
//! | what | file |
//! | --- | --- |
//! | a record is valid once its last word is stored, and until zero is stored there | `slot` |
//! | slots of one size form a segment, also valid by one word; all else is zero | `segment` |
//! | the sizes of slots | `class` |
//! | the places in the file that are free for segments | `extents` |
//! | free slots and units: known to the writer only, found again at opening | `pages`, `opening` |
//! | pages of the system, reserved before they are touched | `memory` |
//! | each store to the pages, so that tests can let the writer end before any of them | `stores` |

mod class;
mod extents;
mod memory;
mod opening;
mod pages;
mod segment;
mod slot;
mod stores;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use nix::errno::Errno;

pub use memory::Memory;

use pages::Pages;
use slot::Slot;

/// The system has no memory for a write. The journal has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory for the journal: {0}")]
pub struct Refused(Errno);

/// A journal, which writes records. Only one process may have a memory open at a time, and only in
/// one thread.
#[derive(Clone)]
pub struct Journal {
    pages: Rc<RefCell<Pages>>,
    refused: Rc<Cell<Option<Refused>>>,
}

impl Journal {
    /// Opens a journal. Also returns every record that an earlier writer left, in no particular
    /// order.
    ///
    /// # Errors
    /// The system cannot map the memory, or cannot release unused pages.
    pub fn open(memory: &Memory) -> io::Result<(Self, Vec<Record>)> {
        let mut pages = Pages::new(memory.clone());
        let places = opening::adopt(&mut pages)?;
        let journal = Self {
            pages: Rc::new(RefCell::new(pages)),
            refused: Rc::default(),
        };
        let records = places.into_iter().map(|place| journal.record(place));
        let records = records.collect();
        Ok((journal, records))
    }

    /// Writes a record. Its bytes are the concatenation of `parts`.
    ///
    /// # Errors
    /// The system has no memory. The journal has not changed then.
    pub fn write(&self, kind: u8, fields: [u64; 4], parts: &[&[u8]]) -> Result<Record, Refused> {
        let length = parts
            .iter()
            .fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        let (place, slot) = {
            let mut pages = self.pages.borrow_mut();
            let place = pages
                .take(length)
                .inspect_err(|refused| self.refused.set(Some(*refused)))?;
            (place, pages.slot(place))
        };
        slot.fill(place, kind, fields, parts);
        Ok(self.record(place))
    }

    /// Returns why the last failed write failed; None if no write ever failed. After a failed write
    /// the journal is incomplete.
    pub fn refused(&self) -> Option<Refused> {
        self.refused.get()
    }

    /// Returns the number of bytes that are allocated from the system.
    pub fn bytes(&self) -> usize {
        self.pages.borrow().bytes()
    }

    fn record(&self, place: u64) -> Record {
        Record {
            pages: Rc::clone(&self.pages),
            place,
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        f.debug_struct("Journal").field("bytes", &bytes).finish()
    }
}

/// A record in the journal. Dropping it removes the record from the journal.
pub struct Record {
    pages: Rc<RefCell<Pages>>,
    /// The record's place in the file; mapped addresses differ from process to process.
    place: u64,
}

impl Record {
    /// Returns the kind that was written.
    pub fn kind(&self) -> u8 {
        self.slot().kind()
    }

    /// Returns one of the four fields.
    ///
    /// # Panics
    /// The index is above 3.
    pub fn field(&self, index: usize) -> u64 {
        self.slot().field(index)
    }

    /// Stores a field. After a crash, a reader finds either the old value or the new one.
    ///
    /// # Panics
    /// The index is above 3.
    pub fn set_field(&self, index: usize, value: u64) {
        self.slot().set_field(index, value);
    }

    /// Returns the bytes as they were last written.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: only `overwrite` writes to them, which borrows the whole record, and a new record
        // in the same slot after this one is dropped.
        unsafe { self.slot().bytes() }
    }

    /// Replaces the bytes by others of the same length. After a crash, a reader may find any
    /// mixture of old and new eight-byte words. This suits data such as counters.
    ///
    /// # Panics
    /// The length differs.
    pub fn overwrite(&mut self, bytes: &[u8]) {
        assert_eq!(
            bytes.len(),
            self.bytes().len(),
            "a record's length is fixed"
        );
        // SAFETY: the length is right, and no code borrows the bytes.
        unsafe { self.slot().overwrite(bytes) };
    }

    fn slot(&self) -> Slot {
        self.pages.borrow().slot(self.place)
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !stores::is_over() {
            self.pages.borrow_mut().free(self.place);
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("kind", &self.kind())
            .field("fields", &[0, 1, 2, 3].map(|index| self.field(index)))
            .field("bytes", &self.bytes().len())
            .finish()
    }
}
