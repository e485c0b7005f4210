//! Gives freed memory back to the system in small steps.
//!
//! `malloc_trim` does all of it at once, with the heap locked: 85 ms a gigabyte, in which no
//! command is answered, whichever thread calls it. So what is free is taken from the allocator
//! here, a block at a time, and the pages of the block are given back; when nothing free is left,
//! the blocks are freed again. Their edges keep a page each: for those there is another pass with
//! blocks of another size, and what then remains is little for `malloc_trim`.

use super::statm::Statm;
use super::system_calls::TakenBlock;

/// Smaller than what the allocator maps by itself, and no multiples of each other.
const BLOCK_BYTES: [usize; 2] = [120 << 10, 104 << 10];
/// About a millisecond.
const BLOCKS_A_STEP: usize = 64;

pub(super) struct HeapRelease {
    /// Taken one after another, so that each is another part of what is free.
    taken: Vec<TakenBlock>,
    passes: std::slice::Iter<'static, usize>,
    block_bytes: Option<usize>,
    /// Of the process, when it was last looked at.
    data_bytes: usize,
}

impl HeapRelease {
    pub(super) fn begin() -> Self {
        let mut passes = BLOCK_BYTES.iter();
        Self {
            taken: Vec::new(),
            block_bytes: passes.next().copied(),
            passes,
            data_bytes: Statm::Data.bytes(),
        }
    }

    /// One step. False when there was nothing left for it.
    pub(super) fn advance(&mut self) -> bool {
        let Some(bytes) = self.block_bytes else {
            return false;
        };
        for _ in 0..BLOCKS_A_STEP {
            let is_left = match TakenBlock::take(bytes) {
                Some(mut block) => {
                    let is_left = block.give_pages_back() || !self.heap_has_grown();
                    self.taken.push(block);
                    is_left
                }
                None => false,
            };
            if !is_left {
                self.taken.clear();
                self.block_bytes = self.passes.next().copied();
                break;
            }
        }
        true
    }

    /// Where a block has no pages, it was given back before, or the allocator had nothing free and
    /// took it from the system.
    fn heap_has_grown(&mut self) -> bool {
        let before = std::mem::replace(&mut self.data_bytes, Statm::Data.bytes());
        self.data_bytes > before
    }
}
