//! The writer's view of the pages: the free slots, and the free places for segments.

use std::io;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use slab::Slab;

use crate::class::Class;
use crate::extents::Extents;
use crate::memory::{Memory, WINDOW_BYTES, WINDOW_UNITS, Windows};
use crate::segment::{HEAD_BYTES, Head, Slots, UNIT_BYTES};
use crate::slot::Slot;
use crate::{Refused, stores};

/// The smallest page size of the kernel.
const PAGE_BYTES: usize = 4 << 10;
/// Number of empty segments that are kept, at most one per class. They save system calls if the
/// number of records oscillates around a segment's end, and if long records are written and dropped
/// repeatedly.
const SPARES_MAX: usize = 8;
/// Length of the longest segment for a single record that is kept when empty.
const SPARE_UNITS_MAX: u32 = 4;
/// Marks a segment that is in no list.
const NOWHERE: u32 = u32::MAX;

/// The pages of one journal.
#[derive(Debug)]
pub(crate) struct Pages {
    windows: Windows,
    extents: Extents,
    segments: Slab<Segment>,
    /// The segment of each unit. For a segment with a single record, only its first unit is
    /// entered.
    owners: Vec<u32>,
    /// For each class, the segments with free slots; the last of each list is used first.
    open: Vec<Vec<u32>>,
    /// The empty segments that are kept, the longest empty first.
    spares: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Segment {
    head: Head,
    /// The first unit of the segment.
    unit: u32,
    /// The number of bytes allocated from the system.
    bytes: usize,
    slots: Slots,
    slot_bytes: usize,
    /// The index in the list of the class; `NOWHERE` if the segment is not listed.
    listed: u32,
}

impl Pages {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            windows: Windows::new(memory),
            extents: Extents::default(),
            segments: Slab::new(),
            owners: Vec::new(),
            open: vec![Vec::new(); Class::COUNT],
            spares: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn memory(&self) -> &Memory {
        self.windows.memory()
    }

    /// Takes a free slot for a record of this length and returns its place.
    pub(crate) fn take(&mut self, length: usize) -> Result<u64, Refused> {
        let bytes = Slot::bytes_for(length).ok_or(Refused(Errno::EFBIG))?;
        let Some(class) = Class::of(bytes) else {
            let id = self.alone(HEAD_BYTES + bytes)?;
            return Ok(self.take_in(id));
        };
        let id = match self.open[class.index()].last() {
            Some(id) => *id,
            None => {
                let id = self.create(Head::Slots(class), class.units() as usize * UNIT_BYTES)?;
                self.list(id);
                id
            }
        };
        Ok(self.take_in(id))
    }

    /// Returns the slot at a place.
    pub(crate) fn slot(&self, place: u64) -> Slot {
        #[cfg(test)]
        assert!(
            self.memory().is_there(place),
            "a page is touched that was not taken"
        );
        // SAFETY: places come from `take` and `adopt`, so there is a slot. Its segment is mapped in
        // one piece as long as `self` exists. Slots and their sizes are multiples of eight.
        unsafe { Slot::at(self.windows.at(place)) }
    }

    /// Frees a record's slot. The caller guarantees that no code still uses the record.
    pub(crate) fn free(&mut self, place: u64) {
        self.slot(place).clear();
        let id = self.owners[place as usize / UNIT_BYTES];
        let segment = &mut self.segments[id as usize];
        let within = place as usize - segment.unit as usize * UNIT_BYTES - HEAD_BYTES;
        let was_full = segment.slots.is_full();
        segment.slots.free((within / segment.slot_bytes) as u16);
        if segment.slots.is_empty() {
            self.retire(id);
        } else if was_full {
            self.list(id);
        }
    }

    /// Maps the whole file, without owners for its units.
    pub(crate) fn map_all(&mut self) -> io::Result<()> {
        let windows = self.memory().len()?.div_ceil(WINDOW_BYTES);
        self.windows.add(windows)?;
        self.owners.resize(self.windows.units() as usize, NOWHERE);
        Ok(())
    }

