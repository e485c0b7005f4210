//! Each change of the shared pages. A writer can be killed before any of them: tests do so, one
//! after the other.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

pub(crate) use counted::{is_over, may_go_on};

use counted::step_bytes;

/// Behind all that was stored before. Whatever is stored next is stored behind it: what the kernel
/// leaves of a killed process is what its instructions did in their order, so only the compiler
/// could change that.
pub(crate) fn store(at: &AtomicU64, value: u64) {
    if may_go_on() {
        at.store(value, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }
}

/// In any order with others of its kind.
pub(crate) fn store_relaxed(at: &AtomicU64, value: u64) {
    if may_go_on() {
        at.store(value, Ordering::Relaxed);
    }
}

/// # Safety
/// Nobody else reads or writes what is there, and `from` fits.
pub(crate) unsafe fn copy(from: &[u8], to: *mut u8) {
    let step = step_bytes(from.len());
    let mut at = to;
    for some in from.chunks(step) {
        if may_go_on() {
            // SAFETY: the caller's promise.
            unsafe {
                at.copy_from_nonoverlapping(some.as_ptr(), some.len());
                at = at.add(some.len());
            }
        }
    }
}

#[cfg(not(test))]
mod counted {
    #[inline]
    pub(crate) fn may_go_on() -> bool {
        true
    }

    /// Whether the writer was killed.
    #[inline]
    pub(crate) fn is_over() -> bool {
        false
    }

    /// A copy is one step.
    #[inline]
    pub(super) fn step_bytes(length: usize) -> usize {
        length.max(1)
    }
}

#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    /// What unwinds then.
    pub(crate) struct Killed;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on, this many changes are made; the next one unwinds, and those behind it are
    /// not made either.
    pub(crate) fn kill_after(changes: u64) {
        LEFT.set(Some(changes));
    }

    /// Nothing is changed from now on.
    pub(crate) fn end() {
        LEFT.set(Some(u64::MAX));
    }

    /// Every change is made from now on.
    pub(crate) fn live() {
        LEFT.set(None);
    }

    pub(crate) fn may_go_on() -> bool {
        let Some(left) = LEFT.get() else {
            return true;
        };
        if is_over() {
            return false;
        }
        LEFT.set(Some(left.wrapping_sub(1)));
        if left == 0 {
            // No panic's message for what is meant.
            std::panic::resume_unwind(Box::new(Killed));
        }
        true
    }

    pub(crate) fn is_over() -> bool {
        LEFT.get() == Some(u64::MAX)
    }

    pub(super) fn step_bytes(length: usize) -> usize {
        (length / 5).max(64)
    }
}
