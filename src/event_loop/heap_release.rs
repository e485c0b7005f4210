//! Releases freed memory to the system in small steps.
//!
//! `malloc_trim` does all of it at once, with the heap locked: 85 ms per gigabyte, during which no
//! command is answered, whichever thread calls it. So this module allocates the free memory itself,
//! one block at a time, and releases the pages of each block. When nothing free is left, the blocks
//! are freed again. The edges of the blocks keep a page each. A second pass with blocks of another
//! size releases those pages, and leaves little to `malloc_trim`.

use super::statm::Statm;
use super::system_calls::TakenBlock;

/// Block sizes. Smaller than the allocations that malloc maps separately, and not multiples of each
/// other.
const BLOCK_BYTES: [usize; 2] = [120 << 10, 104 << 10];
/// Maximum number of blocks per step, which takes about a millisecond.
const BLOCKS_A_STEP: usize = 64;

pub(super) struct HeapRelease {
    /// The blocks taken in this pass. They are kept, so that each new block is another part of the
    /// free memory.
    taken: Vec<TakenBlock>,
    passes: std::slice::Iter<'static, usize>,
    block_bytes: Option<usize>,
    /// The data size of the process at the last check.
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

    /// Takes one step. Returns false when no work was left.
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

    /// Whether the data size has grown. A block without pages in memory was released before, or is
    /// new from the system because the allocator had nothing free; only then does the data size
    /// grow.
    fn heap_has_grown(&mut self) -> bool {
        let before = std::mem::replace(&mut self.data_bytes, Statm::Data.bytes());
        self.data_bytes > before
    }
}