    /// Takes over a segment that an earlier writer left in a file of length `end`, and adds its
    /// records to `places`.
    pub(crate) fn adopt(&mut self, head: Head, unit: u32, end: usize, places: &mut Vec<u64>) {
        let id = self.enter(head, unit, head.units() as usize * UNIT_BYTES);
        for index in 0..head.slots() {
            let segment = &self.segments[id as usize];
            let place = segment.place(index);
            let room = segment.slot_bytes.min(end.saturating_sub(place as usize));
            let slot = self.slot(place);
            if slot.is_record(place, room) {
                self.segments[id as usize].slots.adopt(index);
                places.push(place);
                if let Head::Alone(_) = head {
                    self.count(id, HEAD_BYTES + slot.taken_bytes());
                }
            }
        }
        let slots = &self.segments[id as usize].slots;
        if slots.is_empty() {
            self.close(id);
        } else if !slots.is_full() {
            self.list(id);
        }
    }

    /// Returns the number of mapped units.
    pub(crate) fn units(&self) -> u32 {
        self.windows.units()
    }

    /// Whether these units are mapped in one contiguous range.
    pub(crate) fn is_whole(&self, unit: u32, units: u32) -> bool {
        self.windows.is_whole(unit, units)
    }

    /// Marks units as free; they must be zero.
    pub(crate) fn give(&mut self, unit: u32, units: u32) {
        let windows = &self.windows;
        self.extents
            .give(unit, units, |unit| windows.is_joined(unit));
    }

    /// Returns the units that belong to no segment.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (u32, u32)> {
        self.extents.all()
    }

    /// Returns an empty segment for a single record of this many bytes.
    fn alone(&mut self, bytes: usize) -> Result<u32, Refused> {
        let head = Head::Alone(bytes.div_ceil(UNIT_BYTES) as u32);
        let is_alike = |id: &&u32| {
            let segment = &self.segments[**id as usize];
            (segment.head, segment.bytes) == (head, paged(bytes))
        };
        match self.spares.iter().find(is_alike) {
            Some(id) => Ok(*id),
            None => self.create(head, bytes),
        }
    }

    /// Takes a slot of a segment that has a free one.
    fn take_in(&mut self, id: u32) -> u64 {
        let segment = &mut self.segments[id as usize];
        let was_empty = segment.slots.is_empty();
        let index = segment.slots.take().expect("it is listed or new");
        let place = segment.place(index);
        if segment.slots.is_full() {
            self.unlist(id);
        }
        if was_empty {
            self.spares.retain(|spare| *spare != id);
        }
        place
    }

    /// Makes a new segment, of which this many bytes are used.
    fn create(&mut self, head: Head, bytes: usize) -> Result<u32, Refused> {
        let unit = self.take_units(head.units())?;
        let place = unit as u64 * UNIT_BYTES as u64;
        if let Err(refused) = self.memory().take(place, paged(bytes)) {
            self.give(unit, head.units());
            return Err(refused);
        }
        self.windows.expect_writes(place, paged(bytes));
        stores::store(self.head(unit), head.word(unit));
        Ok(self.enter(head, unit, bytes))
    }

