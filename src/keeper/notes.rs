//! Memory that outlives the broker: the port that managers know, and who they are.
//!
//! The broker alone writes, and the keeper's children read when it has ended, at whatever
//! instruction: a record counts once the length behind it is stored.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Pages are there once they are written to: this is room for a million managers. Those beyond it
/// are told nothing, and leave when they have heard nothing for their heartbeat threshold.
const BYTES: usize = 16 << 20;
/// Of an identity in a ROUTER, so that its length is one byte.
const IDENTITY_BYTES_MAX: usize = 255;

/// What stands before the records.
#[repr(C)]
struct Head {
    /// Of the records, in bytes.
    length: AtomicUsize,
    /// 0 until it is bound.
    worker_port: AtomicU16,
}

/// Shared by the broker and its keeper.
#[derive(Debug)]
pub struct Notes {
    memory: NonNull<u8>,
}

// SAFETY: what others read is behind atomics, and one thread alone writes.
unsafe impl Send for Notes {}
// SAFETY: as above.
unsafe impl Sync for Notes {}

impl Notes {
    pub(super) fn open() -> io::Result<Self> {
        let length = NonZeroUsize::new(BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let may = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let how = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a mapping at a place of the kernel's choice touches nothing that is there.
        let memory = unsafe { mmap_anonymous(None, length, may, how) }?;
        Ok(Self {
            memory: memory.cast(),
        })
    }

    /// Where managers connect to.
    pub fn set_worker_port(&self, port: u16) {
        self.head().worker_port.store(port, Ordering::Release);
    }

    /// None until it was bound.
    pub fn worker_port(&self) -> Option<u16> {
        let port = self.head().worker_port.load(Ordering::Acquire);
        (port != 0).then_some(port)
    }

    /// A manager has registered under this identity. Only one thread may call it.
    pub fn add_manager(&self, identity: &[u8]) {
        let length = self.head().length.load(Ordering::Relaxed);
        let end = length + 1 + identity.len();
        if identity.len() > IDENTITY_BYTES_MAX || end > Self::ROOM {
            return;
        }
        // SAFETY: the record ends within the mapping, and nobody reads beyond the stored length.
        unsafe {
            let record = self.records().add(length);
            record.write(identity.len() as u8);
            record
                .add(1)
                .copy_from_nonoverlapping(identity.as_ptr(), identity.len());
        }
        self.head().length.store(end, Ordering::Release);
    }

    /// Who has registered since the start, in their order, once for each time.
    pub fn managers(&self) -> Vec<&[u8]> {
        let length = self.head().length.load(Ordering::Acquire).min(Self::ROOM);
        // SAFETY: this much has been written, and is not written again.
        let mut left = unsafe { std::slice::from_raw_parts(self.records(), length) };
        let mut managers = Vec::new();
        while let Some((&length, behind)) = left.split_first()
            && let Some((identity, behind)) = behind.split_at_checked(length.into())
        {
            managers.push(identity);
            left = behind;
        }
        managers
    }

    const ROOM: usize = BYTES - size_of::<Head>();

    fn head(&self) -> &Head {
        // SAFETY: it stands at the beginning of a page, and zeroes are a head.
        unsafe { self.memory.cast::<Head>().as_ref() }
    }

    fn records(&self) -> *mut u8 {
        // SAFETY: the mapping is longer than its head.
        unsafe { self.memory.as_ptr().add(size_of::<Head>()) }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed from it is gone.
        let _ = unsafe { munmap(self.memory.cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let notes = Notes::open().unwrap();
        assert_eq!((notes.worker_port(), notes.managers().len()), (None, 0));
        notes.set_worker_port(54_321);
        for identity in [b"first".as_slice(), b"", &[7; 255], &[8; 256], b"last"] {
            notes.add_manager(identity);
        }
        assert_eq!(notes.worker_port(), Some(54_321));
        assert_eq!(
            notes.managers(),
            [b"first".as_slice(), b"", &[7; 255], b"last"]
        );
    }

    #[test]
    fn managers_beyond_the_room_are_left_out() {
        let notes = Notes::open().unwrap();
        let identity = [b'm'; 255];
        let fit = Notes::ROOM / 256;
        (0..fit + 9).for_each(|_| notes.add_manager(&identity));
        assert_eq!(notes.managers().len(), fit);
    }

    /// The length is stored last: what stands behind it does not count.
    #[test]
    fn a_record_that_was_not_ended_is_none() {
        let notes = Notes::open().unwrap();
        notes.add_manager(b"whole");
        let length = notes.head().length.load(Ordering::Relaxed);
        notes.add_manager(b"half");
        notes.head().length.store(length, Ordering::Relaxed);
        assert_eq!(notes.managers(), [b"whole"]);
        notes.head().length.store(length + 3, Ordering::Relaxed);
        assert_eq!(notes.managers(), [b"whole"]);
    }
}
