//! What the writer knows of its pages: which slots are free, and where the next segment may lie.

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

/// As the kernel knows them at the least.
const PAGE_BYTES: usize = 4 << 10;
/// Segments without records that are kept, one of a class at most: a number of records that swings
/// around a segment's end asks nothing of the system, nor do long records that come and go.
const SPARES_MAX: usize = 8;
/// Longer ones are not kept.
const SPARE_UNITS_MAX: u32 = 4;
/// No place in a list.
const NOWHERE: u32 = u32::MAX;

/// Of one journal.
#[derive(Debug)]
pub(crate) struct Pages {
    windows: Windows,
    extents: Extents,
    segments: Slab<Segment>,
    /// Which segment each unit belongs to: those of slots wholly, others by their first one.
    owners: Vec<u32>,
    /// Of each class the segments with free slots; the last is used first.
    open: Vec<Vec<u32>>,
    /// Those of them that are empty; the first has been so for longest.
    spares: Vec<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Segment {
    head: Head,
    /// Where it begins.
    unit: u32,
    /// Taken from the system.
    bytes: usize,
    slots: Slots,
    slot_bytes: usize,
    /// In the list of its class, if slots are free.
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

    /// A free slot for a record of this length.
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

    /// Where a record's slot is.
    pub(crate) fn slot(&self, place: u64) -> Slot {
        #[cfg(test)]
        assert!(
            self.memory().is_there(place),
            "a page is touched that was not taken"
        );
        // SAFETY: places come from `take` and `adopt`: there is a slot, whose segment is mapped in
        // one piece as long as we are. Slots and their sizes are multiples of eight.
        unsafe { Slot::at(self.windows.at(place)) }
    }

    /// Whoever held the record knows nobody who has it.
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

    /// Has the whole file mapped, and its units without owners.
    pub(crate) fn map_all(&mut self) -> io::Result<()> {
        let windows = self.memory().len()?.div_ceil(WINDOW_BYTES);
        self.windows.add(windows)?;
        self.owners.resize(self.windows.units() as usize, NOWHERE);
        Ok(())
    }

    /// Takes over what an earlier writer has left in a file of this length, and adds where its
    /// records are.
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

    /// How many units are mapped.
    pub(crate) fn units(&self) -> u32 {
        self.windows.units()
    }

    /// Whether these are mapped in one piece.
    pub(crate) fn is_whole(&self, unit: u32, units: u32) -> bool {
        self.windows.is_whole(unit, units)
    }

    /// These units are zeroes, and free.
    pub(crate) fn give(&mut self, unit: u32, units: u32) {
        let windows = &self.windows;
        self.extents
            .give(unit, units, |unit| windows.is_joined(unit));
    }

    /// Units that nobody owns.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (u32, u32)> {
        self.extents.all()
    }

    /// An empty segment of so many bytes.
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

    /// A slot of a segment that has a free one.
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

    /// A new segment, of which so many bytes are used.
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

    /// From now on it is known.
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

    /// So much is taken from the system.
    fn count(&mut self, id: u32, bytes: usize) {
        let segment = &mut self.segments[id as usize];
        self.bytes = self.bytes - segment.bytes + paged(bytes);
        segment.bytes = paged(bytes);
    }

    /// Its last record has gone.
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

    /// Others of its class are filled first, so that it may go.
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

    /// Gives a segment without records back to the system.
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
        // What the system does not take back is not used again: it may hold anything.
    }

    /// A segment's pages become zeroes, its head last: should this be cut short, whoever reads
    /// knows what these units are.
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
        // SAFETY: the unit is mapped as long as we are, and begins at a multiple of eight.
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
