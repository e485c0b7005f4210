//! Memory of this process for tests, which counts its pages as the kernel does.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

use nix::errno::Errno;

use crate::{Refused, stores};

use super::WINDOW_BYTES;

pub(super) const PAGE_BYTES: usize = 4 << 10;
/// Number of pages that are allocated or released in one step; a test may kill the writer before
/// each step.
const STEP_PAGES: usize = 8;

#[derive(Debug)]
pub(super) struct Heap {
    blocks: Vec<Block>,
    /// Whether each page is allocated.
    pages: Vec<bool>,
    /// Largest number of allocated pages.
    pages_max: usize,
}

/// Windows that were mapped by one call.
#[derive(Debug)]
struct Block {
    base: NonNull<u8>,
    windows: usize,
}

impl Heap {
    pub(super) fn new(room: usize) -> Self {
        Self {
            blocks: Vec::new(),
            pages: Vec::new(),
            pages_max: room / PAGE_BYTES,
        }
    }

    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut heap = Self::new(usize::MAX);
        heap.pages = vec![true; bytes.len().div_ceil(PAGE_BYTES)];
        if !bytes.is_empty() {
            let windows = bytes.len().div_ceil(WINDOW_BYTES);
            let (base, _) = heap.map(0, windows).expect("the system has memory");
            // SAFETY: the block is at least as long, and no code has borrowed from it.
            unsafe { base.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
        heap
    }

    pub(super) fn len(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    pub(super) fn taken_bytes(&self) -> usize {
        self.pages.iter().filter(|is_there| **is_there).count() * PAGE_BYTES
    }

    pub(super) fn take(&mut self, place: usize, length: usize) -> Result<(), Refused> {
        let pages = place / PAGE_BYTES..(place + length).div_ceil(PAGE_BYTES);
        let there = self.taken_bytes() / PAGE_BYTES;
        let more = pages.clone().filter(|page| !self.is_there(*page)).count();
        if there + more > self.pages_max {
            return Err(Refused(Errno::ENOSPC));
        }
        self.pages.resize(self.pages.len().max(pages.end), false);
        for page in pages {
            self.pages[page] |= is_no_step(page) || stores::may_go_on();
        }
        Ok(())
    }

    pub(super) fn give_back(&mut self, place: usize, length: usize) {
        for page in place / PAGE_BYTES..(place + length).div_ceil(PAGE_BYTES) {
            if self.is_there(page) && (is_no_step(page) || stores::may_go_on()) {
                self.pages[page] = false;
                let from = (page * PAGE_BYTES).max(place);
                let end = ((page + 1) * PAGE_BYTES).min(place + length);
                // SAFETY: no code borrows from pages that are released.
                unsafe { self.at(from).write_bytes(0, end - from) };
            }
        }
    }

    pub(super) fn read(&self, place: usize, into: &mut [u8]) {
        into.fill(0);
        for (index, some) in into.chunks_mut(PAGE_BYTES).enumerate() {
            let from = place + index * PAGE_BYTES;
            if self.is_there(from / PAGE_BYTES) {
                // SAFETY: each piece is within one page: pieces begin at the start of a page, and
                // single words do not cross a page.
                unsafe {
                    NonNull::from(&mut *some)
                        .cast::<u8>()
                        .copy_from(self.at(from), some.len())
                };
            }
        }
    }

    /// Maps windows: new ones in one block, existing ones in the block that they are in. Returns
    /// the block's address and its number of windows.
    pub(super) fn map(&mut self, first: usize, count: usize) -> io::Result<(NonNull<u8>, usize)> {
        let mut start = 0;
        for block in &self.blocks {
            if start == first {
                return Ok((block.base, block.windows));
            }
            start += block.windows;
        }
        let block = Block::new(count)?;
        let base = block.base;
        self.blocks.push(block);
        Ok((base, count))
    }

    pub(super) fn is_there(&self, page: usize) -> bool {
        self.pages.get(page).is_some_and(|is_there| *is_there)
    }

    fn at(&self, place: usize) -> NonNull<u8> {
        let mut start = 0;
        for block in &self.blocks {
            let length = block.windows * WINDOW_BYTES;
            if place < start + length {
                // SAFETY: the offset is within the block.
                return unsafe { block.base.add(place - start) };
            }
            start += length;
        }
        panic!("no window has been mapped at {place}");
    }
}

fn is_no_step(page: usize) -> bool {
    !page.is_multiple_of(STEP_PAGES) && !stores::is_over()
}

impl Block {
    /// Returns the layout of a block. The alignment is the allocator's default, so that zeroed
    /// memory need not be touched.
    fn layout(windows: usize) -> io::Result<Layout> {
        let bytes = windows.checked_mul(WINDOW_BYTES).filter(|bytes| *bytes > 0);
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, 16).ok());
        layout.ok_or(io::ErrorKind::OutOfMemory.into())
    }

    fn new(windows: usize) -> io::Result<Self> {
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(Self::layout(windows)?) };
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, windows })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(self.windows) {
            // SAFETY: the block was allocated with this layout, and every user of a mapping holds
            // the memory.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }
}
