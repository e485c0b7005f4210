//! Pages of the system that outlive who writes to them.

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

/// The file is mapped in pieces of this length, far ahead of what is there: a mapping costs next to
/// nothing, and there cannot be many.
pub(crate) const WINDOW_BYTES: usize = 64 << 20;
pub(crate) const WINDOW_UNITS: u32 = (WINDOW_BYTES / UNIT_BYTES) as u32;

/// What outlives a broker. Clones are the same memory, as are those of a child after a fork.
#[derive(Debug, Clone)]
pub struct Memory(Kind);

#[derive(Debug, Clone)]
enum Kind {
    File(Rc<File>),
    Heap(Rc<RefCell<Heap>>),
}

impl Memory {
    /// A file in memory, without a name. It takes nothing before a journal is written to it.
    ///
    /// # Errors
    /// The kernel has none, or it cannot be grown and shrunk.
    pub fn create() -> io::Result<Self> {
        Ok(Self(Kind::File(Rc::new(file::create()?))))
    }

    /// For tests: memory of this process.
    pub fn on_heap() -> Self {
        Self::with_room(usize::MAX)
    }

    /// For tests: the same, which gives so many bytes and no more.
    pub fn with_room(bytes: usize) -> Self {
        Self(Kind::Heap(Rc::new(RefCell::new(Heap::new(bytes)))))
    }

    /// For tests: what is there now, again, on the heap. It is what a killed writer leaves.
    ///
    /// # Errors
    /// The system cannot read its own memory.
    pub fn copied(&self) -> io::Result<Self> {
        Ok(Self::holding(&self.contents()?))
    }

    /// For tests: all that is there.
    ///
    /// # Errors
    /// The system cannot read its own memory.
    pub fn contents(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len()?];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// For tests: whatever these bytes are.
    pub fn holding(bytes: &[u8]) -> Self {
        let heap = Heap::holding(bytes);
        Self(Kind::Heap(Rc::new(RefCell::new(heap))))
    }

    /// How far it was ever used.
    pub(crate) fn len(&self) -> io::Result<usize> {
        match &self.0 {
            Kind::File(file) => Ok(file.metadata()?.len() as usize),
            Kind::Heap(heap) => Ok(heap.borrow().len()),
        }
    }

    /// A word, or zero where there is none. This takes no page.
    pub(crate) fn word(&self, place: u64) -> io::Result<u64> {
        let mut word = [0; size_of::<u64>()];
        self.read(place, &mut word)?;
        Ok(u64::from_ne_bytes(word))
    }

    /// Pages that were not touched since they were given back are zeroes.
    pub(crate) fn take(&self, place: u64, length: usize) -> Result<(), Refused> {
        match &self.0 {
            Kind::File(file) => file::take(file, place, length),
            Kind::Heap(heap) => heap.borrow_mut().take(place as usize, length),
        }
    }

    /// All becomes zeroes, which take no memory.
    pub(crate) fn give_back(&self, place: u64, length: usize) -> io::Result<()> {
        match &self.0 {
            Kind::File(file) => file::give_back(file, place, length),
            Kind::Heap(heap) => {
                heap.borrow_mut().give_back(place as usize, length);
                Ok(())
            }
        }
    }

    /// Whatever is there; zeroes behind the end.
    fn read(&self, place: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.0 {
            Kind::File(file) => file::read(file, place, into),
            Kind::Heap(heap) => {
                heap.borrow().read(place as usize, into);
                Ok(())
            }
        }
    }

    /// What the system counts.
    #[cfg(test)]
    pub(crate) fn taken_bytes(&self) -> usize {
        match &self.0 {
            Kind::File(file) => file::taken_bytes(file),
            Kind::Heap(heap) => heap.borrow().taken_bytes(),
        }
    }

    /// Whether it was taken, as far as is known.
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

/// Some windows in one piece.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    windows: usize,
    /// The first of them.
    first: usize,
}

/// Where the file is mapped.
#[derive(Debug)]
pub(crate) struct Windows {
    memory: Memory,
    mappings: Vec<Mapping>,
    /// Where each begins.
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

    /// The memory behind them.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Maps that many more. They are in as few pieces as can be; new ones are in one.
    pub(crate) fn add(&mut self, count: usize) -> io::Result<()> {
        let end = self.bases.len() + count;
        while self.bases.len() < end {
            let mapping = self.memory.map(self.bases.len(), end - self.bases.len())?;
            let bases = (0..mapping.windows).map(|index| {
                // SAFETY: it is within the mapping.
                unsafe { mapping.base.add(index * WINDOW_BYTES) }
            });
            self.bases.extend(bases);
            self.mappings.push(mapping);
        }
        Ok(())
    }

    /// How many units are mapped.
    pub(crate) fn units(&self) -> u32 {
        self.bases.len() as u32 * WINDOW_UNITS
    }

    /// Whether this unit lies behind the one before it.
    pub(crate) fn is_joined(&self, unit: u32) -> bool {
        let window = (unit / WINDOW_UNITS) as usize;
        let mut mappings = self.mappings.iter();
        !unit.is_multiple_of(WINDOW_UNITS) || !mappings.any(|mapping| mapping.first == window)
    }

    /// Whether these are mapped in one piece.
    pub(crate) fn is_whole(&self, unit: u32, units: u32) -> bool {
        let Some(end) = unit.checked_add(units).filter(|end| *end <= self.units()) else {
            return false;
        };
        let first = (unit / WINDOW_UNITS + 1) * WINDOW_UNITS;
        let mut starts = (first..end).step_by(WINDOW_UNITS as usize);
        starts.all(|unit| self.is_joined(unit))
    }

    /// Pages that were taken will be written to soon, all of them: one call costs less than a fault
    /// for each.
    pub(crate) fn expect_writes(&self, place: u64, length: usize) {
        if let Kind::File(_) = self.memory.0 {
            file::expect_writes(self.at(place), length);
        }
    }

    /// The memory from this place on, up to the end of what is joined.
    ///
    /// # Panics
    /// It is not mapped.
    pub(crate) fn at(&self, place: u64) -> NonNull<u8> {
        let place = place as usize;
        let base = self.bases[place / WINDOW_BYTES];
        // SAFETY: a window is that long.
        unsafe { base.add(place % WINDOW_BYTES) }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        if let Kind::File(_) = self.memory.0 {
            for mapping in &self.mappings {
                // SAFETY: whoever borrows from it holds us.
                unsafe { file::unmap(mapping.base, mapping.windows) };
            }
        }
    }
}