    fn take_units(&mut self, units: u32) -> Result<u32, Refused> {
        if let Some(unit) = self.extents.take(units) {
            return Ok(unit);
        }
        let (first, more) = (self.windows.units(), units.div_ceil(WINDOW_UNITS));
        self.windows.add(more as usize).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::ENOMEM, Errno::from_raw);
            Refused(errno)
        })?;
        self.owners.resize(self.windows.units() as usize, NOWHERE);
        self.give(first, more * WINDOW_UNITS);
        self.extents.take(units).ok_or(Refused(Errno::ENOMEM))
    }

    /// Adds a segment to the writer's tables.
    fn enter(&mut self, head: Head, unit: u32, bytes: usize) -> u32 {
        let id = self.segments.insert(Segment {
            head,
            unit,
            bytes: 0,
            slots: Slots::new(head.slots()),
            slot_bytes: head.slot_bytes(),
            listed: NOWHERE,
        }) as u32;
        let first = unit as usize;
        let owned = match head {
            Head::Slots(class) => class.units() as usize,
            Head::Alone(_) | Head::Closing(_) => 1,
        };
        self.owners[first..first + owned].fill(id);
        self.count(id, bytes);
        id
    }

    /// Sets the number of bytes that a segment has allocated from the system.
    fn count(&mut self, id: u32, bytes: usize) {
        let segment = &mut self.segments[id as usize];
        self.bytes = self.bytes - segment.bytes + paged(bytes);
        segment.bytes = paged(bytes);
    }

    /// Handles a segment whose last record was dropped: keeps it as a spare or closes it.
    fn retire(&mut self, id: u32) {
        let head = self.segments[id as usize].head;
        let is_alike = |id: &u32| self.segments[*id as usize].head == head;
        match head {
            Head::Slots(_) if self.spares.iter().any(is_alike) => return self.close(id),
            Head::Slots(class) => self.use_last(id, class),
            Head::Alone(units) if units <= SPARE_UNITS_MAX => {}
            Head::Alone(_) | Head::Closing(_) => return self.close(id),
        }
        if self.spares.len() >= SPARES_MAX {
            let eldest = self.spares.remove(0);
            self.close(eldest);
        }
        self.spares.push(id);
    }

    /// Moves a segment to the front of its list. Other segments of the class are then filled first,
    /// so that this one can be released.
    fn use_last(&mut self, id: u32, class: Class) {
        if self.segments[id as usize].listed == NOWHERE {
            self.list(id);
        }
        let place = self.segments[id as usize].listed as usize;
        let open = &mut self.open[class.index()];
        open.swap(0, place);
        let moved = open[place];
        self.segments[moved as usize].listed = place as u32;
        self.segments[id as usize].listed = 0;
    }

    /// Releases a segment without records.
    fn close(&mut self, id: u32) {
        if self.segments[id as usize].listed != NOWHERE {
            self.unlist(id);
        }
        let segment = self.segments.remove(id as usize);
        let (unit, units) = (segment.unit, segment.head.units());
        if self.clear(unit, units).is_ok() {
            self.bytes -= segment.bytes;
            self.give(unit, units);
        }
        // If the system does not release the pages, they are not used again: their content is
        // unknown.
    }

    /// Zeroes and releases a segment's pages, its head last. If this is interrupted, the head still
    /// says which units must be cleared.
    pub(crate) fn clear(&self, unit: u32, units: u32) -> io::Result<()> {
        let (place, bytes) = (unit as u64 * UNIT_BYTES as u64, units as usize * UNIT_BYTES);
        stores::store(self.head(unit), Head::Closing(units).word(unit));
        let behind = (place + PAGE_BYTES as u64, bytes - PAGE_BYTES);
        self.memory().give_back(behind.0, behind.1)?;
        stores::store(self.head(unit), 0);
        self.memory().give_back(place, bytes)
    }

    fn list(&mut self, id: u32) {
        let segment = &mut self.segments[id as usize];
        if let Head::Slots(class) = segment.head {
            let open = &mut self.open[class.index()];
            segment.listed = open.len() as u32;
            open.push(id);
        }
    }

    fn unlist(&mut self, id: u32) {
        let segment = &mut self.segments[id as usize];
        if let Head::Slots(class) = segment.head {
            let place = std::mem::replace(&mut segment.listed, NOWHERE) as usize;
            let open = &mut self.open[class.index()];
            open.swap_remove(place);
            if let Some(moved) = open.get(place) {
                self.segments[*moved as usize].listed = place as u32;
            }
        }
    }

    fn head(&self, unit: u32) -> &AtomicU64 {
        let at = self.windows.at(unit as u64 * UNIT_BYTES as u64);
        // SAFETY: the unit is mapped as long as `self` exists, and begins at a multiple of eight.
        unsafe { at.cast().as_ref() }
    }
}

impl Segment {
    fn place(&self, slot: u16) -> u64 {
        let within = HEAD_BYTES + usize::from(slot) * self.slot_bytes;
        (self.unit as usize * UNIT_BYTES + within) as u64
    }
}

fn paged(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_BYTES)
}
