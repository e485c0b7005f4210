//! What a broker knows, in memory that outlives it: records that are there wholly or not at all,
//! at whatever instruction their writer is killed.
//!
//! [`Memory`] is a file without a name. A process opens it as a [`Journal`], writes records there
//! and drops them; when it has ended, the next one opens the same memory, and has every record back
//! that was written and not dropped, where it lies.
//!
//! What makes that hold, from small to large:
//!
//! | what | file |
//! | --- | --- |
//! | a record counts from the store of one word, the last, to the store of zero there | `slot` |
//! | slots of one size make a segment, which counts by a word too; all beside is zero | `segment` |
//! | which sizes there are | `class` |
//! | where segments may lie in the file | `extents` |
//! | what is free: known to the writer alone, and found again at opening | `pages`, `opening` |
//! | pages of the system, asked for before they are touched | `memory` |
//! | each store to them, so that tests can have any be the last | `stores` |

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

/// The system gives no memory. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory for the journal: {0}")]
pub struct Refused(Errno);

/// Writes records. One process at a time may have a memory open, in one thread.
#[derive(Clone)]
pub struct Journal {
    pages: Rc<RefCell<Pages>>,
    refused: Rc<Cell<Option<Refused>>>,
}

impl Journal {
    /// Also every record that an earlier writer has left, in no order.
    ///
    /// # Errors
    /// The system refuses to map the memory, or to take back what is not used.
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

    /// A record, whose bytes are `parts`, one behind the other.
    ///
    /// # Errors
    /// The system gives no memory. Nothing has changed then.
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

    /// Why the last record that could not be written was not, if there ever was one: the journal
    /// has not all that it should have.
    pub fn refused(&self) -> Option<Refused> {
        self.refused.get()
    }

    /// What is taken from the system.
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

/// A record that is there. Dropping it takes it out of the journal.
pub struct Record {
    pages: Rc<RefCell<Pages>>,
    /// In the file: mappings differ from process to process.
    place: u64,
}

impl Record {
    /// As it was written.
    pub fn kind(&self) -> u8 {
        self.slot().kind()
    }

    /// One of four.
    ///
    /// # Panics
    /// There are no more.
    pub fn field(&self, index: usize) -> u64 {
        self.slot().field(index)
    }

    /// Whoever reads has the old value or the new one.
    ///
    /// # Panics
    /// There are no more than four.
    pub fn set_field(&self, index: usize, value: u64) {
        self.slot().set_field(index, value);
    }

    /// As they were written, or overwritten.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: they are written to by `overwrite` alone, which borrows all of the record, and by
        // whoever takes the slot when it is dropped.
        unsafe { self.slot().bytes() }
    }

    /// Other bytes of the same length, for what may be read as any mixture of old words and new
    /// ones, such as counters: words of eight bytes each.
    ///
    /// # Panics
    /// Their length is another one.
    pub fn overwrite(&mut self, bytes: &[u8]) {
        assert_eq!(
            bytes.len(),
            self.bytes().len(),
            "a record's length is fixed"
        );
        // SAFETY: the length is right, and nobody borrows the bytes.
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
