//! Each change of the shared pages. A writer can be killed before any of them, and tests do this
//! for each of them in turn.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

pub(crate) use counted::{is_over, may_go_on};

use counted::step_bytes;

/// Stores a word after everything that was stored before, and before everything that is stored
/// later. A killed process leaves the result of its instructions in their order, so only the
/// compiler could change this order.
pub(crate) fn store(at: &AtomicU64, value: u64) {
    if may_go_on() {
        at.store(value, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }
}

/// Stores a word, in any order with other such stores.
pub(crate) fn store_relaxed(at: &AtomicU64, value: u64) {
    if may_go_on() {
        at.store(value, Ordering::Relaxed);
    }
}

/// # Safety
/// No other code reads or writes the target, and `from` fits there.
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

    /// Returns the length of a step of a copy: the whole copy is one step.
    #[inline]
    pub(super) fn step_bytes(length: usize) -> usize {
        length.max(1)
    }
}

#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    /// The payload of the panic that stands for a kill.
    pub(crate) struct Killed;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Allows this many changes. The next one panics, and all later changes are suppressed.
    pub(crate) fn kill_after(changes: u64) {
        LEFT.set(Some(changes));
    }

    /// Suppresses all changes from now on.
    pub(crate) fn end() {
        LEFT.set(Some(u64::MAX));
    }

    /// Allows all changes from now on.
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
            // `resume_unwind` prints no panic message, because this panic is intended.
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
