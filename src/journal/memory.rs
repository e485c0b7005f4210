//! Memory pages that outlive the process that writes to them.

mod file;
mod heap;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::Refused;
use crate::segment::UNIT_BYTES;

use heap::Heap;

/// Length of the pieces in which the file is mapped. They reach far beyond the end of the file:
/// mapping is cheap, but a process cannot have many mappings.
pub(crate) const WINDOW_BYTES: usize = 64 << 20;
pub(crate) const WINDOW_UNITS: u32 = (WINDOW_BYTES / UNIT_BYTES) as u32;

/// Memory that outlives a broker. Clones share the memory, also in a child process after a fork.
#[derive(Debug, Clone)]
pub struct Memory(Kind);

#[derive(Debug, Clone)]
enum Kind {
    File(Rc<File>),
    Heap(Rc<RefCell<Heap>>),
}

impl Memory {
    /// Makes a file in memory without a name. It uses no memory before a journal is written to it.
    ///
    /// # Errors
    /// The kernel has no such files, or the file cannot be grown and shrunk.
    pub fn create() -> io::Result<Self> {
        Ok(Self(Kind::File(Rc::new(file::create()?))))
    }

    /// Makes memory for tests in this process.
    pub fn on_heap() -> Self {
        Self::with_room(usize::MAX)
    }

    /// Makes memory for tests in this process, with a limit in bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self(Kind::Heap(Rc::new(RefCell::new(Heap::new(bytes)))))
    }

    /// Copies the current content to a new memory on the heap, for tests: the state that a killed
    /// writer leaves.
    ///
    /// # Errors
    /// The system cannot read its own memory.
    pub fn copied(&self) -> io::Result<Self> {
        Ok(Self::holding(&self.contents()?))
    }

    /// Returns the whole content, for tests.
    ///
    /// # Errors
    /// The system cannot read its own memory.
    pub fn contents(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len()?];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes memory on the heap with these bytes, for tests.
    pub fn holding(bytes: &[u8]) -> Self {
        let heap = Heap::holding(bytes);
        Self(Kind::Heap(Rc::new(RefCell::new(heap))))
    }

    /// Returns the length of the part that was ever used.
    pub(crate) fn len(&self) -> io::Result<usize> {
        match &self.0 {
            Kind::File(file) => Ok(file.metadata()?.len() as usize),
            Kind::Heap(heap) => Ok(heap.borrow().len()),
        }
    }

    /// Returns the word at a place, or zero behind the end. Reading allocates no page.
    pub(crate) fn word(&self, place: u64) -> io::Result<u64> {
        let mut word = [0; size_of::<u64>()];
        self.read(place, &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Allocates pages. Pages that were not touched since they were released are zero.
    pub(crate) fn take(&self, place: u64, length: usize) -> Result<(), Refused> {
        match &self.0 {
            Kind::File(file) => file::take(file, place, length),
            Kind::Heap(heap) => heap.borrow_mut().take(place as usize, length),
        }
    }

    /// Releases pages: they become zero and use no memory.
    pub(crate) fn give_back(&self, place: u64, length: usize) -> io::Result<()> {
        match &self.0 {
            Kind::File(file) => file::give_back(file, place, length),
            Kind::Heap(heap) => {
                heap.borrow_mut().give_back(place as usize, length);
                Ok(())
            }
        }
    }

    /// Reads bytes; behind the end they are zero.
    fn read(&self, place: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.0 {
            Kind::File(file) => file::read(file, place, into),
            Kind::Heap(heap) => {
                heap.borrow().read(place as usize, into);
                Ok(())
            }
        }
    }

    /// Returns the number of bytes that the system counts as allocated.
    #[cfg(test)]
    pub(crate) fn taken_bytes(&self) -> usize {
        match &self.0 {
            Kind::File(file) => file::taken_bytes(file),
            Kind::Heap(heap) => heap.borrow().taken_bytes(),
        }
    }

    /// Whether the page at a place is allocated. Always true for a file, where this is not tracked.
    #[cfg(test)]
    pub(crate) fn is_there(&self, place: u64) -> bool {
        match &self.0 {
            Kind::File(_) => true,
            Kind::Heap(heap) => heap.borrow().is_there(place as usize / heap::PAGE_BYTES),
        }
    }

    fn map(&self, first: usize, count: usize) -> io::Result<Mapping> {
        let (base, windows) = match &self.0 {
            Kind::File(file) => (file::map(file, first, count)?, count),
            Kind::Heap(heap) => heap.borrow_mut().map(first, count)?,
        };
        Ok(Mapping {
            base,
            windows,
            first,
        })
    }
}

/// Several windows that are mapped as one contiguous range.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    windows: usize,
    /// The index of the first window.
    first: usize,
}

/// The windows through which the file is mapped.
#[derive(Debug)]
pub(crate) struct Windows {
    memory: Memory,
    mappings: Vec<Mapping>,
    /// The address of each window.
    bases: Vec<NonNull<u8>>,
}

impl Windows {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            mappings: Vec::new(),
            bases: Vec::new(),
        }
    }

    /// Returns the memory behind the windows.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Maps `count` more windows in as few contiguous ranges as possible; windows that are new in
    /// the memory are in one range.
    pub(crate) fn add(&mut self, count: usize) -> io::Result<()> {
        let end = self.bases.len() + count;
        while self.bases.len() < end {
            let mapping = self.memory.map(self.bases.len(), end - self.bases.len())?;
            let bases = (0..mapping.windows).map(|index| {
                // SAFETY: the address is within the mapping.
                unsafe { mapping.base.add(index * WINDOW_BYTES) }
            });
            self.bases.extend(bases);
            self.mappings.push(mapping);
        }
        Ok(())
    }

    /// Returns the number of mapped units.
    pub(crate) fn units(&self) -> u32 {
        self.bases.len() as u32 * WINDOW_UNITS
    }

    /// Whether this unit is mapped directly behind the unit before it.
    pub(crate) fn is_joined(&self, unit: u32) -> bool {
        let window = (unit / WINDOW_UNITS) as usize;
        let mut mappings = self.mappings.iter();
        !unit.is_multiple_of(WINDOW_UNITS) || !mappings.any(|mapping| mapping.first == window)
    }

    /// Whether these units are mapped in one contiguous range.
    pub(crate) fn is_whole(&self, unit: u32, units: u32) -> bool {
        let Some(end) = unit.checked_add(units).filter(|end| *end <= self.units()) else {
            return false;
        };
        let first = (unit / WINDOW_UNITS + 1) * WINDOW_UNITS;
        let mut starts = (first..end).step_by(WINDOW_UNITS as usize);
        starts.all(|unit| self.is_joined(unit))
    }

    /// Prepares allocated pages for writes that follow soon: one call costs less than a page fault
    /// for each page.
    pub(crate) fn expect_writes(&self, place: u64, length: usize) {
        if let Kind::File(_) = self.memory.0 {
            file::expect_writes(self.at(place), length);
        }
    }

    /// Returns the address of a place. It is valid up to the end of the contiguous range.
    ///
    /// # Panics
    /// The place is not mapped.
    pub(crate) fn at(&self, place: u64) -> NonNull<u8> {
        let place = place as usize;
        let base = self.bases[place / WINDOW_BYTES];
        // SAFETY: the offset is below the length of a window.
        unsafe { base.add(place % WINDOW_BYTES) }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        if let Kind::File(_) = self.memory.0 {
            for mapping in &self.mappings {
                // SAFETY: every borrower of the mapping holds these windows.
                unsafe { file::unmap(mapping.base, mapping.windows) };
            }
        }
    }
}
